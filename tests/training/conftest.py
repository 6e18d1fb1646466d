"""Small data sets in the real layouts, made once."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskupe_training.data.images import write_rgb
from maskupe_training.recipe_files import SHIPPED

#: The recipes for a CPU; the paper's are the same networks with other numbers.
CPU_RECIPES = [name for name in SHIPPED if not name.startswith("paper-")]


def scene(seed: int, size: int = 48) -> np.ndarray:
    """A smooth random picture with some texture, uint8, about as bright as a good photograph."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0.1, 0.9, (4, 4, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    texture = rng.normal(0, 0.03, (size, size, 3))
    return (np.clip(smooth + texture, 0, 1) * 255).astype(np.uint8)


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """brackets/ (6 scenes of 4 frames), pairs/ (3), photos/ (3), masks/ (2)."""
    root = tmp_path_factory.mktemp("data")
    index, names = {}, []
    for number in range(6):
        good = scene(number).astype(np.float32)
        frames, means = [], []
        for frame, gain in enumerate((0.08, 0.2, 1.0, 1.8)):
            name = f"s{number}_{frame}.png"
            picture = np.clip(good * gain, 0, 255).astype(np.uint8)
            write_rgb(root / "brackets" / "bracket" / name, picture)
            frames.append(name)
            means.append(float(picture.mean()))
        index[f"s{number}"] = {
            "frames": frames,
            "mean": means,
            "underexposed": frames[:2],
            "single": frames[2],
        }
        names.append(f"s{number}")
    (root / "brackets" / "index.json").write_text(json.dumps(index))
    (root / "brackets" / "split.json").write_text(
        json.dumps({"train": names[:4], "val": names[4:]})
    )
    for number in range(3):
        write_rgb(root / "pairs" / "target" / f"p{number}.png", scene(20 + number))
        write_rgb(root / "pairs" / "input" / f"p{number}.png", scene(20 + number) // 4)
        write_rgb(root / "photos" / f"f{number}.png", scene(30 + number))
        mask = np.zeros((40, 30, 3), np.uint8)
        cv2.circle(mask, (15, 20), 9 + number, (255, 255, 255), -1)
        write_rgb(root / "masks" / f"m{number}.png", mask)
    (root / "photos" / "index.csv").write_text(
        "file,source,licence,author\n"
        "f0.png,a,CC0-1.0,\nf1.png,b,CC-BY-4.0,Ansel\nf2.png,c,unclear,\n"
    )
    return root


@pytest.fixture
def without_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports write no graph for ONNX Runtime, which takes longer than all else a test does.

    Where a weight file has none, PyTorch runs it. For tests in which the graph plays no part.
    """
    monkeypatch.setattr("maskupe_training.export.export_onnx", lambda _network, _path: None)


RECIPE = """
model = "deepupe-mconcat"
description = "A test."
licence = "research use, non-commercial"

[[sources]]
kind = "brackets"
folder = "brackets"

[validation]
cases = 2
[validation.source]
kind = "brackets"
folder = "brackets"
split = "val"

[augmentation]
size = 48

[loss]
base = "deepupe"
smooth_target = "illumination"

[optimizer]
rate = 1e-3
clip = 1.0
schedule = "cosine"

[training]
steps = 6
batch = 2
validate_every = 2
ema = 0.9
"""


@pytest.fixture(scope="session")
def recipe_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipes") / "small.toml"
    path.write_text(RECIPE)
    return path
