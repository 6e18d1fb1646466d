"""Memory: what a job takes above what the process took before, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from maskupe.areas.region import estimate_bytes
from maskupe.native import load
from tests.untrained import write_weights

_PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from maskupe import Enhancer, Transition
from maskupe.areas.region import estimate_bytes
from maskupe.maps import Window

weights, dtype, channels, side, height, width = sys.argv[1:]
height, width = int(height), int(width)
shape = (height, width, int(channels))
enhancer = Enhancer.load(weights, device="cpu", threads=2)

def job(image, selection):
    window = Window(0, 0, image.shape[1], image.shape[0])
    return enhancer.enhance_region(
        image, selection, None, window=window, transition=Transition(side=side)
    )

def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

y, x = np.ogrid[:height, :width]
selection = ((y - height / 2) ** 2 + (x - width / 2) ** 2 < (height / 3) ** 2)
selection = selection.astype(np.uint8) * np.uint8(255)
job(np.full((300, 400, 3), 40, np.uint8), selection[::10, ::10][:300, :400].copy())  # warm
image = np.full(shape, 9, dtype)
before = status("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
result = job(image, selection).image
peak = status("VmHWM") - before
print(peak, image.nbytes + selection.nbytes + result.nbytes, image.nbytes + selection.nbytes)
"""

# Where there is no PyTorch to make an untrained network with, ONNX Runtime runs a shipped one, and
# keeps working memory of its own that does not depend on the picture.
_ENGINE = 0 if find_spec("torch") else 40_000_000

# Following edges takes no more than this whatever the picture's size: planes of 256×256 cells, of
# which eleven are remembered. Between following them and not, 14 MB were measured at 12 megapixels
# and 12 MB at 48.
_MATTE = 20_000_000

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the peak can be reset on Linux only"
)


@pytest.mark.slow
@pytest.mark.skipif(load() is None, reason="the bound is that of the compiled code")
@pytest.mark.parametrize(
    ("dtype", "channels", "side"),
    [("uint8", 3, "outside"), ("uint16", 4, "centred"), ("float32", 3, "inside")],
)
def test_a_job_takes_little_more_than_the_region_itself(tmp_path, dtype, channels, side):
    """At most 1.6 times the bytes that come in and go out, counted too, and a matte's planes.

    A tenth is what denoising a picture that is dark all over keeps: planes of a sixteenth of its
    size, and a strip of tiles for each thread.
    """
    weights = write_weights(tmp_path)
    shape = (3000, 4000)
    arguments = [str(weights), dtype, str(channels), side, *map(str, shape)]
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *arguments], capture_output=True, text=True, check=True
    )
    peak, travelled, had = map(int, done.stdout.split())
    assert peak + had <= 1.6 * travelled + _MATTE + _ENGINE
    # What the daemon refuses by is no less than what is needed.
    assert peak <= estimate_bytes((*shape, channels), np.dtype(dtype))


def test_a_hundred_megapixels_of_sixteen_bits_fit_into_four_gigabytes():
    for channels in (3, 4):
        assert estimate_bytes((8165, 12247, channels), np.uint16) < 4e9


def test_the_estimate_grows_with_what_is_asked_for():
    shape = (1000, 1000, 3)
    least = estimate_bytes(shape, np.uint8)
    for outputs in (("image", "weight"), ("image", "areas"), ("image", "illumination")):
        assert estimate_bytes(shape, np.uint8, outputs) > least
    assert estimate_bytes(shape, np.float32) > estimate_bytes(shape, np.uint16) > least
