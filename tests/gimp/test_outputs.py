"""Results as new layers: what GIMP composites from them is the result written into the layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.gimp.photo import babl, dark_photo
from tests.gimp.session import Session

# The layer itself first, for comparison; then the same on a fresh image with another output.
CODE = """
def opened():
    image = new_image(512, 512, precision, gray)
    group = Gimp.GroupLayer.new(image, "group")
    image.insert_layer(group, None, 0)
    layer = new_layer(image, 512, 512, parent=group)
    write(layer, path, babl)
    select_ellipse(image, 150, 120, 200, 240)
    return image, layer

image, layer = opened()
direct = enhance(image, [layer], strength=strength)
read(layer, babl, "direct.raw")
image.delete()
image, layer = opened()
called = enhance(image, [layer], strength=strength, output=output)
read(layer, babl, "source.raw")
top = layer.get_parent().get_children()[0]
flat = image.duplicate()
Gimp.Selection.none(flat)
read(flat.merge_visible_layers(Gimp.MergeType.CLIP_TO_IMAGE), babl, "merged.raw")
mask = top.get_mask()
if mask:
    read(mask, "Y u8", "mask.raw")
result = {
    "called": [direct, called],
    "name": top.get_name(),
    "siblings": len(layer.get_parent().get_children()),
    "place": [top.get_width(), top.get_height(), *top.get_offsets()[1:]],
    "mode": top.get_mode() == Gimp.LayerMode.DIVIDE,
    "masked": mask is not None,
}
flat.delete(); image.delete()
"""


def run(gimp: Session, output: str, dtype: Any, gray: bool = False) -> tuple[dict[str, Any], Any]:
    photo = dark_photo(dtype, gray=gray)
    precision = {"uint8": "U8_NON_LINEAR", "float32": "FLOAT_LINEAR"}[photo.dtype.name]
    told = gimp.run(
        CODE,
        path=gimp.put(photo),
        babl=babl(photo),
        precision=precision,
        gray=gray,
        output=output,
        strength=0.8,
    )
    assert told["called"] == [[True, ""], [True, ""]]
    planes = {
        name: gimp.get(photo.shape, photo.dtype, f"{name}.raw")
        for name in ("source", "direct", "merged")
    }
    assert np.abs(planes["source"].astype(float) - photo).max() <= 1e-6  # the layer is unchanged
    return told, planes


@pytest.mark.parametrize("gray", [False, True], ids=["rgb", "gray"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("output", ["new-layer", "new-layer-with-mask"])
def test_a_new_layer_shows_the_result(gimp: Session, output: str, dtype: Any, gray: bool) -> None:
    told, planes = run(gimp, output, dtype, gray)
    assert told["name"] == "photo, lit up"
    assert told["siblings"] == 2
    width, height, x, y = told["place"]
    assert 200 < width < 300 and 240 < height < 350 and 100 < x < 150 and 70 < y < 120
    error = np.abs(planes["merged"].astype(float) - planes["direct"].astype(float))
    assert error.max() <= (0 if dtype == np.uint8 else 1e-5)
    assert told["masked"] == (output == "new-layer-with-mask")
    if told["masked"]:
        mask = gimp.get((height, width), np.uint8, "mask.raw")
        changed = (planes["direct"] != planes["source"]).any(axis=2)[y : y + height, x : x + width]
        assert set(np.unique(mask)) == {0, 255}
        assert not (changed & (mask == 0)).any()


@pytest.mark.parametrize("gray", [False, True], ids=["rgb", "gray"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_an_illumination_layer_gives_the_result(gimp: Session, dtype: Any, gray: bool) -> None:
    told, planes = run(gimp, "illumination-layer", dtype, gray)
    assert told["mode"]
    assert told["siblings"] == 2
    error = np.abs(planes["merged"].astype(float) - planes["direct"].astype(float))
    print(dtype, gray, error.max(), (error > 1).mean())
    assert error.max() <= (1 if dtype == np.uint8 else 1 / 255)
