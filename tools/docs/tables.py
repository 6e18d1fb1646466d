"""The tables that the code knows better than a writer. ``make docs`` puts them into the documents.

A generated table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskupe import registry
from tools.docs.markdown import ROOT

if TYPE_CHECKING:
    from maskupe_training.matte.recipe import MatteRecipe
    from maskupe_training.recipe import Recipe

#: The evaluation that the documents quote: what was asked for, each method's summary,
#: and PSNR by kind of selection.
EVALUATION = ROOT / "docs" / "evaluation.json"

#: The measurement of edges that they quote: what was asked for, outlines and circles by row.
EDGES = ROOT / "docs" / "edges.json"

_QUOTED = {
    EVALUATION: ("request", "summary", "kinds"),
    EDGES: ("request", "n", "summary", "circles"),
}

_GENERATED = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end -->)", re.S)


def regenerate(text: str) -> str:
    """Return a document with all its generated tables as they should be."""
    return _GENERATED.sub(lambda found: f"{found[1]}\n{TABLES[found[2]]()}\n{found[3]}", text)


def names(text: str) -> list[str]:
    """Return the generated tables in a document."""
    return [found[2] for found in _GENERATED.finditer(text)]


# The paper's and our own: those that the README measures.
_MAIN_NETWORKS = ("lantern", "star-dce", "deepupe")


def keep(measurement: Path, target: Path) -> None:
    """Take over what the documents quote of a measurement; ``target`` is EVALUATION or EDGES."""
    content = json.loads(measurement.read_text("utf-8"))
    kept = {key: content[key] for key in _QUOTED[target]}
    target.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", "utf-8")


def models() -> str:
    """Return all models: their size from the weight file, or counted, which takes PyTorch."""
    from maskupe.cli.models import describe

    rows = []
    for name in registry.MODELS:
        entry = describe(name)
        rows.append(
            (
                f"`{name}`" + (", the default" if entry["default"] else ""),
                f"{entry['parameters']:,}",
                f"{entry['multiply_adds'] / 1e6:,.0f} M",
                _where(name),
                entry["licence"],
                entry["description"],
            )
        )
    head = ("name", "parameters", "multiply-adds", "weights", "weights are for", "")
    return table(head, rows, "lrrlll")


def _where(name: str) -> str:
    research = registry.MODELS[name].weights in registry.RESEARCH_WEIGHTS
    return "`maskupe[research]`" if research else "included"


def recipes() -> str:
    """Return the recipes that come with the package, in their own words."""
    from maskupe_training.recipe_files import SHIPPED, load

    return _recipes({name: load(name) for name in SHIPPED})


def mattes() -> str:
    """Return the recipes of the matting network, in their own words."""
    from maskupe_training.matte.recipe import load
    from maskupe_training.recipe_files import SHIPPED_MATTES

    return _recipes({name: load(name) for name in SHIPPED_MATTES})


def _recipes(recipes: Mapping[str, Recipe] | Mapping[str, MatteRecipe]) -> str:
    rows = [
        (
            f"`{name}`",
            recipe.description,
            f"{recipe.training.steps:,} × {recipe.training.batch}",
            recipe.licence,
        )
        for name, recipe in recipes.items()
    ]
    return table(("recipe", "", "steps × batch", "weights are for"), rows, "llrl")


def evaluation() -> str:
    """Return every column of the kept evaluation."""
    from maskupe_training.evaluation.report import markdown_table

    return markdown_table(_kept()["summary"]).rstrip("\n")


def command() -> str:
    """Return the command line that measured the kept evaluation."""
    from maskupe_training.evaluation.report import command as of_request

    return f"```sh\n{of_request(_kept()['request'])}\n```"


def kinds() -> str:
    """Return the kept evaluation's means in A by kind of selection, a table a metric."""
    from maskupe_training.evaluation.report import kinds_tables

    return kinds_tables(_kept()["kinds"]).rstrip("\n")


def quality() -> str:
    """Return the README's few columns of the kept evaluation."""
    kept = _kept()
    shown = {"input": "the dark photo", "linear gain": "exposure turned up to middle gray"}
    rows = []
    for method, values in kept["summary"].items():
        model = registry.MODELS.get(method)
        if method in shown or (model is not None and model.network in _MAIN_NETWORKS):
            label = shown.get(method, f"`{method}`")
            if method == registry.DEFAULT:
                label += ", the default"
            low, high = values["psnr_a_interval"]
            halo = values["halo"]
            rows.append(
                (
                    label,
                    f"{values['psnr_a']:.1f} dB",
                    f"{low:.1f} … {high:.1f}",
                    f"{values['psnr_a_gamma_aligned']:.1f} dB",
                    f"{values['ssim_a']:.2f}",
                    "–" if halo is None else f"{halo:.1f}",
                )
            )
    head = ("", "PSNR", "95 % interval", "PSNR, gamma-aligned", "SSIM", "halo")
    return table(head, rows, "lrrrrr")


def edges() -> str:
    """Return the kept measurement of outlines."""
    from maskupe_training.evaluation.edges import markdown_tables

    return markdown_tables(json.loads(EDGES.read_text("utf-8")))[0]


def circles() -> str:
    """Return the kept measurement of circles where there is no edge."""
    from maskupe_training.evaluation.edges import markdown_tables

    return markdown_tables(json.loads(EDGES.read_text("utf-8")))[1]


def edges_command() -> str:
    """Return the command line that measured the kept outlines."""
    from dataclasses import asdict

    from maskupe_training.evaluation.edges import EdgeRequest

    request, usual = json.loads(EDGES.read_text("utf-8"))["request"], asdict(EdgeRequest())
    words = ["maskupe-train evaluate-edges"]
    if request["model"] != usual["model"]:
        words.append(request["model"])
    for option in ("matting", "photos", "cases", "circles", "seed"):
        if request[option] != usual[option]:
            words.append(f"--{option} {request[option]}")
    if tuple(request["folders"]) != usual["folders"]:
        words += [f"--folder {folder}" for folder in request["folders"]]
    if not request["held_out"]:
        words.append("--all")
    return f"```sh\n{' '.join([*words, '--data DATA', '--out runs/edges.json'])}\n```"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], sides: str) -> str:
    """Return Markdown; ``sides`` has an l or r for each column."""
    marks = ["--:" if side == "r" else "---" for side in sides]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, marks, *rows])


def _kept() -> Any:
    return json.loads(EVALUATION.read_text("utf-8"))


TABLES: dict[str, Callable[[], str]] = {
    "models": models,
    "recipes": recipes,
    "command": command,
    "evaluation": evaluation,
    "kinds": kinds,
    "quality": quality,
    "mattes": mattes,
    "edges": edges,
    "circles": circles,
    "edges-command": edges_command,
}
