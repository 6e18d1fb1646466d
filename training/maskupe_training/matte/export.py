"""From a checkpoint of the matting network to weight file, graph and model card."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from maskupe.errors import InputError
from maskupe.inference.export import save_matting
from maskupe.networks import matting
from maskupe_training import checkpoint
from maskupe_training.data.manifest import manifest_digest
from maskupe_training.data.sources import read_json
from maskupe_training.matte.material import credit_lines
from maskupe_training.matte.recipe import MatteRecipe, from_tables, is_matte, load
from maskupe_training.model_card import write_card
from maskupe_training.recipe_files import matte_command


def is_run(source: Path) -> bool:
    """Return whether a run's folder, or a checkpoint, is one of the matting network."""
    path = _checkpoint(source)
    return path.is_file() and is_matte(json.loads(checkpoint.read(path).get("recipe", "{}")))


def export_matte(
    source: Path,
    target: Path,
    data_root: Path | None = None,
    metrics: dict[str, Any] | None = None,
) -> Path:
    """Write ``target`` (``.safetensors``) with its ``.onnx`` and ``.md`` beside it.

    Args:
        source: a checkpoint, or a run's folder, whose ``last.pt`` is then taken.
        target: the weight file.
        data_root: where the recipe's data lies, to name whom the pictures are owed to.
        metrics: what an evaluation measured.

    Returns:
        The path of the weight file.

    Raises:
        InputError: if the checkpoint is missing or damaged, or nobody can be named.
        MaskUPEError: if a file cannot be written.
    """
    path = _checkpoint(source)
    state = checkpoint.read(path)
    recipe = from_tables(json.loads(state["recipe"]), str(path))
    if data_root is None:
        raise InputError(
            f"{path} was trained on pictures whose authors the model card must name.",
            "Give the data folder by --data, for its index.csv files.",
        )
    network = matting.Matting()
    network.load_state_dict(state["network"] | state["average"])
    network.eval()
    tables = recipe.to_dict()
    trained = {"steps": state["step"], "minutes": round(state["minutes"], 1)}
    target.parent.mkdir(parents=True, exist_ok=True)
    metadata = {
        "recipe": tables,
        "training_data": _training_data(recipe, data_root),
        "licence": recipe.licence,
        "metrics": trained | (metrics or {}),
        "commit": state["commit"],
        "created": time.strftime("%Y-%m-%d", time.gmtime()),
        "seed": str(recipe.seed),
        "command": matte_command(tables, lambda name: load(name).to_dict()),
        "credits": credit_lines(recipe, data_root),
    }
    save_matting(target, network, metadata)
    write_card(target)
    return target


def card_metrics(path: Path, name: str) -> dict[str, Any]:
    """Return what `evaluate-edges` measured with a matting network, for its card.

    Args:
        path: the JSON that it wrote.
        name: of the network.

    Raises:
        InputError: if the file is no such evaluation, or of another network.
    """
    content = read_json(path)
    summary, request = content.get("summary"), content.get("request")
    if not isinstance(summary, dict) or not isinstance(request, dict) or "matting" not in request:
        raise InputError(f"{path} is no evaluation of edges.", "Give what `evaluate-edges` wrote.")
    if Path(str(request["matting"])).stem not in (name, "default"):
        raise InputError(f"{path} measures {request['matting']!r}, not {name!r}.")
    return {
        f"{row} {key}": value
        for row, values in summary.items()
        for key, value in values.items()
        if value is not None
    }


def _checkpoint(source: Path) -> Path:
    return source / "last.pt" if source.is_dir() else source


def _training_data(recipe: MatteRecipe, data_root: Path) -> str:
    """Return the folders by name, each with the digest of its manifest where that can be found."""
    parts = []
    for folder in (recipe.cutouts.folder, recipe.photos.folder, *recipe.masked.folders):
        found = manifest_digest(data_root / folder)
        parts.append(folder + (f" sha256:{found}" if found else ""))
    return ", ".join(parts)
