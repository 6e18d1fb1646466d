"""Exposure brackets: one folder of aligned frames per scene, as SICE is published.

``SOURCE/1/1.JPG, 2.JPG, …``; SICE's ``Label`` folder is not used, since the truth is local: the
frame that is best exposed inside the mask.
"""

from __future__ import annotations

import json
from pathlib import Path

from maskupe.errors import InputError
from maskupe_training.data.ground_truth import TARGET_LUMA
from maskupe_training.data.images import fit_long_edge, list_images, luma, read_rgb, write_rgb
from maskupe_training.prepare.writing import empty_target, finish, split_into
from maskupe_training.progress import tracked

#: A frame counts as underexposed up to this mean luma, of 255 …
DARK_MEAN = 90.0
# … if the scene's best exposed frame is brighter by at least this factor.
_BRIGHTER = 1.2


def prepare_brackets(
    source: Path,
    target: Path,
    long_edge: int,
    val_share: float,
    seed: int,
    test_share: float = 0.0,
) -> None:
    """Write ``bracket/SCENE_FRAME.jpg``, ``index.json``, ``split.json`` and a manifest.

    Raises:
        InputError: for a source without scenes, a scene with fewer than two frames or frames of
            different sizes, or a target that is not empty.
    """
    if not source.is_dir():
        raise InputError(f"There is no folder {source}.", "Check the path.")
    scenes = sorted(p for p in source.iterdir() if p.is_dir() and p.name.lower() != "label")
    if not scenes:
        raise InputError(f"{source} has no scenes.", "Put the frames of each scene into a folder.")
    names = [scene.name for scene in scenes]
    splits = split_into(target, names, val_share, test_share, seed)
    empty_target(target)
    index = {
        scene.name: _prepare_scene(scene, target / "bracket", long_edge)
        for scene in tracked(scenes, len(scenes), "preparing")
    }
    (target / "index.json").write_text(json.dumps(index, indent=1), "utf-8")
    finish(target, splits, {"data": "brackets", "long_edge": long_edge, "seed": seed})


def _prepare_scene(scene: Path, folder: Path, long_edge: int) -> dict[str, object]:
    paths = list_images(scene)
    if len(paths) < 2:
        raise InputError(f"The scene {scene} has one frame.", "A bracket needs two or more.")
    frames = []
    shape = None
    for path in paths:
        picture = read_rgb(path)
        if shape is not None and picture.shape != shape:
            raise InputError(
                f"{path} is not as large as the scene's first frame {paths[0].name}.",
                "A bracket's frames must be aligned and equally large.",
            )
        shape = picture.shape
        name = f"{scene.name}_{path.stem}.jpg"
        write_rgb(folder / name, fit_long_edge(picture, long_edge))
        frames.append((float(luma(picture).mean()), name))
    frames.sort()
    best_mean, best = min(frames, key=lambda frame: abs(frame[0] - TARGET_LUMA))
    return {
        "frames": [name for _, name in frames],
        "mean": [round(mean, 1) for mean, _ in frames],
        "underexposed": [
            name for mean, name in frames if mean <= DARK_MEAN and best_mean > _BRIGHTER * mean
        ],
        "single": best,
    }
