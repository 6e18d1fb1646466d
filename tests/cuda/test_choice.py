"""When the card renders: where it was measured to be faster, and never before."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

from maskupe.areas.coverage import full_coverage
from maskupe.maps import Window
from maskupe.rendering.choice import LEAST_PIXELS, SIDES, Choice, Line, synthetic
from maskupe.rendering.job import make_job
from tests.rendering_cases import random_areas, random_maps


def a_job(kind="ToneCurves", side=600, masked=False):
    rng = np.random.default_rng(0)
    image = np.zeros((side, side, 3), np.uint8)
    areas = random_areas(rng, side, side) if masked else full_coverage(side, side)
    window = Window(0, 0, side, side)
    return make_job(random_maps(kind, rng), image, areas, window, 1.0, None, None, None)


class Machine:
    """Backends that sleep as long as they are said to take."""

    def __init__(self, monkeypatch, **seconds):
        self.runs = []
        self._now = 0.0
        self._seconds = seconds
        monkeypatch.setattr("maskupe.rendering.choice.time.perf_counter", lambda: self._now)

    def run(self, job, backend):
        self.runs.append((backend, job.height))
        base, rate = self._seconds[backend]
        self._now += base + rate * job.height * job.width


def settled(choice, job):
    """The answer once everything has been measured."""
    choice.on_card(job, "native")
    choice.on_card(job, "native")
    for thread in threading.enumerate():
        if thread.name == "maskupe-measure":
            thread.join()
    return choice.on_card(job, "native")


def test_a_line_through_two_times():
    line = Line.through((100, 2.0), (300, 4.0))
    assert line.seconds(0) == pytest.approx(1.0) and line.seconds(500) == pytest.approx(6.0)
    falling = Line.through((100, 2.0), (300, 1.0))
    assert falling.seconds(10**6) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("cuda", "native", "faster"),
    [
        ((1e-3, 1e-9), (0.0, 1e-8), True),
        ((1e-3, 1e-8), (0.0, 1e-9), False),
        ((1.0, 1e-9), (0.0, 1e-8), False),  # not yet at this size
        ((0.0, 0.99e-8), (0.0, 1e-8), False),  # not by much
    ],
)
def test_what_was_measured_decides(monkeypatch, cuda, native, faster):
    machine = Machine(monkeypatch, cuda=cuda, native=native)
    choice = Choice(machine.run, lambda: True)
    assert settled(choice, a_job()) is faster
    assert {size for _, size in machine.runs} == set(SIDES)
    count = len(machine.runs)
    assert settled(choice, a_job(side=700)) is faster
    assert len(machine.runs) == count  # once is enough


def test_the_size_of_the_job_counts(monkeypatch):
    machine = Machine(monkeypatch, cuda=(0.01, 0.0), native=(0.0, 1e-8))
    choice = Choice(machine.run, lambda: True)
    assert settled(choice, a_job(side=600)) is False  # 3.6 ms against 10
    assert settled(choice, a_job(side=1200)) is True  # 14.4


def test_each_kind_of_job_is_measured_for_itself(monkeypatch):
    machine = Machine(monkeypatch, cuda=(0.0, 1e-9), native=(0.0, 1e-8))
    choice = Choice(machine.run, lambda: True)
    settled(choice, a_job())
    count = len(machine.runs)
    for other in (a_job("GainGrid"), a_job(masked=True)):
        assert choice.on_card(other, "native") is False
        settled(choice, other)
    assert len(machine.runs) == 3 * count


def test_nothing_is_measured_for_one_job_for_small_ones_or_without_a_card(monkeypatch):
    machine = Machine(monkeypatch, cuda=(0.0, 0.0), native=(0.0, 1.0))
    assert Choice(machine.run, lambda: True).on_card(a_job(), "native") is False
    small = int(LEAST_PIXELS**0.5) - 1
    assert settled(Choice(machine.run, lambda: True), a_job(side=small)) is False
    assert settled(Choice(machine.run, lambda: False), a_job()) is False
    assert not machine.runs


def test_a_card_that_fails_is_left_alone(monkeypatch):
    tried = []

    def fail(job, backend):
        tried.append(backend)
        raise RuntimeError("Failed to find C compiler")

    choice = Choice(fail, lambda: True)
    assert settled(choice, a_job()) is False
    assert settled(choice, a_job()) is False
    assert len(tried) == 1


def test_nobody_waits_for_the_measurement():
    going_on = threading.Event()
    ended = []

    def run(job, backend):
        going_on.wait(60)
        ended.append(backend)

    choice = Choice(run, lambda: True)
    for _ in range(4):
        assert choice.on_card(a_job(side=520), "native") is False
    assert not ended
    going_on.set()


def test_a_synthetic_job_is_like_the_real_one():
    job = synthetic(a_job(masked=True), 90)
    assert job.image.shape == job.out.shape == (90, 90, 3) and job.coverage.shape == (90, 90)
    assert set(np.unique(job.coverage[:, ::30])) >= {0, 65535}
    assert synthetic(a_job(), 90).coverage.strides[0] == 0


def test_the_environment_still_decides(monkeypatch):
    from maskupe.rendering import renderer

    job = a_job(side=600)
    monkeypatch.setattr(renderer.card(), "_there", lambda: pytest.fail("nobody asked for it"))
    monkeypatch.setenv("MASKUPE_RENDERER", "numpy")
    assert renderer._fastest(job) == "numpy"


def test_no_torch_is_imported_to_find_out():
    program = """if True:
        import sys
        import numpy as np
        from maskupe.areas.coverage import full_coverage
        from maskupe.maps import ToneCurves, Window
        from maskupe.rendering import render
        maps = ToneCurves(np.ones((3, 4), np.float32), np.ones((3, 1, 1), np.float32))
        image = np.zeros((600, 600, 3), np.uint8)
        for _ in range(3):
            render(maps, image, full_coverage(600, 600), Window(0, 0, 600, 600))
        print("torch" in sys.modules, "triton" in sys.modules)
    """
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False"]
