"""The real daemon: preview latency, cold start, whole jobs over the wire, memory above idle.

Daemons are started as the plug-in starts them, of compiled Python, as pip installs it.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.measure import copier
from benchmarks.scene import large, selected_disc
from maskupe.areas.region import region_of
from maskupe.areas.transition import Transition
from maskupe.preprocess.context import CONTEXT_EDGE, downscale
from maskupe_client.client import Client, EnhanceRequest
from maskupe_client.launcher import TUNING, WANTED_VARIABLE
from tests.daemon.running import RunningDaemon, spec


def request_of(image: np.ndarray, share: float, **options: object) -> tuple[EnhanceRequest, list]:
    """Return what a client sends for a disc of that share of a layer: request and planes."""
    selection = selected_disc(*image.shape[:2], share)
    rows, columns = region_of(selection, Transition())
    region = np.ascontiguousarray(image[rows, columns])
    part = np.ascontiguousarray(selection[rows, columns])
    planes = [region, part]
    context = None
    if region.shape != image.shape:
        context = np.rint(downscale(image, CONTEXT_EDGE) * 255).astype(np.uint8)
        planes.append(context)
    request = EnhanceRequest(
        image=spec(region),
        layer=image.shape[:2],
        origin=(rows.start, columns.start),
        selection=spec(part),
        context=None if context is None else spec(context),
        **options,
    )  # type: ignore[arg-type]
    return request, planes


def service(megapixels: float, largest: float, rounds: int) -> dict[str, float]:
    """Return all numbers of one daemon, in milliseconds, bytes or ratios as their names say."""
    with tempfile.TemporaryDirectory() as folder:
        image = large(megapixels)
        starts = _starts(Path(folder), 2 * rounds + 1)
        daemon = _started(Path(folder))
        try:
            daemon.await_ready()
            time.sleep(1.0)  # what it imports without being asked
            idle = _status(daemon, "VmRSS")
            with daemon.connect() as client:
                client.enhance(*request_of(large(1.0), 1.0))
                return {
                    **starts,
                    **({"resident before the first job, MB": idle / 1e6} if idle else {}),
                    **_preview(client, rounds),
                    **_edges(client, image, rounds),
                    **_whole(client, image, rounds),
                    **_memory(daemon, client, megapixels, largest),
                }
        finally:
            daemon.terminate()
            daemon.wait()


def _started(folder: Path, *, wanted: bool = False) -> RunningDaemon:
    environment = {**TUNING, "PYTHONDONTWRITEBYTECODE": ""}
    if wanted:
        environment[WANTED_VARIABLE] = "1"
    return RunningDaemon(folder, module="maskupe_daemon", env=environment)


def _starts(folder: Path, rounds: int) -> dict[str, float]:
    """Return medians of starts: until a client is answered, and until it has its first preview.

    The first start compiles Python's sources where they are not yet, and does not count.
    """
    preview, planes = request_of(large(1.0), 0.25)
    times: list[tuple[float, float]] = []
    for _ in range(1 + rounds):
        began = time.perf_counter()
        daemon = _started(folder, wanted=True)
        try:
            daemon.await_ready()
            ready = time.perf_counter()
            with daemon.connect() as client:
                client.enhance(preview, planes)
            times.append((ready - began, time.perf_counter() - began))
        finally:
            daemon.terminate()
            daemon.wait()
    ready, first = (statistics.median(column) * 1e3 for column in zip(*times[1:], strict=True))
    return {"start to ready, ms": ready, "start to first preview (1 MP), ms": first}


def _preview(client: Client, rounds: int) -> dict[str, float]:
    """Return 1 MP while a slider moves: the network's answer is remembered.

    And with a new picture.
    """
    image = large(1.0)
    moved, changed = [], []
    for number in range(3 + 4 * rounds):
        request, planes = request_of(image, 0.25, strength=0.5 + 0.01 * number)
        began = time.perf_counter()
        client.enhance(request, planes)
        moved.append((time.perf_counter() - began) * 1e3)
    for number in range(2 * rounds):
        other = np.roll(image, 40 * (number + 1), axis=1)
        request, planes = request_of(other, 0.25)
        began = time.perf_counter()
        client.enhance(request, planes)
        changed.append((time.perf_counter() - began) * 1e3)
    return {
        "preview of 1 MP, a slider moves, ms": statistics.median(moved[3:]),
        "preview of 1 MP, a new picture, ms": statistics.median(changed),
    }


def _edges(client: Client, image: np.ndarray, rounds: int) -> dict[str, float]:
    """Return what following edges costs: jobs with and without it in turn.

    A new picture needs the matting network; while a slider moves, its answer is remembered. The
    whole job is three quarters of a new picture each time.
    """
    small = large(1.0)
    seconds: dict[tuple[str, str], list[float]] = {}
    for number in range(1 + 2 * rounds):
        pictures = {
            "new": (np.roll(small, 40 * (number + 1), axis=1), 0.25),
            "slider": (small, 0.25),
            "whole": (np.roll(image, 40 * (number + 1), axis=1), 0.75),
        }
        for name, (picture, share) in pictures.items():
            for edges in ("off", "auto"):
                strength = 0.5 + 0.01 * number
                request, planes = request_of(picture, share, strength=strength, edges=edges)
                began = time.perf_counter()
                client.enhance(request, planes)
                if number:  # the first warms up
                    lap = time.perf_counter() - began
                    seconds.setdefault((name, edges), []).append(lap)
    median = {key: statistics.median(values) for key, values in seconds.items()}
    megapixels = f"{image.shape[0] * image.shape[1] / 1e6:.0f} MP"
    return {
        "following edges, preview of a new picture, more, ms": 1e3
        * (median["new", "auto"] - median["new", "off"]),
        "following edges, a slider moves, × without": median["slider", "auto"]
        / median["slider", "off"],
        f"following edges, {megapixels} u8, 75 % selected, × without": median["whole", "auto"]
        / median["whole", "off"],
    }


def _whole(client: Client, image: np.ndarray, rounds: int) -> dict[str, float]:
    """Return jobs over the wire, with copies between them for the unit."""
    copy = copier(image.astype(np.float32), 2)
    copy()
    cases = {"everything": request_of(image, 1.0), "5 %": request_of(image, 0.05)}
    seconds: dict[str, list[float]] = {name: [] for name in ("copy", *cases)}
    for number in range(rounds + 1):
        began = time.perf_counter()
        copy()
        lap = {"copy": time.perf_counter() - began}
        for name, (request, planes) in cases.items():
            began = time.perf_counter()
            client.enhance(request, planes)
            lap[name] = time.perf_counter() - began
        if number:  # the first warms up
            for name, value in lap.items():
                seconds[name].append(value)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    megapixels = f"{image.shape[0] * image.shape[1] / 1e6:.0f} MP u8"
    return {
        f"{megapixels} over the wire, everything, ms": median["everything"] * 1e3,
        f"{megapixels} over the wire, everything, × copy": median["everything"] / median["copy"],
        f"{megapixels} over the wire, 5 % of it, ms": median["5 %"] * 1e3,
        "5 % against everything": median["5 %"] / median["everything"],
    }


def _memory(
    daemon: RunningDaemon, client: Client, megapixels: float, largest: float
) -> dict[str, float]:
    """Return the daemon's peak above its idle size, per byte of the region in and out."""
    found = {}
    for size, depth, share in (
        (megapixels, "u8", 1.0), (megapixels, "u8", 0.25), (megapixels, "f32", 0.25),
        (largest, "u16", 0.25), (largest, "u16", 1.0),
    ):  # fmt: skip
        image = large(size, depth)
        request, planes = request_of(image, share)
        travelled = sum(plane.nbytes for plane in planes) + planes[0].nbytes
        idle = _status(daemon, "VmRSS")
        if not idle or not _reset_peak(daemon):
            return {}
        client.enhance(request, planes)
        peak = _status(daemon, "VmHWM") - idle
        name = f"{size:g} MP {depth}, {share:.0%} selected"
        found[f"memory above idle, {name}, × bytes in and out"] = peak / travelled
        found[f"memory above idle, {name}, MB"] = peak / 1e6
        del image, planes, request
        time.sleep(0.3)  # the daemon gives memory back after its answer
    return found


def _status(daemon: RunningDaemon, field: str) -> int:
    """Return bytes of a line of /proc/PID/status, 0 where there is none (not Linux)."""
    try:
        lines = Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field)), 0)


def _reset_peak(daemon: RunningDaemon) -> bool:
    try:
        Path(f"/proc/{daemon.process.pid}/clear_refs").write_text("5")
    except OSError:
        return False
    return True
