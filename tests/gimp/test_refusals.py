"""What cannot be worked on is refused in a sentence that says what to do."""

from __future__ import annotations

import pytest

from tests.gimp.session import Session

NEW = "image = new_image(64, 48); layer = new_layer(image, 64, 48)\n"
CASES = {
    "group": (
        "group = Gimp.GroupLayer.new(image, 'things'); image.insert_layer(group, None, 0)\n"
        "target = [group]",
        "layer group",
        "inside the group",
    ),
    "locked": ("layer.set_lock_content(True); target = [layer]", "locked", "Unlock"),
    "locked-by-its-group": (
        "group = Gimp.GroupLayer.new(image, 'things'); image.insert_layer(group, None, 0)\n"
        "image.reorder_item(layer, group, 0); group.set_lock_content(True); target = [layer]",
        "locked",
        "Unlock",
    ),
    "indexed": (
        "image.convert_indexed(Gimp.ConvertDitherType.NONE, Gimp.ConvertPaletteType.GENERATE,"
        " 8, False, False, ''); target = [layer]",
        "Indexed",
        "Image > Mode > RGB",
    ),
    "two-layers": (
        "target = [layer, new_layer(image, 64, 48)]",
        "2 are selected",
        "single layer",
    ),
    "selection-misses-the-layer": (
        "layer.set_offsets(40, 0)\n"
        "image.select_rectangle(Gimp.ChannelOps.REPLACE, 0, 0, 20, 20); target = [layer]",
        "does not touch",
        "Select a part",
    ),
    "text": (
        "target = [Gimp.TextLayer.new(image, 'Words', Gimp.context_get_font(), 12,"
        " Gimp.Unit.pixel())]; image.insert_layer(target[0], None, 0)",
        "text layer",
        "Rasterize",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_refused_in_words(name: str, gimp: Session) -> None:
    code, cause, remedy = CASES[name]
    succeeded, message = gimp.run(NEW + code + "\nresult = enhance(image, target); image.delete()")
    assert not succeeded
    assert cause in message
    assert remedy in message


@pytest.mark.parametrize("edges", ["far", "-1", "1e9", "nan"])
def test_a_reach_for_edges_that_cannot_be_is_named(edges: str, gimp: Session) -> None:
    code = NEW + "result = enhance(image, [layer], edges=edges); image.delete()"
    succeeded, message = gimp.run(code, edges=edges)
    assert not succeeded
    assert f"cannot be “{edges}”" in message
    assert "“auto”, “off” or a number of pixels from 0 to 5000" in message


def test_an_unknown_model_is_named(gimp: Session) -> None:
    code = NEW + "result = enhance(image, [layer], model='no-such-model'); image.delete()"
    succeeded, message = gimp.run(code)
    assert not succeeded
    assert "no-such-model" in message


@pytest.mark.parametrize("name", ["locked", "text"])
def test_a_new_layer_can_be_made_from_what_must_not_change(name: str, gimp: Session) -> None:
    code = CASES[name][0]
    called, layers = gimp.run(
        NEW
        + code
        + "\nbefore = len(image.get_layers())"
        + "\nresult = [enhance(image, target, output='new-layer')]"
        + "\nresult.append(len(image.get_layers()) - before); image.delete()"
    )
    assert called == [True, ""]
    assert layers == 1
