"""Nothing leaves the machine: no name is looked up, and nothing is written about the user."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests import photographs as ph
from tests.offline import ISOLATED

WEIGHTS = Path(__file__).parents[1] / "maskupe/weights"


@functools.cache
def refusal() -> str:
    """Why there can be no network namespace here, or ``""``."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    try:
        done = subprocess.run([*ISOLATED, "true"], capture_output=True, text=True, check=False)
    except OSError as error:
        return f"unshare cannot be run: {error}"
    return done.stderr.strip() or "unshare fails" if done.returncode else ""


@pytest.fixture
def offline(tmp_path):
    """A function that runs a Python command in a network namespace and returns the report."""
    if refusal():
        pytest.skip(refusal())

    def run(*command, seconds=0.0):
        report = tmp_path / "report.json"
        runner = [*ISOLATED, sys.executable, "-m", "tests.offline", report, str(seconds)]
        done = subprocess.run(
            [*map(str, runner), sys.executable, *map(str, command)],
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(report.read_text())

    return run


@pytest.fixture
def pair(tmp_path):
    """A photograph and its mask."""
    Image.fromarray(ph.scene()).save(tmp_path / "in.png")
    Image.fromarray(ph.disc()).save(tmp_path / "mask.png")
    return tmp_path / "in.png", tmp_path / "mask.png"


# A program of somebody else's that uses ONNX Runtime, or ours when maskupe is imported first.
SESSION = (
    "import onnxruntime; "
    f"onnxruntime.InferenceSession({str(WEIGHTS / 'matte.onnx')!r}, "
    "providers=['CPUExecutionProvider'])"
)
LIBRARY = """
import numpy as np
from maskupe import Enhancer
from tests import photographs as ph
Enhancer.load("default", device="cpu").enhance(ph.scene(), ph.disc())
"""
DAEMON = """
import os, sys, tempfile, time
from maskupe_daemon.presence import await_end
from maskupe_client.launcher import ensure_running
from pathlib import Path
from tests import photographs as ph
from tests.daemon.running import request_for
with tempfile.TemporaryDirectory(prefix="mu", dir="/tmp") as state:
    os.environ["MASKUPE_STATE_DIR"] = state
    command = [sys.executable, "-m", "maskupe_daemon", "run", "--device", "cpu"]
    with ensure_running(command) as client:
        header, _ = client.enhance(*request_for(ph.scene(), ph.disc()))
        print(header["network"])
        time.sleep(float(sys.argv[1]))
        client.shutdown()
    assert await_end(Path(state), 30)
"""


def test_the_watch_sees_what_onnx_runtime_does_of_its_own_accord(offline):
    """Otherwise the tests below could not fail."""
    version = subprocess.run(
        [sys.executable, "-c", "import onnxruntime; print(onnxruntime.__version__)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    if tuple(int(part) for part in version.split(".")[:2]) < (1, 29):
        pytest.skip("this ONNX Runtime has no telemetry on Linux")
    report = offline("-c", SESSION)
    assert any("onnxruntime" in name for name in report["files"]), report


def nothing_left(report):
    assert report["status"] == 0, report["output"]
    assert report["questions"] == []
    assert report["files"] == []


def test_the_library_tells_nobody(offline):
    nothing_left(offline("-c", LIBRARY))


def test_the_command_line_tells_nobody(offline, pair, tmp_path):
    photo, mask = pair
    target = tmp_path / "out.png"
    command = ("enhance", photo, "--mask", mask, "-o", target, "--device", "cpu")
    nothing_left(offline("-m", "maskupe.cli", *command))
    assert target.is_file()


def test_the_daemon_tells_nobody(offline):
    report = offline("-c", DAEMON, "0")
    nothing_left(report)
    assert "onnxruntime:cpu" in report["output"]


@pytest.mark.slow
def test_the_daemon_tells_nobody_later_either(offline):
    """Telemetry is uploaded some ten seconds after a job."""
    nothing_left(offline("-c", DAEMON, "15"))


@pytest.mark.parametrize(
    "entry",
    ["maskupe", "maskupe.cli", "maskupe_daemon.cli", "maskupe_gimp.cli", "maskupe_training.cli"],
)
def test_every_entry_point_switches_it_off_before_the_library_is_loaded(entry):
    program = (
        f"import os, sys, {entry}; "
        "assert 'onnxruntime' not in sys.modules; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    environment["ORT_DISABLE_TELEMETRY"] = "0"  # what the user's shell may say
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "1"
