"""The benchmark itself: it runs through on tiny pictures, and its page says what was measured."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

import benchmarks.__main__ as bench
from benchmarks.__main__ import main
from benchmarks.machine import describe
from benchmarks.measure import Samples, ratios
from benchmarks.plot import log_log
from benchmarks.scene import large, selected_disc
from benchmarks.sections import SECTIONS

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_a_quick_run_writes_the_page_the_plot_and_the_numbers(tmp_path):
    # In two parts, which end up on one page.
    options = ["--quick", "--threads", "2", "--write", str(tmp_path)]
    assert main(["renderer", "one thread", "builds", "backends", *options]) == 0
    assert main(["other ways", "sizes", "daemon", "footprint", *options]) == 0
    numbers = json.loads((tmp_path / "benchmarks.json").read_text("utf-8"))
    page = (tmp_path / "benchmarks.md").read_text("utf-8")
    assert numbers["machine"]["commit"] in page
    assert (tmp_path / "benchmarks.svg").read_text("utf-8").startswith("<svg")
    for kind in ("ToneCurves", "GainGrid", "AffineGrid", "CurveMaps", "LookUpTable"):
        for depth in ("u8", "u16", "f32"):
            assert numbers["renderer"][f"{kind} {depth}"]["median"] > 0
    assert numbers["other ways"]["MaskUPE"]["milliseconds"] > 0
    assert numbers["daemon"]["preview of 1 MP, a slider moves, ms"] > 0
    installed = dict(numbers["footprint"])
    total = installed.pop("installed, all, MB")
    assert sum(installed.values()) == pytest.approx(total)
    assert installed["installed, numpy, MB"] > 10
    assert not any("torch" in name for name in installed), "an extra is none of it"


def test_numbers_of_another_machine_or_program_are_not_mixed_in(tmp_path, monkeypatch):
    for name in SECTIONS:
        monkeypatch.setitem(SECTIONS, name, lambda _: {})
    options = ["--quick", "--write", str(tmp_path)]
    for commit, kept in (("one", ["renderer"]), ("one", ["renderer", "sizes"]), ("two", ["sizes"])):
        monkeypatch.setattr(bench, "describe", lambda commit=commit: machine(commit))
        monkeypatch.setattr(bench, "report", lambda *_: "")
        monkeypatch.setattr(bench, "plot", lambda *_: "")
        assert bench.main([kept[-1], *options]) == 0
        numbers = json.loads((tmp_path / "benchmarks.json").read_text("utf-8"))
        assert [name for name in SECTIONS if name in numbers] == kept


def machine(commit):
    return {"processor": "some", "commit": commit}


def test_a_section_that_does_not_exist_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["everything"])
    assert "renderer" in capsys.readouterr().err


def test_ratios_are_taken_round_by_round():
    samples = {
        "copy": Samples([1.0, 2.0, 4.0], [1.0, 1.0, 1.0]),
        "case": Samples([3.0, 4.0, 20.0], [2.0, 3.0, 4.0]),
    }
    row = ratios(samples, "copy")["case"]
    assert (row.median, row.best, row.cpu, row.milliseconds) == (3.0, 3.0, 2.0, 3000.0)


def test_pictures_have_the_size_and_the_selection_the_share_that_was_asked_for():
    for megapixels in (0.1, 7.0):
        image = large(megapixels)
        assert image.shape[0] * image.shape[1] == pytest.approx(megapixels * 1e6, rel=0.01)
    assert np.mean(selected_disc(400, 600, 0.25) > 0) == pytest.approx(0.25, rel=0.01)
    assert selected_disc(4, 6, 1.0).all()


def test_the_plot_has_a_point_for_every_number():
    svg = log_log({"one": [(1, 10), (10, 100)], "two": [(1, 20)]}, "x", "y")
    assert svg.count("<circle") == 3 and svg.count("<polyline") == 2


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a checkout")
def test_the_commit_that_is_measured_is_named() -> None:
    head = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert describe()["commit"].rstrip("+") == head.stdout.strip()
