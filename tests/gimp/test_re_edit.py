"""Layers that the filter has made: its dialog opens with their settings and replaces them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tests.gimp.finding import Gimp
from tests.gimp.gui import ELLIPSE, Gui

#: What the filter makes of the layer without its dialog, to compare with, on an image of its own.
EXPECTED = """
twin = image.duplicate()
for item in twin.get_layers():
    if item.get_name() != "photo":
        twin.remove_layer(item)
select_ellipse(twin, *ellipse)
settled = enhance(twin, [twin.get_layers()[-1]], strength=strength, output=output)
Gimp.Selection.none(twin)
wanted = twin.get_layers()[0]
read(Gimp.Layer.new_from_visible(twin, twin, ""), "R'G'B' u8", "wanted.raw")
twin.delete()
result = settled
"""
NOTE = "maskupe-local-underexposure"
STATE = """
flat = image.duplicate()
Gimp.Selection.none(flat)
read(Gimp.Layer.new_from_visible(flat, flat, ""), "R'G'B' u8", "visible.raw")
flat.delete()
result = {
    "layers": [item.get_name() for item in image.get_layers()],
    "active": [item.get_name() for item in image.get_selected_layers()],
    "selected": not Gimp.Selection.is_empty(image),
}
"""


class Editor(Gui):
    """A GIMP in which layers of ours are made, and made anew."""

    def state(self) -> tuple[dict[str, object], np.ndarray]:
        """The layers' names, from the top, and what is seen of them."""
        told = self.session.run(STATE)
        return told, self.session.get((512, 512, 3), np.uint8, "visible.raw").astype(int)

    def expected(self, strength: float, output: str) -> np.ndarray:
        """What is seen when the filter ran on the photo with the ellipse selected."""
        told = self.session.run(EXPECTED, strength=strength, output=output, ellipse=ELLIPSE)
        assert told == [True, ""], (self.session.work / "state" / "gimp-plug-in.log").read_text()
        return self.session.get((512, 512, 3), np.uint8, "wanted.raw").astype(int)

    def make(self, strength: str, output: int) -> None:
        """Make a layer with the dialog; ``output`` counts the choices from "This layer"."""
        self.show()
        self.strength(strength)
        self.press("alt+u")
        self.press("Home", *["Down"] * output)
        self.finish()


@pytest.fixture(scope="module")
def shared_gui(installed_gimp: Gimp) -> Iterator[Editor]:
    with Editor.opened(installed_gimp) as gui:
        yield gui


@pytest.mark.parametrize(
    ("count", "output"),
    [(1, "new-layer"), (2, "new-layer-with-mask"), (3, "illumination-layer")],
)
def test_a_layer_of_ours_is_made_anew_with_its_settings(
    gui: Editor, count: int, output: str
) -> None:
    gui.make("0.4", count)
    told, first = gui.state()
    assert len(told["layers"]) == 2
    assert np.abs(first - gui.expected(0.4, output)).max() <= 1
    # Nothing is selected any more, and meanwhile the filter ran with other settings.
    window = gui.again(
        "made = image.get_layers()[0]\n"
        "enhance(image, [layer], strength=1.9)\n"
        "write(layer, path, babl); layer.update(0, 0, 512, 512)\n"
        "Gimp.Selection.none(image)"
    )
    gui.picture(window, f"made-anew-{output}")
    gui.finish()
    assert float(gui.last("strength")) == 0.4
    assert gui.last("output") == output
    same, again = gui.state()
    assert same == {**told, "selected": False}
    assert np.array_equal(again, first)

    gui.again()
    gui.strength("1.2")
    gui.finish()
    changed, stronger = gui.state()
    assert changed == same
    assert np.abs(stronger - gui.expected(1.2, output)).max() <= 1
    gui.focus_image()
    gui.press("ctrl+z")
    assert gui.until(lambda: np.array_equal(gui.state()[1], first))
    undone, _picture = gui.state()
    assert undone["layers"] == same["layers"] and not undone["selected"]
    gui.press("ctrl+y")
    assert gui.until(lambda: np.array_equal(gui.state()[1], stronger))


def test_colour_is_remembered_and_older_layers_have_none(gui: Editor) -> None:
    gui.show()
    gui.cancel()
    gui.again(
        "enhance(image, [layer], output='new-layer', warmth=0.5, saturation=-0.25)\n"
        "made = image.get_layers()[0]\n"
        "image.set_selected_layers([made])"
    )
    _told, warm = gui.state()
    gui.finish()
    assert float(gui.last("warmth")) == 0.5
    assert float(gui.last("saturation")) == -0.25
    told, again = gui.state()
    assert told["layers"] == ["photo, lit up", "photo"]
    assert np.array_equal(again, warm)

    gui.again(
        "import json\n"
        "image.remove_layer(image.get_layers()[0])\n"
        "enhance(image, [layer], output='new-layer')\n"
        "made = image.get_layers()[0]\n"
        f"note = json.loads(bytes(made.get_parasite('{NOTE}').get_data()))\n"
        "assert note['settings'].pop('warmth') == 0\n"
        "assert note['settings'].pop('saturation') == 0\n"
        f"made.attach_parasite(Gimp.Parasite.new('{NOTE}', 3, json.dumps(note).encode()))\n"
        "image.set_selected_layers([made])"
    )
    _told, plain = gui.state()
    assert np.abs(plain - warm).max() > 3
    gui.finish()
    assert float(gui.last("warmth")) == 0
    assert float(gui.last("saturation")) == 0
    told, again = gui.state()
    assert told["layers"] == ["photo, lit up", "photo"]
    assert np.array_equal(again, plain)


def test_name_place_and_opacity_stay(gui: Editor) -> None:
    gui.make("0.4", 1)
    gui.again(
        "made = image.get_layers()[0]\n"
        "made.set_name('My light'); made.set_opacity(60)\n"
        "above = new_layer(image, 512, 512, alpha=True, name='above')\n"
        "image.set_selected_layers([made])"
    )
    gui.finish()
    assert gui.state()[0]["layers"] == ["above", "My light", "photo"]
    assert gui.session.run("result = image.get_layers()[1].get_opacity()") == 60


def test_cancel_leaves_the_selection_and_the_history(gui: Editor) -> None:
    gui.make("0.4", 1)
    before = gui.state()
    selected = "result = list(selection_bytes(image))"
    ellipse = gui.session.run(selected)
    gui.session.run("Gimp.Selection.none(image); image.clean_all()")
    gui.again()
    assert gui.session.run(selected) == ellipse
    gui.cancel()
    after = gui.state()
    assert after[0] == {**before[0], "selected": False}
    assert np.array_equal(after[1], before[1])
    assert not gui.session.run("result = image.is_dirty()")
    # The last step is still that of the ellipse's going.
    gui.focus_image()
    gui.press("ctrl+z")
    assert gui.until(lambda: gui.session.run(selected) == ellipse)


def test_another_selection_is_lit_up_besides(gui: Editor) -> None:
    gui.make("0.4", 1)
    gui.again("select_ellipse(image, 200, 200, 90, 90)")
    gui.finish()
    assert len(gui.state()[0]["layers"]) == 3


@pytest.mark.parametrize(
    ("code", "layers"),
    [
        ("image.remove_layer(layer)", 2),
        (f"made.attach_parasite(Gimp.Parasite.new('{NOTE}', 3, b'damaged'))", 3),
        (
            "import json\n"
            f"note = json.loads(bytes(made.get_parasite('{NOTE}').get_data()))\n"
            "note['selection']['data'] = note['selection']['data'][:40]\n"
            f"made.attach_parasite(Gimp.Parasite.new('{NOTE}', 3, json.dumps(note).encode()))",
            3,
        ),
    ],
    ids=["source-gone", "damaged", "too-short"],
)
def test_without_what_it_was_made_from_it_is_a_layer_like_any_other(
    gui: Editor, code: str, layers: int
) -> None:
    gui.make("0.4", 1)
    gui.again("made = image.get_layers()[0]\n" + code)
    gui.finish()
    assert len(gui.state()[0]["layers"]) == layers


def test_it_is_made_anew_from_a_saved_file(gui: Editor) -> None:
    gui.make("0.4", 1)
    _told, first = gui.state()
    gui.again(
        "from gi.repository import Gio\n"
        "Gimp.Selection.none(image)\n"
        "file = Gio.File.new_for_path(str(WORK / 'saved.xcf'))\n"
        "Gimp.file_save(Gimp.RunMode.NONINTERACTIVE, image, file, None)\n"
        "display.delete()\n"
        "image = Gimp.file_load(Gimp.RunMode.NONINTERACTIVE, file)\n"
        "display = Gimp.Display.new(image)"
    )
    gui.finish()
    told, again = gui.state()
    assert told["layers"] == ["photo, lit up", "photo"]
    assert np.array_equal(again, first)
