"""Settings under a name: a file that keeps them, whatever happens."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from maskupe_gimp import source

sys.path.insert(0, str(source()))
from maskupe_plugin.presets import DamagedError, Presets

SOFT = {"strength": 0.6, "warmth": -0.25, "saturation": 0.5, "width": 90.0, "side": "inside"}
SOFT |= {"automatic-width": False}
#: What presets mean that were saved before there was a choice.
BEFORE = {"warmth": 0.0, "saturation": 0.0}


@pytest.fixture
def presets(tmp_path: Path) -> Presets:
    return Presets(tmp_path / "plug-in-settings" / "presets.json")


def test_what_is_saved_comes_back_in_the_order_of_names(presets: Presets) -> None:
    assert presets.read() == {}
    presets.save("Weich & „leise“", SOFT)
    presets.save("backlight", {"strength": 1.4, "output": "new-layer", "image": object()})
    presets.save("Backlight", {"strength": 1.2})
    assert list(presets.read()) == ["backlight", "Backlight", "Weich & „leise“"]
    assert presets.read()["Weich & „leise“"] == SOFT
    # The output belongs to the layer, not to the look.
    assert presets.read()["backlight"] == {"strength": 1.4, **BEFORE}
    presets.save("backlight", SOFT)
    assert presets.read()["backlight"] == SOFT
    presets.delete("backlight")
    presets.delete("never there")
    assert list(presets.read()) == ["Backlight", "Weich & „leise“"]


def test_presets_of_before_there_was_a_choice_change_no_colour(tmp_path: Path) -> None:
    file = tmp_path / "presets.json"
    file.write_text('{"version": 1, "presets": {"old": {"strength": 0.5}}}', "utf-8")
    presets = Presets(file)
    assert presets.read() == {"old": {"strength": 0.5, **BEFORE}}
    new = {"warmth": 1.0, "saturation": -0.5}
    presets.save("new", new)
    assert presets.read() == {"new": new, "old": {"strength": 0.5, **BEFORE}}


@pytest.mark.parametrize("damaged", ["", "{", "[]", '{"presets": 3}', '{"presets": {"a": 1}}'])
def test_a_damaged_file_is_not_overwritten(tmp_path: Path, damaged: str) -> None:
    file = tmp_path / "presets.json"
    file.write_text(damaged, "utf-8")
    presets = Presets(file)
    for use in (presets.read, lambda: presets.save("new", SOFT), lambda: presets.delete("a")):
        with pytest.raises(DamagedError, match=r"presets\.json"):
            use()
    assert file.read_text("utf-8") == damaged


def test_values_of_other_types_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "presets.json"
    values = {"strength": [1], "width": None, "side": "inside", "denoise": 0.5}
    file.write_text(json.dumps({"presets": {"odd": values}}), "utf-8")
    assert Presets(file).read() == {"odd": {**BEFORE, "side": "inside", "denoise": 0.5}}


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", "utf-8")
    with pytest.raises(OSError):
        Presets(tmp_path / "file" / "presets.json").save("new", SOFT)
