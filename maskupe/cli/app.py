"""The commands of ``maskupe``. Each imports what it needs when it runs, so that help is instant."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskupe.cli.output import printable
from maskupe.cli.runner import application, say

if TYPE_CHECKING:
    from maskupe.photo_job import PhotoJob

app = application("maskupe", "Brighten the selected part of a photograph and leave the rest alone.")

Model = Annotated[
    str, typer.Option(metavar="NAME", help="A name of 'maskupe models', or a .safetensors file.")
]
Device = Annotated[str, typer.Option(metavar="auto|cpu|cuda|mps", help="Where to compute.")]
Quality = Annotated[int, typer.Option(metavar="1-100", help="Quality of a JPEG or AVIF result.")]


@app.command()
def enhance(
    photo: Annotated[
        Path,
        typer.Argument(
            metavar="PHOTO", help="A PNG, JPEG, TIFF, WebP, AVIF, JPEG XL or HEIC file."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="OUT", help="Where to write; may be PHOTO itself."),
    ],
    mask: Annotated[
        Path | None,
        typer.Option(
            metavar="MASK",
            help="Picture of PHOTO's size, white where to brighten; without it, everywhere.",
        ),
    ] = None,
    model: Model = "default",
    strength: Annotated[
        float, typer.Option(metavar="0-2", help="0 changes nothing, 1 is the model's proposal.")
    ] = 1.0,
    denoise: Annotated[
        str,
        typer.Option(
            metavar="auto|0-1", help="Noise reduction in what is brightened: 0 none, 1 the most."
        ),
    ] = "auto",
    warmth: Annotated[
        float,
        typer.Option(
            metavar="-1 to 1", help="Colour of the added light: 1 is warmer, -1 cooler, 0 as it is."
        ),
    ] = 0.0,
    saturation: Annotated[
        float,
        typer.Option(
            metavar="-1 to 1",
            help="Colour of what is brightened: 1 is twice as colourful, -1 gray, 0 as it is.",
        ),
    ] = 0.0,
    transition: Annotated[
        str, typer.Option(metavar="auto|PX", help="Width of the transition in pixels.")
    ] = "auto",
    side: Annotated[
        str, typer.Option(metavar="outside|inside|centred", help="Side of the mask's edge.")
    ] = "outside",
    edges: Annotated[
        str,
        typer.Option(
            metavar="auto|off|PX",
            help="How far from the mask's edge to follow the subject's edges, in pixels.",
        ),
    ] = "auto",
    save_matte: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the blend weight, a PNG that is white where the effect is full.",
        ),
    ] = None,
    device: Device = "auto",
    quality: Quality = 95,
) -> int:
    """Brighten the masked part of one photo.

    Size, depth, colour profile, EXIF, XMP and transparency stay.
    """
    from maskupe.areas.transition import Transition
    from maskupe.photo_job import PhotoJob, parse_denoise, parse_edges, parse_width

    band = Transition(
        parse_width(transition),
        side,  # type: ignore[arg-type]  # it checks the side
        parse_edges(edges),
    )
    noise = parse_denoise(denoise)
    job = PhotoJob(
        photo,
        output,
        mask,
        model,
        strength,
        transition=band,
        quality=quality,
        matte=save_matte,
        denoise=noise,
        warmth=warmth,
        saturation=saturation,
    )
    return enhance_file(job, device)


def enhance_file(job: PhotoJob, device: str) -> int:
    """Run one job, with a progress bar where somebody is watching; return the exit status."""
    from rich.console import Console
    from rich.progress import Progress

    from maskupe.photo_job import run_job
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


@app.command()
def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the models and what they may be used for.

    --json adds network, conditioning, training data, measurements and size.
    """
    from maskupe.cli.models import show_models

    show_models(as_json)


@app.command()
def batch(
    manifest: Annotated[
        Path,
        typer.Argument(
            metavar="MANIFEST",
            help="CSV or JSONL: photo, output, and optionally mask, model, strength, denoise, "
            "warmth, saturation, transition, side, edges, quality. Paths are relative to the "
            "manifest.",
        ),
    ],
    workers: Annotated[
        int, typer.Option(metavar="N", help="Photos at a time; 0 for one per two cores.")
    ] = 0,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Run on a Ray cluster; 'local' starts one on this machine."
        ),
    ] = None,
    device: Device = "auto",
    force: Annotated[bool, typer.Option("--force", help="Do again what is done already.")] = False,
) -> int:
    """Brighten the photos of a list.

    What is done already is skipped; one that fails does not stop the others.
    """
    from maskupe.cli.batch import run_batch

    return run_batch(manifest, workers, ray, device, force)


@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def demo(context: typer.Context) -> int:
    """Show the daemon at work on a real photo."""
    from maskupe.cli.demo import run_demo

    return run_demo(context.args)
