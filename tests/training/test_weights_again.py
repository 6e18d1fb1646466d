"""The weights that ship can be made again: by the command in their card, to the same quality."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import pytest

from maskupe import weights_file
from maskupe.inference.build import load
from maskupe_training.cli import main
from maskupe_training.recipe_files import load as load_recipe
from maskupe_training.validation import Validator

DATA = os.environ.get("MASKUPE_DATA", "")
#: The smallest training of those that ship; it is the default, too.
WEIGHTS = Path(__file__).parents[2] / "maskupe" / "weights" / "lantern.safetensors"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not DATA, reason="set MASKUPE_DATA to the folder of the data sets")
def test_training_the_default_weights_again_gives_the_same_quality(tmp_path: Path) -> None:
    header = weights_file.read_header(WEIGHTS)
    program, *arguments = shlex.split(header.metadata["command"])
    assert program == "maskupe-train"
    run = tmp_path / "run"
    place = ["--data", DATA, "--out", str(run), "--accelerator", "cpu", "--threads", "2"]
    assert main([*arguments, *place]) == 0
    steps = header.json("metrics")["steps"]
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    (again,) = [line["val_psnr_a"] for line in lines if line["step"] == steps]

    _, network, _ = load(WEIGHTS)
    # The level was moved after the training.
    network.brighten(-float(header.metadata.get("stops", 0.0)))
    validator = Validator(load_recipe(arguments[1]), Path(DATA))
    shipped = validator(network, next(network.parameters()).device).psnr_a
    assert again == pytest.approx(shipped, abs=0.1)
