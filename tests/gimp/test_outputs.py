"""Results as new layers: what GIMP composites from them is the result written into the layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.gimp.photo import babl, dark_photo
from tests.gimp.session import Session

#: What GIMP's compositing may move a float by: it encodes the layer below and decodes the mix, and
#: for either babl takes the quickest way that errs by no more than its tolerance (BABL_TOLERANCE,
#: 4.7e-6 where it is not set). The daemon's answer is the same to the last bit in both runs, since
#: what it is sent is (test_context.py): one step of 16 bits in the network's view moves it by 1e-5.
CONVERSIONS = 2 * 4.7e-6

# The layer itself first, for comparison; then the same on a fresh image with another output.
CODE = """
from gi.repository import Babl

def opened():
    global own
    image = new_image(512, 512, precision, gray, profile)
    group = Gimp.GroupLayer.new(image, "group")
    image.insert_layer(group, None, 0)
    layer = new_layer(image, 512, 512, alpha, parent=group)
    # In the image's own space: a bare name would convert to sRGB.
    own = Babl.get_name(Babl.format_with_space(babl, layer.get_format()))
    write(layer, path, own)
    select_ellipse(image, 150, 120, 200, 240)
    return image, layer

image, layer = opened()
direct = enhance(image, [layer], strength=strength, edges=edges, saturation=saturation)
read(layer, own, "direct.raw")
image.delete()
image, layer = opened()
called = enhance(image, [layer], strength=strength, output=output, edges=edges,
                 saturation=saturation)
active = [item.get_name() for item in image.get_selected_layers()]
read(layer, own, "source.raw")
top = layer.get_parent().get_children()[0]
inside = top.get_children() if top.is_group() else []
flat = image.duplicate()
Gimp.Selection.none(flat)
read(Gimp.Layer.new_from_visible(flat, flat, ""), own, "visible.raw")
read(flat.merge_visible_layers(Gimp.MergeType.CLIP_TO_IMAGE), own, "merged.raw")
mask = top.get_mask()
if mask:
    read(mask, "Y float", "mask.raw")
    # Painting the mask white brings out the full effect everywhere.
    mask.fill(Gimp.FillType.WHITE)
    Gimp.Selection.none(image)
    read(Gimp.Layer.new_from_visible(image, image, ""), own, "painted.raw")
result = {
    "called": [direct, called],
    "name": top.get_name(),
    "siblings": len(layer.get_parent().get_children()),
    "place": [top.get_width(), top.get_height(), *top.get_offsets()[1:]],
    "divides": (inside or [top])[-1].get_mode() == Gimp.LayerMode.DIVIDE,
    "inside": [item.get_name() for item in inside],
    "active": active,
    "masked": mask is not None,
    "edits the mask": mask is not None and top.get_edit_mask(),
}
flat.delete(); image.delete()
"""


def run(
    gimp: Session,
    output: str,
    dtype: Any,
    gray: bool = False,
    *,
    strength: float = 0.8,
    alpha: bool = False,
    profile: str | None = None,
    edges: str = "auto",
    saturation: float = 0.0,
    patch: tuple[int, int, int] | None = None,
) -> tuple[dict[str, Any], Any]:
    photo = dark_photo(dtype, gray=gray, alpha=alpha)
    if patch is not None:  # of one colour, inside of the selection
        photo[200:280, 200:300] = np.asarray(patch) / (1 if dtype == np.uint8 else 255)
    precision = {"uint8": "U8_NON_LINEAR", "float32": "FLOAT_LINEAR"}[photo.dtype.name]
    told = gimp.run(
        CODE,
        path=gimp.put(photo),
        babl=babl(photo),
        precision=precision,
        gray=gray,
        alpha=alpha,
        profile=profile,
        output=output,
        strength=strength,
        edges=edges,
        saturation=saturation,
    )
    assert told["called"] == [[True, ""], [True, ""]]
    names = ["source", "direct", "merged", "visible", *(["painted"] if told["masked"] else [])]
    planes = {name: gimp.get(photo.shape, photo.dtype, f"{name}.raw") for name in names}
    assert np.abs(planes["source"].astype(float) - photo).max() <= 1e-6  # it is unchanged
    return told, planes


def off_by(planes: dict[str, Any], alpha: bool = False) -> float:
    """By how much what is seen and what merging gives differ from the layer changed in place."""
    seen = planes["direct"][..., 3] > 0 if alpha else np.s_[:]
    direct = planes["direct"].astype(float)
    return max(float(np.abs(planes[n] - direct)[seen].max()) for n in ("merged", "visible"))


@pytest.mark.parametrize("gray", [False, True], ids=["rgb", "gray"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_new_layer_shows_the_result(gimp: Session, dtype: Any, gray: bool) -> None:
    told, planes = run(gimp, "new-layer", dtype, gray)
    assert told["name"] == "photo, lit up"
    assert told["siblings"] == 2
    width, height, x, y = told["place"]
    assert 200 < width < 300 and 240 < height < 350 and 100 < x < 150 and 70 < y < 120
    assert off_by(planes) <= (0 if dtype == np.uint8 else CONVERSIONS)
    assert not told["masked"]


@pytest.mark.parametrize("edges", ["auto", "off"])
@pytest.mark.parametrize("gray", [False, True], ids=["rgb", "gray"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_layer_mask_holds_the_transition(
    gimp: Session, dtype: Any, gray: bool, edges: str
) -> None:
    told, planes = run(gimp, "new-layer-with-mask", dtype, gray, edges=edges)
    assert told["name"] == "photo, lit up"
    assert not told["edits the mask"]  # the next filter is for the layer
    step = 1 if dtype == np.uint8 else CONVERSIONS
    assert off_by(planes) <= step
    width, height, x, y = told["place"]
    mask = gimp.get((height, width), np.float32, "mask.raw")
    assert len(np.unique(np.rint(255 * mask))) > 100  # it fades
    assert not mask[:2, :2].any()
    # Where it is painted white, outside of the selection too, the full light comes out.
    corner = np.s_[y : y + 20, x : x + 20]
    dark, lit = (planes[name][corner].astype(float).mean() for name in ("source", "painted"))
    assert lit > 1.3 * dark
    # Painting where it is white already changes nothing.
    full = np.zeros((512, 512), bool)
    full[y : y + height, x : x + width] = mask == 1
    assert full.sum() > 1000
    if edges == "off":
        assert full[220:260, 230:270].all()
    off = np.abs(planes["painted"][full].astype(float) - planes["direct"][full])
    assert off.max() <= step


@pytest.mark.parametrize("strength", [0.8, 2.0])
@pytest.mark.parametrize("kind", ["rgb", "gray", "rgba", "adobe"])
def test_an_illumination_layer_gives_the_result_at_8_bits(
    gimp: Session, kind: str, strength: float
) -> None:
    options = {"gray": kind == "gray", "alpha": kind == "rgba"}
    profile = "adobe" if kind == "adobe" else None
    told, planes = run(
        gimp, "illumination-layer", np.uint8, strength=strength, profile=profile, **options
    )
    assert told["siblings"] == 2
    assert told["name"] == "Light of photo"
    *rest, light = told["inside"]
    assert light == "Light"
    # At full strength one such layer cannot lift what is black as far as the result is.
    assert len(rest) == 1 if strength == 0.8 else 1 <= len(rest) <= 3
    assert all(name.startswith("What division leaves over") for name in rest)
    assert told["active"] == ["Light"]
    assert told["divides"]
    assert off_by(planes, kind == "rgba") <= 1


@pytest.mark.parametrize("gray", [False, True], ids=["rgb", "gray"])
def test_an_illumination_layer_gives_the_result_at_32_bits(gimp: Session, gray: bool) -> None:
    told, planes = run(gimp, "illumination-layer", np.float32, gray, strength=2.0)
    assert told["divides"]
    assert off_by(planes) <= 1e-4


@pytest.mark.parametrize("saturation", [-1.0, 1.0])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("output", ["new-layer-with-mask", "illumination-layer"])
def test_with_saturation_too_the_layers_give_the_result(
    gimp: Session, output: str, dtype: Any, saturation: float
) -> None:
    """Also where a channel becomes darker, which division by light cannot express."""
    orange = {"strength": 0.4, "patch": (90, 30, 10), "edges": "off"}
    _told, planes = run(gimp, output, dtype, saturation=saturation, **orange)
    source, direct = (planes[name].astype(float) for name in ("source", "direct"))
    step = 1 if dtype == np.uint8 else 1 / 255
    darker = (direct < source - 4 * step).any(axis=-1)
    assert darker.sum() > 100
    assert off_by(planes) <= (1 if dtype == np.uint8 else 1e-4)
