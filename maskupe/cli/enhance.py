"""``maskupe enhance``: one photograph, with a progress bar where somebody is watching."""

from __future__ import annotations

import time

from maskupe.cli.output import printable
from maskupe.cli.runner import say
from maskupe.photo_job import PhotoJob, run_job


def enhance_file(job: PhotoJob, device: str) -> int:
    """Run one job and says what came of it; returns the exit status."""
    from rich.console import Console
    from rich.progress import Progress

    from maskupe.pipeline import Enhancer

    start = time.monotonic()
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Enhancing", total=1.0)
        outcome = run_job(
            job,
            lambda name: Enhancer.load(name, device=device),
            lambda done: progress.update(task, completed=done),
        )
    for note in outcome.notes:
        say("maskupe", note)
    height, width = outcome.size
    seconds = time.monotonic() - start
    print(printable(f"Wrote {outcome.output} ({width} × {height} pixels, {seconds:.1f} s)."))
    if job.matte is not None:
        print(printable(f"Wrote the matte {job.matte}."))
    return 0
