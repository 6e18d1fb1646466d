"""The model card: a page in Markdown, written from the weight file's own metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maskupe.weightfile import Header, digest

_USE = (
    "Lights up a selected, underexposed part of a photograph and leaves the rest as it is.",
    "It does not remove noise, cannot bring back what was clipped to black, and was not",
    "made for restoring evidence or for medical pictures.",
)
_USE_OF_MATTING = (
    "Says how much of each pixel near a drawn line belongs to the subject that the line is around,",
    "so that light follows its outline. It needs the line: it finds nobody in a photograph by",
    "itself, and was not made to identify or to count people.",
)


def model_card(path: Path, header: Header, parameters: int) -> str:
    """The card of a weight file, as Markdown.

    Args:
        path: the ``.safetensors`` file.
        header: what it says about itself.
        parameters: how many the network has.
    """
    said = header.metadata
    recipe: dict[str, Any] = header.json("recipe") or {}
    lines = [
        f"# {path.stem}",
        "",
        str(recipe.get("about", "")),
        "",
        "| | |",
        "|---|---|",
        f"| Network | {said.get('network', '')}, {parameters:,} parameters |",
        *([f"| Conditioning | {said['conditioning']} |"] if "conditioning" in said else []),
        f"| Licence of the weights | {said.get('licence', '')} |",
        f"| Trained on | {_data(recipe)} |",
        f"| Data manifest | {said.get('training_data', '')} |",
        f"| Seed | {said.get('seed', '')} |",
        f"| Source commit | {said.get('commit', '')} |",
        f"| Created | {said.get('created', '')} |",
        f"| SHA-256 | `{digest(path)}` |",
        "",
        "Trained with",
        "",
        f"    {said.get('command', '')}",
        "",
    ]
    deviations = recipe.get("deviations") or recipe.get("cuts")  # as older files call it
    if deviations:
        lines += ["## Where it differs from the paper", "", str(deviations), ""]
    lines += _metrics(header.json("metrics") or {})
    lines += [
        "## Intended use and limits",
        "",
        *(_USE_OF_MATTING if said.get("network") == "matting" else _USE),
        "",
    ]
    credits = header.json("credits")
    if credits:
        lines += ["## Credits", ""] + [f"- {line}" for line in credits] + [""]
    lines += ["## Recipe", "", "```json", json.dumps(recipe, indent=1), "```", ""]
    return "\n".join(lines)


def _data(recipe: Mapping[str, Any]) -> str:
    if recipe.get("task") == "matte":
        parts = [(recipe[kind]["folder"], kind) for kind in ("cutouts", "photos")]
        parts += [(folder, "with masks") for folder in recipe["masked"]["folders"]]
        return ", ".join(f"`{folder}` ({what})" for folder, what in parts)
    return ", ".join(
        f"{source['kind']} `{source['folder']}` ({source['split']})"
        for source in recipe.get("sources", [])
    )


def _metrics(metrics: Mapping[str, Any]) -> list[str]:
    if not metrics:
        return []
    rows = [f"| {name.replace('_', ' ')} | {value} |" for name, value in sorted(metrics.items())]
    return ["## Measured", "", "| | |", "|---|---|", *rows, ""]
