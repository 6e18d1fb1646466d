"""`python -m benchmarks.card_data FOLDER`: brackets of synthetic scenes, to train on for a minute.

They are laid out like SICE's, which is not ours to carry along: what is learned from them is worth
nothing, but a card has the same to do.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.scene import photograph
from maskupe_training.data.images import write_rgb

SCENES = 48
#: Light of the frames; the third is the well exposed one.
GAINS = (0.1, 0.3, 1.0, 1.8)


def make_scene(folder: Path, number: int) -> tuple[str, dict[str, object]]:
    """Write one scene's frames; its name and what the index says of it."""
    good = photograph(0.4, seed=number) * np.float32(510.0)
    frames, means = [], []
    for frame, gain in enumerate(GAINS):
        name = f"s{number}_{frame}.png"
        picture = np.clip(good * np.float32(gain), 0, 255).astype(np.uint8)
        write_rgb(folder / "bracket" / name, picture)
        frames.append(name)
        means.append(float(picture.mean()))
    about = {"frames": frames, "mean": means, "underexposed": frames[:2], "single": frames[2]}
    return f"s{number}", about


def main(folder: Path) -> None:
    """Write the data set ``sice`` in a folder."""
    with ThreadPoolExecutor(8) as pool:
        index = dict(pool.map(lambda number: make_scene(folder / "sice", number), range(SCENES)))
    names = list(index)
    split = {"train": names[:-8], "val": names[-8:]}
    (folder / "sice" / "index.json").write_text(json.dumps(index), "utf-8")
    (folder / "sice" / "split.json").write_text(json.dumps(split), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
