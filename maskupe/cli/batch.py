"""``maskupe batch``: progress while it runs, notes and failures at the end."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from maskupe.batch import Result, is_done, read_manifest, run_local
from maskupe.cli.runner import FAILURE, say
from maskupe.photo_job import PhotoJob


def run_batch(manifest: Path, workers: int, ray: str | None, device: str, force: bool) -> int:
    """Run a manifest; return the exit status: 1 if a photo failed."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    every = read_manifest(manifest)
    jobs = every if force else [job for job in every if not is_done(job)]
    failures: list[Result] = []
    noted: list[Result] = []
    console = Console(stderr=True)
    columns = ("[progress.description]{task.description}", BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("Enhancing", total=len(jobs))
        for result in _results(jobs, workers, ray, device):
            progress.advance(task)
            if result.error:
                failures.append(result)
            if result.notes:
                noted.append(result)
    for result in noted:
        say("maskupe", f"{result.job.photo}: {' '.join(result.notes)}")
    for failed in failures:
        say("maskupe", f"{failed.job.photo}: {failed.error}")
    done = len(jobs) - len(failures)
    skipped = len(every) - len(jobs)
    sys.stdout.write(f"{done} done, {skipped} done before, {len(failures)} failed.\n")
    return FAILURE if failures else 0


def _results(
    jobs: Sequence[PhotoJob], workers: int, ray: str | None, device: str
) -> Iterator[Result] | list[Result]:
    if not jobs:
        return []
    if ray is None:
        return run_local(jobs, workers, device)
    from maskupe.batch.cluster import run_on_ray

    return run_on_ray(jobs, ray, workers, device)
