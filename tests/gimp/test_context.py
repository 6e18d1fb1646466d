"""What the network sees of the whole layer: averages of the encoded numbers, at every depth."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskupe import Enhancer
from maskupe.preprocess.context import downscale
from maskupe_gimp import NAME, bundle
from tests.gimp.finding import Gimp
from tests.gimp.photo import babl, tiled_photo
from tests.gimp.session import Session, prepare

READ = """
import sys
for folder in ("", "/vendored"):
    sys.path.insert(0, str(WORK / "profile" / "plug-ins" / name) + folder)
from maskupe_plugin.context import CONTEXT_EDGE, scale_tiles
from maskupe_plugin.encoding import encoding_of
from maskupe_plugin.thumbnail import read_thumbnail
image = new_image(width, height, precision, gray, profile)
layer = new_layer(image, width, height, alpha, offset)
write(layer, path, babl)
if inverted:
    layer.append_filter(Gimp.DrawableFilter.new(layer, "gegl:invert-gamma", ""))
if thumbnail:
    found = read_thumbnail(layer, encoding_of(layer), CONTEXT_EDGE)
else:
    found = scale_tiles(layer.get_buffer(), encoding_of(layer))
if found:
    (WORK / "context.raw").write_bytes(found[1])
    result = [found[0].shape, found[0].dtype]
image.delete()
"""


def read(
    gimp: Session, photo: np.ndarray, precision: str = "U8_NON_LINEAR", **settings: Any
) -> np.ndarray | None:
    """A layer's context, 0…1, or None."""
    height, width, channels = photo.shape
    values = {"gray": channels < 3, "alpha": channels in (2, 4), "profile": None}
    values |= {"inverted": False, "thumbnail": False, "offset": (0, 0)} | settings
    found = gimp.run(
        READ,
        path=gimp.put(photo),
        babl=babl(photo),
        width=width,
        height=height,
        precision=precision,
        name=NAME,
        **values,
    )
    if found is None:
        return None
    dtype = {"u8": np.uint8, "u16": np.uint16}[found[1]]
    return gimp.get(tuple(found[0]), dtype, "context.raw") / np.iinfo(dtype).max


@pytest.mark.parametrize(
    ("dtype", "precision"),
    [(np.uint8, "U8_NON_LINEAR"), (np.uint16, "U16_NON_LINEAR"), (np.float32, "FLOAT_LINEAR")],
)
@pytest.mark.parametrize("gray", [False, True], ids=["rgb", "gray"])
def test_averages(gimp: Session, dtype: Any, precision: str, gray: bool) -> None:
    # Larger than a strip, and neither side a multiple of anything.
    photo = tiled_photo(2601, 4799, dtype, gray=gray)
    context = read(gimp, photo, precision)
    assert context is not None and context.shape == (325, 599, 1 if gray else 3)
    expected = downscale(photo[: 325 * 8, : 599 * 8], 599)
    assert np.abs(context - expected).max() < 2e-3
    assert abs((context - expected).mean()) < 1e-4


def test_a_layer_of_floats_looks_the_same_every_time(gimp: Session) -> None:
    """Each run is a process of its own, in which babl times its ways to convert and takes one."""
    code = """
image = new_image(512, 512, "FLOAT_LINEAR", True)
select_ellipse(image, 150, 120, 200, 240)
results = set()
for _again in range(12):
    layer = new_layer(image, 512, 512)
    write(layer, path, babl)
    assert enhance(image, [layer])[0]
    read(layer, babl)
    results.add((WORK / "out.raw").read_bytes())
    image.remove_layer(layer)
image.delete()
result = len(results)
"""
    photo = tiled_photo(512, 512, np.float32, gray=True)
    assert gimp.run(code, path=gimp.put(photo), babl=babl(photo)) == 1


def test_a_layer_thinner_than_a_step(gimp: Session) -> None:
    context = read(gimp, np.full((3, 8000, 3), 40, np.uint8))
    assert context is not None and context.shape == (1, 1000, 3)
    assert np.abs(context * 255 - 40).max() < 0.1


# No multiple of its thumbnail's size.
LARGE = (1700, 2560)


def assert_shows(context: np.ndarray | None, photo: np.ndarray) -> None:
    """What the network makes of it: averages in linear light are a little brighter at edges."""
    assert context is not None and context.shape == (680, 1024, 3)
    difference = downscale(context.astype(np.float32), 256) - downscale(photo, 256)
    assert np.abs(difference).mean() < 3e-3
    assert abs(difference.mean()) < 2e-3


@pytest.mark.parametrize("alpha", [False, True], ids=["rgb", "rgba"])
def test_a_thumbnail_shows_the_layer(gimp: Session, alpha: bool) -> None:
    photo = tiled_photo(*LARGE, alpha=alpha)
    assert_shows(read(gimp, photo, thumbnail=True), photo)


def test_a_thumbnail_shows_what_lies_outside_of_the_canvas(gimp: Session) -> None:
    photo = tiled_photo(*LARGE)
    assert_shows(read(gimp, photo, thumbnail=True, offset=(-900, 500)), photo)


@pytest.mark.parametrize(
    ("dtype", "precision", "profile"),
    [
        (np.uint16, "U16_NON_LINEAR", None),
        (np.float32, "FLOAT_LINEAR", None),
        (np.uint8, "U8_NON_LINEAR", "adobe"),
    ],
)
def test_a_thumbnail_of_other_kinds_is_in_srgb_or_not_taken(
    gimp: Session, dtype: Any, precision: str, profile: str | None
) -> None:
    photo = tiled_photo(*LARGE, dtype)
    context = read(gimp, photo, precision, profile=profile, thumbnail=True)
    if gimp.gimp.version == "3.0":
        assert context is None
    else:
        assert_shows(context, photo)


def test_a_thumbnail_that_shows_something_else_is_not_taken(gimp: Session) -> None:
    assert read(gimp, tiled_photo(*LARGE, gray=True), thumbnail=True) is None
    assert read(gimp, tiled_photo(*LARGE), thumbnail=True, inverted=True) is None


LIGHT_UP = """
image = new_image(width, height)
layer = new_layer(image, width, height)
write(layer, path, babl)
select_ellipse(image, *ellipse)
(WORK / "selection.raw").write_bytes(selection_bytes(image))
result = enhance(image, [layer])
read(layer, babl)
image.delete()
"""


def test_the_result_is_nearly_that_of_the_exact_context(gimp: Session) -> None:
    photo = tiled_photo(*LARGE)
    height, width = LARGE
    values = {"width": width, "height": height, "ellipse": (1400, 300, 500, 700)}
    assert gimp.run(LIGHT_UP, path=gimp.put(photo), babl=babl(photo), **values) == [True, ""]
    selection = gimp.get(LARGE, np.uint8, "selection.raw")
    expected = Enhancer.load("default").enhance(photo, selection).astype(int)
    assert (expected != photo).any()
    difference = np.abs(gimp.get(photo.shape, np.uint8) - expected)
    assert difference.max() <= 2
    assert difference[selection == 255].mean() < 0.5


def test_no_thumbnail_while_previews_of_layers_are_off(installed_gimp: Gimp) -> None:
    with tempfile.TemporaryDirectory(prefix="maskupe-") as folder:
        work = Path(folder)
        bundle.copy_to(prepare(work))
        (work / "profile" / "gimprc").write_text("(layer-previews no)\n", "utf-8")
        session = Session(installed_gimp, work)
        try:
            assert read(session, tiled_photo(*LARGE), thumbnail=True) is None
            assert read(session, tiled_photo(*LARGE)) is not None
        finally:
            session.close()
