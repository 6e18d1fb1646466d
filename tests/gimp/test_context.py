"""What the network sees of the whole layer: averages of the encoded numbers, at every depth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from maskupe.context import shrink
from maskupe_gimp import bundle
from tests.gimp.photo import babl, dark_photo
from tests.gimp.session import Session

READ = """
import sys
for folder in ("", "/vendored"):
    sys.path.insert(0, str(WORK / "profile" / "plug-ins" / name) + folder)
from maskupe_plugin.context import read_context
from maskupe_plugin.encoding import encoding_of
image = new_image(width, height, precision, gray)
layer = new_layer(image, width, height)
write(layer, path, babl)
shape, data = read_context(layer.get_buffer(), encoding_of(layer), 512)
(WORK / "context.raw").write_bytes(data)
image.delete()
result = shape
"""


@pytest.mark.parametrize(
    ("dtype", "precision"),
    [(np.uint8, "U8_NON_LINEAR"), (np.uint16, "U16_NON_LINEAR"), (np.float32, "FLOAT_LINEAR")],
)
@pytest.mark.parametrize("gray", [False, True], ids=["rgb", "gray"])
def test_averages(gimp: Session, dtype: Any, precision: str, gray: bool) -> None:
    # Larger than a strip, and neither side a multiple of anything.
    photo = np.ascontiguousarray(np.tile(dark_photo(dtype, gray=gray), (3, 5, 1))[:1301, :2399])
    shape = gimp.run(
        READ,
        path=gimp.put(photo),
        babl=babl(photo),
        width=2399,
        height=1301,
        precision=precision,
        gray=gray,
        name=bundle.NAME,
    )
    assert shape == [162, 299, 1 if gray else 3]
    context = gimp.get(tuple(shape), np.uint16, "context.raw") / 65535
    expected = shrink(photo[: 162 * 8, : 299 * 8], 299)
    assert np.abs(context - expected).max() < 2e-3
    assert abs((context - expected).mean()) < 1e-4


def test_a_layer_thinner_than_a_step(gimp: Session) -> None:
    photo = np.full((3, 8000, 3), 40, np.uint8)
    values = {"width": 8000, "height": 3, "precision": "U8_NON_LINEAR", "gray": False}
    shape = gimp.run(READ, path=gimp.put(photo), babl=babl(photo), name=bundle.NAME, **values)
    assert shape == [1, 500, 3]
    context = gimp.get(tuple(shape), np.uint16, "context.raw")
    assert np.abs(context / 257 - 40).max() < 0.1
