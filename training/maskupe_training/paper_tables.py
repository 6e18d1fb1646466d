"""The paper's Tables 1 and 2 from the data sets as they are published: one command for each set.

Prepares the pictures, trains the paper's four models by its recipes (or takes the weights that
come with the package), and measures f(I, M) alone in A, on circles, every picture of the test split
once. What is done already is kept, so an interrupted command goes on where it was.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskupe.io.atomic import replace_file
from maskupe_training.data.manifest import NAME as MANIFEST
from maskupe_training.data.sources import split_names
from maskupe_training.evaluation.report import RAW, command
from maskupe_training.evaluation.run import Request, evaluate
from maskupe_training.export import export
from maskupe_training.prepare.fivek import prepare_fivek
from maskupe_training.prepare.uieb import prepare_uieb
from maskupe_training.recipe_files import load
from maskupe_training.tables import markdown
from maskupe_training.trainer import Run, fit

#: The paper's numbers by data set and model: PSNR in dB (Table 1) and SSIM between M∗Ŷ and M∗Y
#: (Table 2, whose last row says STAR-DCE-MConcat a second time and must mean DeepUPE-MConcat).
PAPER: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "uieb": {
        "star-dce-mnorm": (17.77, 0.953),
        "star-dce-mconcat": (17.10, 0.954),
        "deepupe-mnorm": (16.82, 0.947),
        "deepupe-mconcat": (16.37, 0.947),
    },
    "fivek": {
        "star-dce-mnorm": (18.31, 0.943),
        "star-dce-mconcat": (18.36, 0.940),
        "deepupe-mnorm": (18.09, 0.933),
        "deepupe-mconcat": (18.15, 0.933),
    },
}
_TITLES = {"uieb": "UIEB", "fivek": "MIT-Adobe FiveK"}
# How many test pictures there are, about; with fewer than this share of them it is another table.
_PICTURES = {"uieb": 90, "fivek": 500}
_COMPLETE = 0.8
_LONG_EDGE = 512
_SEED = 2


@dataclass(frozen=True)
class TablesRequest:
    """What to measure.

    Attributes:
        sources: the published data by name, ``fivek`` or ``uieb``.
        out: for prepared data, runs, weights and tables.
        settings: ``key=value`` on top of the paper's recipes.
        shipped: measure the weights that come with the package, and train nothing.
        threads: CPU threads.
        workers: processes that prepare pictures; all cores if ``None``.
        accelerator: ``auto``, ``cpu``, ``cuda`` or ``mps``, for the trainings.
    """

    sources: Mapping[str, Path]
    out: Path
    settings: Sequence[str] = ()
    shipped: bool = False
    threads: int = 1
    accelerator: str = "auto"
    workers: int | None = None


def paper_tables(request: TablesRequest) -> dict[str, dict[str, Any]]:
    """Prepare, train, measure, and write ``tables.md`` and ``tables.json``; print the former.

    Returns:
        By data set and model: ``psnr``, its 95 % ``interval``, ``ssim``, ``n``, and the largest
        change in C in 8-bit levels, ``largest_c``.

    Raises:
        InputError: for data that is not in the published layout.
        MaskUPEError: if a training fails or a file cannot be written.
    """
    data = request.out / "data"
    found: dict[str, dict[str, Any]] = {}
    for name, source in request.sources.items():
        _prepare(request, name, source, data / name)
        models = {model: _weights(request, name, model, data) for model in PAPER[name]}
        cases = len(split_names(data / name, "test"))
        asked = Request(
            tuple(models.values()),
            kind="pairs",
            folder=name,
            cases=cases,
            seed=_SEED,
            baselines=False,
            raw=True,
            kinds=("paper_circle",),
        )
        summaries = evaluate(asked, data, request.out / name, request.threads)
        found[name] = {}
        for model, weights in models.items():
            row = summaries[Path(weights).stem + RAW]
            found[name][model] = {
                "psnr": row["psnr_a"],
                "interval": row["psnr_a_interval"],
                "ssim": row["ssim_paper"],
                "n": row["n"],
                "largest_c": row["largest_c"],
            }
        found[name]["command"] = command(vars(asked))
    text = as_markdown(found, request)
    replace_file(request.out / "tables.md", text.encode("utf-8"))
    replace_file(request.out / "tables.json", json.dumps(found, indent=1).encode("utf-8"))
    print(text)
    return found


def as_markdown(found: Mapping[str, Mapping[str, Any]], request: TablesRequest) -> str:
    """Return the two tables, ours beside the paper's."""
    parts = []
    for number, metric, unit in ((1, "psnr", "PSNR in dB"), (2, "ssim", "SSIM of M∗Ŷ and M∗Y")):
        head = [f"Table {number}: {unit} in A"]
        for name in found:
            n = next(iter(found[name].values()))["n"]
            head += [f"{_TITLES[name]} ({n} pictures)", "the paper's"]
        lines = []
        for model in next(iter(PAPER.values())):
            cells = [model]
            for name, rows in found.items():
                digits = 2 if metric == "psnr" else 3
                paper = PAPER[name][model][number - 1]
                cells += [f"{rows[model][metric]:.{digits}f}", f"{paper:.{digits}f}"]
            lines.append(cells)
        parts.append(markdown(head, lines))
    how = "weights that come with the package" if request.shipped else "the paper's recipes"
    settings = f", with {', '.join(request.settings)}" if request.settings else ""
    parts.append(
        f"f(I, M) alone, 8 bits, long edge {_LONG_EDGE} px, the paper's circles, seed {_SEED}, "
        f"every picture of the test split once; {how}{settings}."
    )
    for name, rows in found.items():
        n = next(iter(rows.values()))["n"]
        if n < _COMPLETE * _PICTURES[name]:
            parts.append(
                f"{n} of the about {_PICTURES[name]} test pictures of {_TITLES[name]} are here: "
                "these numbers are not comparable with the paper's."
            )
    return "\n\n".join(parts) + "\n"


def _prepare(request: TablesRequest, name: str, source: Path, target: Path) -> None:
    if (target / MANIFEST).is_file():
        return
    if name == "fivek":
        prepare_fivek(source, target, _LONG_EDGE, request.workers)
    else:  # small enough to begin anew where it was interrupted
        part = target.with_name(f"{name}.part")
        shutil.rmtree(part, ignore_errors=True)
        prepare_uieb(source, part, _LONG_EDGE)
        part.rename(target)


def _weights(request: TablesRequest, name: str, model: str, data: Path) -> str:
    """Return the weights to measure: a shipped model's name, or a file that is trained first."""
    if request.shipped:
        return model
    recipe = f"paper-{model}" + ("-uieb" if name == "uieb" else "")
    run, target = request.out / "runs" / recipe, request.out / "weights" / f"{recipe}.safetensors"
    last = fit(
        load(recipe, request.settings),
        Run(
            data,
            run,
            resume=(run / "last.pt").exists(),
            threads=request.threads,
            accelerator=request.accelerator,
        ),
    )
    return str(export(last.parent, target, data))
