"""The commands of ``maskupe-train``. Each imports what it needs when it runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from maskupe.cli.output import handle_broken_pipe
from maskupe.cli.runner import application, run

app = application("maskupe-train", "Train, measure and export local enhancement models.")

Data = Annotated[
    Path, typer.Option(envvar="MASKUPE_DATA", metavar="FOLDER", help="Where the data sets lie.")
]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads per process.")]
Accelerator = Annotated[str, typer.Option(metavar="auto|cpu|cuda|mps")]
Raw = Annotated[
    bool, typer.Option("--raw", help="Measure f(I, M) alone, too: the paper's measure.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Overrides a key; may be repeated."),
]


@app.command()
def fit(
    recipe: Annotated[str, typer.Argument(help="A recipe's name, or the path of a TOML file.")],
    data: Data,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="For checkpoints and logs; runs/RECIPE.")
    ] = None,
    settings: Set = None,
    resume: Annotated[bool, typer.Option(help="Continue from the last checkpoint.")] = False,
    start: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="WEIGHTS", help="Start from a model, a .safetensors, or a .pth."
        ),
    ] = None,
    max_minutes: Annotated[
        float | None, typer.Option(min=0, help="Stop after this time, with a checkpoint.")
    ] = None,
    threads: Threads = 1,
    accelerator: Accelerator = "auto",
    devices: Annotated[int, typer.Option(min=1, help="Processes, without torchrun.")] = 1,
) -> None:
    """Train a model, or the matting network, by a recipe."""
    from maskupe.errors import InputError
    from maskupe_training.matte.recipe import is_matte
    from maskupe_training.recipe_files import load, tables

    folder = out or Path("runs") / Path(recipe).stem
    if is_matte(tables(recipe, settings or ())):
        from maskupe_training.matte.fit import fit_matte
        from maskupe_training.matte.recipe import load as load_matte
        from maskupe_training.run_options import RunOptions

        run = RunOptions(data, folder, resume, max_minutes, threads, accelerator)
        if start:
            raise InputError("--from is for local models.", "Set training.start in the recipe.")
        fit_matte(load_matte(recipe, settings or ()), run)
        return
    from maskupe_training.fabric_setup import leave_group
    from maskupe_training.trainer import Run
    from maskupe_training.trainer import fit as train

    loaded = load(recipe, settings or ())
    how = Run(data, folder, resume, max_minutes, threads, accelerator, devices, start)
    train(loaded, how)
    leave_group()


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="A run's folder (its best checkpoint), or a .pt.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .safetensors to write.")],
    data: Annotated[
        Path | None,
        typer.Option(envvar="MASKUPE_DATA", help="To name the data and its authors in the card."),
    ] = None,
    metrics: Annotated[
        Path | None, typer.Option(help="JSON that `evaluate` wrote, for the card.")
    ] = None,
    stops: Annotated[
        float, typer.Option(min=-2.0, max=2.0, help="EV to brighten more by than was trained.")
    ] = 0.0,
) -> None:
    """Write a weight file, its ONNX graph and its model card."""
    from maskupe_training.evaluation.report import card_metrics
    from maskupe_training.export import export as write
    from maskupe_training.matte.export import card_metrics as edge_metrics
    from maskupe_training.matte.export import export_matte, is_run

    if is_run(run):
        measured = edge_metrics(metrics, output.stem) if metrics else None
        typer.echo(str(export_matte(run, output, data, measured)))
        return
    found = card_metrics(metrics, output.stem) if metrics else None
    typer.echo(str(write(run, output, data, found, stops)))


@app.command()
def card(
    weights: Annotated[list[Path], typer.Argument(help="Weight files.")],
    metrics: Annotated[
        Path | None, typer.Option(help="JSON that `evaluate` wrote, to be quoted.")
    ] = None,
) -> None:
    """Write model cards anew, beside the weights.

    With numbers that were measured after the export; the weights themselves are not touched.
    """
    from maskupe_training.evaluation.report import card_metrics
    from maskupe_training.model_card import write_card

    for path in weights:
        measured = card_metrics(metrics, path.stem) if metrics else None
        typer.echo(str(write_card(path, measured)))


@app.command()
def evaluate(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="Names of `maskupe models`, or .safetensors files; none: baselines."),
    ] = None,
    data: Data = Path("data"),
    kind: Annotated[str, typer.Option(metavar="brackets|pairs")] = "brackets",
    folder: Annotated[str, typer.Option(help="The data set, within the data folder.")] = "sice",
    split: Annotated[str, typer.Option(metavar="train|val|test", help="Part of it.")] = "test",
    cases: Annotated[int, typer.Option(min=1, help="How many cases.")] = 140,
    seed: Annotated[
        int, typer.Option(help="Decides the case list; trainings are validated with 1.")
    ] = 2,
    silhouettes: Annotated[
        list[str] | None, typer.Option(help="Folders of mask files; may be repeated.")
    ] = None,
    kinds: Annotated[
        list[str] | None,
        typer.Option(help="A kind of selection, as paper_circle; may be repeated; else all."),
    ] = None,
    baselines: Annotated[bool, typer.Option(help="Measure the baselines too.")] = True,
    slow: Annotated[
        bool, typer.Option("--slow", help="And those that take seconds a case: LIME.")
    ] = False,
    raw: Raw = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="For JSON, CSV and a contact sheet.")
    ] = None,
    denoise: Annotated[
        str, typer.Option(metavar="auto|0…1", help="Noise reduction of the models' results.")
    ] = "0",
    edges: Annotated[
        str,
        typer.Option(
            metavar="auto|off|PX",
            help="How far from the selection's edge models follow the subject's edges, in pixels.",
        ),
    ] = "off",
    threads: Threads = 1,
) -> None:
    """Measure models and baselines.

    All on the same cases, with confidence intervals.
    """
    from maskupe.photo_job import parse_denoise, parse_edges
    from maskupe_training.evaluation.run import Request
    from maskupe_training.evaluation.run import evaluate as measure

    request = Request(
        tuple(models or ()),
        kind,
        folder,
        split,
        cases,
        seed,
        tuple(silhouettes or ()),
        baselines,
        raw,
        tuple(kinds or ()),
        slow,
        parse_denoise(denoise),
        parse_edges(edges),
    )
    measure(request, data, out, threads)


@app.command()
def tables(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="For data, runs and tables.")],
    fivek: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="MIT-Adobe FiveK as published.")
    ] = None,
    uieb: Annotated[Path | None, typer.Option(metavar="FOLDER", help="UIEB as published.")] = None,
    settings: Set = None,
    shipped: Annotated[
        bool, typer.Option("--shipped", help="Measure the weights that are here; train nothing.")
    ] = False,
    accelerator: Accelerator = "auto",
    threads: Threads = 1,
) -> None:
    """Make the paper's Tables 1 and 2.

    Prepares the data, trains by the paper's recipes, measures; goes on where it was interrupted.
    """
    from maskupe.errors import InputError
    from maskupe_training.paper_tables import TablesRequest, paper_tables

    given = {"fivek": fivek, "uieb": uieb}
    sources = {name: source for name, source in given.items() if source is not None}
    if not sources:
        raise InputError("There is no data to measure on.", "Give --fivek, --uieb, or both.")
    paper_tables(TablesRequest(sources, out, tuple(settings or ()), shipped, threads, accelerator))


@app.command("evaluate-edges")
def evaluate_edges(
    model: Annotated[
        str, typer.Argument(help="A name of `maskupe models`, or a .safetensors file.")
    ] = "default",
    data: Data = Path("data"),
    matting: Annotated[
        str, typer.Option(help="The network that follows edges: a name, or a .safetensors file.")
    ] = "default",
    folder: Annotated[
        list[str] | None,
        typer.Option(help="With image/ and mask/, within the data folder; may be repeated."),
    ] = None,
    photos: Annotated[str, typer.Option(help="Photographs for circles, likewise.")] = "cc_photos",
    cases: Annotated[int | None, typer.Option(min=1, help="How many cases at most.")] = None,
    circles: Annotated[int, typer.Option(min=0, help="How many circles at most.")] = 24,
    seed: Annotated[int, typer.Option(help="Decides light, noise and lines.")] = 1,
    held_out: Annotated[
        bool,
        typer.Option("--held-out/--all", help="Only pictures that are never trained on."),
    ] = True,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="The JSON to write.")] = None,
    threads: Threads = 1,
) -> None:
    """Measure where the light goes along outlines.

    Subjects with a matte are darkened and selected by hand-drawn lines, by the matte itself and
    by loops that are too wide; with edges followed, and by distance alone.
    """
    from maskupe_training.evaluation.edges import EdgeRequest
    from maskupe_training.evaluation.edges import evaluate_edges as measure

    folders = tuple(folder) if folder else EdgeRequest.folders
    request = EdgeRequest(model, matting, folders, photos, cases, circles, seed, held_out)
    measure(request, data, out, threads)


PhotoFolder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Good photographs.")]


@app.command("evaluate-shadows")
def evaluate_shadows(
    folder: PhotoFolder,
    model: Annotated[str, typer.Option(help="A name, or a .safetensors file.")] = "lantern",
    split: Annotated[str, typer.Option(metavar="tune|test")] = "test",
    cases: Annotated[int, typer.Option(min=1, help="How many cases.")] = 32,
    seed: Annotated[int, typer.Option(help="Decides the case list.")] = 1,
    denoise: Annotated[
        list[float] | None, typer.Option(min=0, max=2, help="Strengths besides 0 and auto.")
    ] = None,
    long_edge: Annotated[int, typer.Option(min=64, help="Of the cases, in pixels.")] = 768,
    threads: Threads = 1,
    out: Annotated[
        Path | None, typer.Option(help="For crops at 100 %: input, without, with, truth.")
    ] = None,
) -> None:
    """Measure noise and colour in deep shadows.

    On photographs that are made several stops too dark, noisy and JPEG.
    """
    from maskupe_training.evaluation.shadows import evaluate_shadows as measure

    strengths = (0, *(denoise or ()), "auto")
    measure(folder, model, split, cases, seed, strengths, long_edge, threads, out)


@app.command("noise-spectra")
def noise_spectra(
    folder: PhotoFolder,
    cases: Annotated[int, typer.Option(min=1, help="How many cases.")] = 24,
    seed: Annotated[int, typer.Option(help="Decides the case list.")] = 1,
    long_edge: Annotated[int, typer.Option(min=64, help="Of the cases, in pixels.")] = 768,
) -> None:
    """Measure the noise that denoising expects.

    What `maskupe/denoise/noise.py` holds as SPECTRA.
    """
    from maskupe_training.evaluation.shadows import noise_spectra as measure

    for luma, chroma in measure(folder, cases, seed, long_edge):
        typer.echo(f"{luma}\n{chroma}")


@app.command()
def ablation(
    recipe: Annotated[str, typer.Argument(help="The backbone's recipe.")],
    data: Data,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="For runs, table and picture.")],
    settings: Set = None,
    cases: Annotated[int, typer.Option(min=1, help="Cases of the evaluation.")] = 48,
    raw: Raw = False,
    threads: Threads = 1,
) -> None:
    """Compare the forms of the smoothness loss.

    Trains one backbone with each, as the paper's Fig. 7 does.
    """
    from maskupe_training.ablation import run_ablation

    run_ablation(recipe, settings or (), data, out, cases, threads, raw)


@app.command()
def strip(
    photo: Annotated[Path, typer.Argument(help="A PNG, JPEG or TIFF file.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The picture to write.")],
    model: Annotated[str, typer.Option(help="A name, or a .safetensors file.")] = "default",
    mask: Annotated[Path | None, typer.Option(help="White where to brighten.")] = None,
    values: Annotated[
        str, typer.Option(help="The coefficients, or strengths, separated by commas.")
    ] = "1.2,1.1,1.0,0.9,0.8",
    by: Annotated[
        str, typer.Option(metavar="degree|strength", help="The paper's way, or the product's.")
    ] = "degree",
    raw: Annotated[
        bool, typer.Option("--raw", help="The network alone, f(I, M), not blended.")
    ] = False,
) -> None:
    """Draw one photo at several degrees.

    As in the paper's Fig. 6.
    """
    from maskupe_training.degree_figure import draw_degree_figure

    draw_degree_figure(photo, mask, model, values, by, output, raw)


prepare = typer.Typer(
    help="Bring a data set into our layout.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(prepare, name="prepare")

Source = Annotated[Path, typer.Argument(metavar="SOURCE", help="The data set as published.")]
Target = Annotated[Path, typer.Argument(metavar="TARGET", help="The folder to write.")]
LongEdge = Annotated[int, typer.Option(min=16, help="Long edge in pixels.")]
ValShare = Annotated[float, typer.Option(help="Share for val, by which checkpoints are chosen.")]
TestShare = Annotated[float, typer.Option(help="Share for test, which reports.")]


@prepare.command("fivek")
def prepare_fivek(
    source: Source,
    target: Target,
    long_edge: LongEdge = 512,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; a core each.")] = None,
) -> None:
    """MIT-Adobe FiveK, inputs and Expert C.

    8 bits; the last 500 to test, 100 of the first 4,500 to val. Goes on where it was interrupted,
    and lists pairs that cannot be read in left_out.csv.
    """
    from maskupe_training.prepare.fivek import prepare_fivek as run

    run(source, target, long_edge, workers)


@prepare.command("uieb")
def prepare_uieb(source: Source, target: Target, long_edge: LongEdge = 512) -> None:
    """UIEB, raw-890 and reference-890.

    Divided by lists that come with the package into train, val and test.
    """
    from maskupe_training.prepare.uieb import prepare_uieb as run

    run(source, target, long_edge)


@prepare.command("pairs")
def prepare_pairs(
    source: Source,
    target: Target,
    long_edge: LongEdge = 512,
    val_share: ValShare = 0.1,
    test_share: TestShare = 0.1,
    seed: int = 0,
) -> None:
    """Pairs of your own, input/ and target/.

    Paired by name.
    """
    from maskupe_training.prepare.pairs import prepare_pairs as run

    run(source, target, long_edge, val_share, seed, test_share)


@prepare.command("brackets")
def prepare_brackets(
    source: Source,
    target: Target,
    long_edge: LongEdge = 512,
    val_share: ValShare = 0.1,
    test_share: TestShare = 0.1,
    seed: int = 0,
) -> None:
    """Exposure brackets, a folder for each scene.

    SICE as published, or your own. A TARGET named sice is divided by the lists that come with the
    package, any other by seed.
    """
    from maskupe_training.prepare.brackets import prepare_brackets as run

    run(source, target, long_edge, val_share, seed, test_share)


@prepare.command("photos")
def prepare_photos(
    source: Source,
    target: Target,
    long_edge: LongEdge = 768,
    licence: Annotated[
        list[str] | None, typer.Option(help="Keep licences with this text; may be repeated.")
    ] = None,
    val_share: ValShare = 0.1,
    seed: int = 0,
) -> None:
    """Photographs to be darkened by recipes.

    Well-exposed ones, whose underexposure is synthesised.
    """
    from maskupe_training.prepare.photos import prepare_photos as run

    run(source, target, long_edge, tuple(licence or ()), val_share, seed)


@prepare.command("check")
def prepare_check(
    folder: Annotated[Path, typer.Argument(help="A prepared data set.")],
) -> None:
    """Compare a prepared data set with its manifest."""
    from maskupe_training.data.manifest import check_manifest

    typer.echo(f"{folder}: {check_manifest(folder)} files, all as the manifest says.")


@handle_broken_pipe
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 0, 1 for a failure, 2 for bad input."""
    wanted = sys.argv[1:] if arguments is None else list(arguments)
    return run(app, "maskupe-train", wanted, extra="train")
