"""From a checkpoint to what is shipped: weight file, graph for ONNX Runtime, model card."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from maskupe.errors import InputError
from maskupe.inference import build as networks
from maskupe.inference.export import export_onnx
from maskupe.networks.lantern import Lantern
from maskupe.registry import resolve
from maskupe_training import checkpoint
from maskupe_training.data.manifest import manifest_digest
from maskupe_training.data.splits import scene_record
from maskupe_training.model_card import credit_lines, write_card
from maskupe_training.recipe import Recipe, from_tables
from maskupe_training.recipe_files import command


def export(
    source: Path,
    target: Path,
    data_root: Path | None = None,
    metrics: dict[str, Any] | None = None,
    stops: float = 0.0,
) -> Path:
    """Write ``target`` (``.safetensors``) with its ``.onnx`` and ``.md`` beside it.

    Args:
        source: a checkpoint, or a run's folder, whose ``best.pt`` is then taken.
        target: the weight file.
        data_root: where the recipe's data lies, to name its manifest by digest and its
            photographers; ``None`` leaves the digest out.
        metrics: what an evaluation measured; the training's own validation is added.
        stops: EV by which the exported network brightens more than the trained one, to correct a
            level that is off on average on the validation split; Lantern only.

    Returns:
        The path of the weight file.

    Raises:
        InputError: if the checkpoint is missing or damaged, the photographers cannot be named, or
            the level of such a network cannot be moved.
        MaskUPEError: if a file cannot be written.
    """
    path = source / "best.pt" if source.is_dir() else source
    state = checkpoint.read(path)
    recipe = from_tables(json.loads(state["recipe"]), str(path))
    if data_root is None and any(source.kind == "photos" for source in recipe.sources):
        raise InputError(
            f"{path} was trained on photographs, whose authors the model card must name.",
            "Give the data folder by --data, for its index.csv.",
        )
    credited = credit_lines(recipe, data_root) if data_root is not None else []
    config = resolve(recipe.model)
    network = networks.build(config)
    network.load_state_dict(state["network"] | state["average"])
    network.eval()
    if stops:
        if not isinstance(network, Lantern):
            raise InputError(f"The level of {recipe.model} cannot be moved.", "Leave out --stops.")
        network.brighten(stops)
    # Said with the number, since it is of small pictures and of the cases that chose the weights.
    val = {f"val_{name}": round(value, 3) for name, value in state["val"].items()}
    val |= {
        "val_n": recipe.validation.cases,
        "val_seed": recipe.validation.seed,
        "val_size": recipe.augmentation.size,
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    metadata: dict[str, Any] = {
        "recipe": recipe.to_dict(),
        "training_data": _training_data(recipe, data_root),
        "licence": recipe.licence,
        "metrics": val | {"steps": state["step"]} | (metrics or {}),
        "commit": state["commit"],
        "created": time.strftime("%Y-%m-%d", time.gmtime()),
        "seed": str(recipe.seed),
        "command": command(recipe),
    }
    started = state["started_from"]
    if started:
        before = started.pop("scenes")
        metadata["started_from"] = started
        metadata["command"] += f" --from {started['name']}"
    if stops:
        metadata["stops"] = str(stops)
    scenes = state["scenes"]
    # The last checkpoint was not chosen by anything.
    chosen = scenes["watched"] if path.name == "best.pt" else {}
    metadata["scenes"] = {
        "trained": scene_record(scenes["trained"]),
        "chosen": scene_record(chosen),
    }
    if started and before:
        metadata["scenes"]["before"] = before
    if credited:
        metadata["credits"] = credited
    networks.save(target, config, network, metadata)
    _, loaded, _ = networks.load(target)
    export_onnx(loaded, target)
    write_card(target)
    return target


def _training_data(recipe: Recipe, data_root: Path | None) -> str:
    """Return the sources by name, each with the digest of its manifest where that can be found."""
    parts = []
    for source in recipe.sources:
        text = f"{source.folder} ({source.split})"
        if data_root is not None:
            found = manifest_digest(data_root / source.folder)
            text += f" sha256:{found}" if found else ""
        parts.append(text)
    return ", ".join(parts)
