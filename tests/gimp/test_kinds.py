"""Every kind of image, layer and lock: it works, bits of C included, or it is refused in words.

The table of docs/gimp.md has a row for each test here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.gimp import icc
from tests.gimp.photo import babl, dark_photo
from tests.gimp.session import Session

PRECISIONS = [
    f"{depth}_{trc}"
    for depth in ("U8", "U16", "U32", "HALF", "FLOAT", "DOUBLE")
    for trc in ("NON_LINEAR", "LINEAR", "PERCEPTUAL")
]
DTYPES = {"U8": np.uint8, "U16": np.uint16, "U32": np.uint32}
FLOATS = {"HALF": np.float16, "FLOAT": np.float32, "DOUBLE": np.float64}

BEGIN = """
image = new_image(512, 512, precision, gray, profile)
layer = new_layer(image, 512, 512, alpha)
write(layer, path, babl)
target = layer
select_ellipse(image, 150, 120, 200, 240)
"""
END = """
read(target, None, "before.raw")
active = [d.get_id() for d in image.get_selected_drawables()]
chosen = selection_bytes(image)
called = enhance(image, [target], strength=strength)
read(target, None, "after.raw")
kept = [active == [d.get_id() for d in image.get_selected_drawables()],
        chosen == selection_bytes(image)]
result = [called, kept, target.get_width(), target.get_height()]
image.delete()
"""


def call(
    gimp: Session,
    *,
    precision: str = "U8_NON_LINEAR",
    profile: str | None = None,
    gray: bool = False,
    alpha: bool = False,
    strength: float = 1.0,
    between: str = "",
    native: Any = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Calls the procedure; the pixels before and after, in GIMP's own numbers."""
    photo = dark_photo(np.float32, gray=gray, alpha=alpha)
    called, kept, width, height = gimp.run(
        BEGIN + between + END,
        path=gimp.put(photo),
        babl=babl(photo),
        precision=precision,
        profile=profile,
        gray=gray,
        alpha=alpha,
        strength=strength,
    )
    assert called == [True, ""]
    assert kept == [True, True]
    depth = precision.split("_")[0]
    dtype = native or {**DTYPES, **FLOATS}[depth]
    before, after = (
        gimp.get((height, width, -1), dtype, f"{name}.raw") for name in ("before", "after")
    )
    return before, after


def assert_lit_up(before: np.ndarray, after: np.ndarray) -> None:
    """The middle of the ellipse is lighter, the corners have their bits."""
    # Alpha is no light.
    middle = np.s_[220:260, 230:270, : 3 if before.shape[2] >= 3 else 1]
    assert after[middle].astype(float).mean() > 1.3 * before[middle].astype(float).mean()
    for corner in (np.s_[:80], np.s_[400:], np.s_[:, :110], np.s_[:, 390:]):
        assert before[corner].tobytes() == after[corner].tobytes()
    outside = np.hypot((np.mgrid[:512, :512][1] - 250) / 132, (np.mgrid[:512, :512][0] - 240) / 152)
    assert before[outside > 1].tobytes() == after[outside > 1].tobytes()


def assert_same(before: np.ndarray, after: np.ndarray) -> None:
    """No pixel has moved by more than a rounding of float32 and no colour was clipped."""
    largest = np.iinfo(before.dtype).max if before.dtype.kind == "u" else 1.0
    step = {1: 0.0, 2: 0.0 if before.dtype.kind == "u" else 1e-3}.get(before.dtype.itemsize)
    allowed = step if step is not None else 2e-6 * largest
    moved = np.abs(after.astype(np.float64) - before.astype(np.float64))
    assert moved.max() <= allowed


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision(gimp: Session, precision: str) -> None:
    assert_lit_up(*call(gimp, precision=precision, alpha=True))


@pytest.fixture(params=["adobe", *icc.SPACES])
def profile(request: pytest.FixtureRequest, gimp: Session) -> str:
    """A wide colour space: what ``new_image`` takes for it."""
    if request.param == "adobe":
        return "adobe"
    path: Path = gimp.work / f"{request.param}.icc"
    path.write_bytes(icc.profile(request.param))
    return str(path)


@pytest.mark.parametrize("precision", ["U8_NON_LINEAR", "U16_NON_LINEAR", "FLOAT_LINEAR"])
def test_wide_gamut_profiles(gimp: Session, profile: str, precision: str) -> None:
    assert_lit_up(*call(gimp, precision=precision, profile=profile))


@pytest.mark.parametrize("precision", ["U8_NON_LINEAR", "U16_NON_LINEAR", "FLOAT_LINEAR"])
def test_wide_colours_are_neither_clipped_nor_shifted(
    gimp: Session, profile: str, precision: str
) -> None:
    # The numbers of the photo as they are, in the wide space: many lie outside of sRGB then.
    stretch = """
image.set_color_profile(None)
image.get_layers()[0].hue_saturation(Gimp.HueRange.ALL, 0, 0, 100, 0)
image.set_color_profile(Gimp.ColorProfile.new_rgb_adobe() if profile == "adobe" else
    Gimp.ColorProfile.new_from_icc_profile(Path(profile).read_bytes()))
"""
    before, after = call(gimp, precision=precision, profile=profile, strength=0.0, between=stretch)
    assert_same(before, after)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_strength_zero_changes_nothing(gimp: Session, precision: str) -> None:
    assert_same(*call(gimp, precision=precision, strength=0.0))


@pytest.mark.parametrize("precision", ["U8_NON_LINEAR", "FLOAT_LINEAR"])
def test_a_layer_mask_that_is_being_edited(gimp: Session, precision: str) -> None:
    add = """
mask = layer.create_mask(Gimp.AddMaskType.COPY)
layer.add_mask(mask)
layer.set_edit_mask(True)
image.set_selected_layers([layer])
target = image.get_selected_drawables()[0]
assert isinstance(target, Gimp.LayerMask), target
"""
    assert_lit_up(*call(gimp, precision=precision, between=add))


def test_a_channel(gimp: Session) -> None:
    add = """
target = Gimp.Channel.new_from_component(image, Gimp.ChannelType.RED, "red")
image.insert_channel(target, None, 0)
image.set_selected_channels([target])
"""
    assert_lit_up(*call(gimp, between=add))


def test_a_layer_in_a_group(gimp: Session) -> None:
    group = """
group = Gimp.GroupLayer.new(image, "group")
image.insert_layer(group, None, 0)
image.reorder_item(layer, group, 0)
"""
    assert_lit_up(*call(gimp, between=group))


def test_a_layer_with_a_mask(gimp: Session) -> None:
    mask = "layer.add_mask(layer.create_mask(Gimp.AddMaskType.BLACK)); layer.set_edit_mask(False)"
    assert_lit_up(*call(gimp, between=mask))


@pytest.mark.parametrize("precision", ["U8_NON_LINEAR", "FLOAT_LINEAR"])
def test_locked_alpha(gimp: Session, precision: str) -> None:
    lock = "layer.set_lock_alpha(True)"
    before, after = call(gimp, precision=precision, alpha=True, between=lock)
    assert_lit_up(before, after)
    assert np.array_equal(before[..., 3], after[..., 3])


@pytest.mark.parametrize("precision", ["U8_NON_LINEAR", "FLOAT_LINEAR"])
def test_a_colour_that_is_switched_off_stays(gimp: Session, precision: str) -> None:
    off = "image.set_component_active(Gimp.ChannelType.RED, False)"
    before, after = call(gimp, precision=precision, between=off)
    assert np.abs(before[..., 0].astype(float) - after[..., 0]).max() <= 1e-6
    middle = np.s_[220:260, 230:270, 1:]
    assert after[middle].astype(float).mean() > 1.3 * before[middle].astype(float).mean()


def test_a_layer_wholly_outside_of_the_canvas(gimp: Session) -> None:
    away = "Gimp.Selection.none(image); layer.set_offsets(2000, 0)"
    before, after = call(gimp, between=away)
    assert after.mean() > 1.3 * before.mean()


@pytest.mark.parametrize("name", ["VectorLayer", "LinkLayer"])
def test_layers_made_from_something_else(gimp: Session, name: str) -> None:
    if not gimp.run(f"result = hasattr(Gimp, {name!r})"):
        pytest.skip(f"this GIMP has no {name}")
    make = {
        "VectorLayer": """
path = Gimp.Path.new(image, "p")
image.insert_path(path, None, 0)
path.bezier_stroke_new_ellipse(30, 24, 20, 15, 0.0)
special = Gimp.VectorLayer.new(image, path)
""",
        "LinkLayer": """
from gi.repository import Gio
Gimp.file_save(Gimp.RunMode.NONINTERACTIVE, image, Gio.File.new_for_path(str(WORK / "l.png")), None)
special = Gimp.LinkLayer.new(image, Gio.File.new_for_path(str(WORK / "l.png")))
""",
    }[name]
    succeeded, message = gimp.run(
        "image = new_image(64, 48); layer = new_layer(image, 64, 48)\n"
        + make
        + "image.insert_layer(special, None, 0)\nresult = enhance(image, [special]); image.delete()"
    )
    assert not succeeded
    assert "Rasterize" in message
