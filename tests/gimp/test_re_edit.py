"""Layers that the filter has made: its dialog opens with their settings and replaces them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tests.gimp.finding import Gimp
from tests.gimp.test_dialog import ELLIPSE, Desk, opened
from tests.gimp.test_window import TITLE

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


class Editor(Desk):
    """A GIMP in which layers of ours are made, and made anew."""

    def again(self, code: str = "") -> str:
        """Run a snippet, then open the dialog on what is active."""
        self.session.run(code + "\nGimp.displays_flush()")
        self.desktop.focus(self.desktop.window("GIMP$"))
        self.press("ctrl+shift+f")
        return self.dialog()

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
def shared_editor(installed_gimp: Gimp) -> Iterator[Editor]:
    with opened(installed_gimp, desk=Editor) as desk:
        yield desk


@pytest.fixture
def editor(shared_editor: Editor) -> Iterator[Editor]:
    yield shared_editor
    shared_editor.leave()


@pytest.mark.parametrize(
    ("count", "output"),
    [(1, "new-layer"), (2, "new-layer-with-mask"), (3, "illumination-layer")],
)
def test_a_layer_of_ours_is_made_anew_with_its_settings(
    editor: Editor, count: int, output: str
) -> None:
    editor.make("0.4", count)
    told, first = editor.state()
    assert len(told["layers"]) == 2
    assert np.abs(first - editor.expected(0.4, output)).max() <= 1
    # Nothing is selected any more, and meanwhile the filter ran with other settings.
    window = editor.again(
        "made = image.get_layers()[0]\n"
        "enhance(image, [layer], strength=1.9)\n"
        "write(layer, path, babl); layer.update(0, 0, 512, 512)\n"
        "Gimp.Selection.none(image)"
    )
    editor.look(window, f"made-anew-{output}")
    editor.finish()
    assert float(editor.last("strength")) == 0.4
    assert editor.last("output") == output
    same, again = editor.state()
    assert same == {**told, "selected": False}
    assert np.array_equal(again, first)

    editor.again()
    editor.strength("1.2")
    editor.finish()
    changed, stronger = editor.state()
    assert changed == same
    assert np.abs(stronger - editor.expected(1.2, output)).max() <= 1
    editor.desktop.focus(editor.desktop.window("GIMP$"))
    editor.press("ctrl+z")
    undone, before = editor.state()
    assert undone["layers"] == same["layers"] and not undone["selected"]
    assert np.array_equal(before, first)
    editor.press("ctrl+y")
    assert np.array_equal(editor.state()[1], stronger)


def test_warmth_is_remembered_and_older_layers_have_none(editor: Editor) -> None:
    editor.show()
    editor.press("Escape")
    assert editor.desktop.gone(TITLE)
    editor.again(
        "enhance(image, [layer], output='new-layer', warmth=0.5)\n"
        "made = image.get_layers()[0]\n"
        "image.set_selected_layers([made])"
    )
    _told, warm = editor.state()
    editor.finish()
    assert float(editor.last("warmth")) == 0.5
    told, again = editor.state()
    assert told["layers"] == ["photo, lit up", "photo"]
    assert np.array_equal(again, warm)

    editor.again(
        "import json\n"
        "image.remove_layer(image.get_layers()[0])\n"
        "enhance(image, [layer], output='new-layer')\n"
        "made = image.get_layers()[0]\n"
        f"note = json.loads(bytes(made.get_parasite('{NOTE}').get_data()))\n"
        "assert note['settings'].pop('warmth') == 0\n"
        f"made.attach_parasite(Gimp.Parasite.new('{NOTE}', 3, json.dumps(note).encode()))\n"
        "image.set_selected_layers([made])"
    )
    _told, plain = editor.state()
    assert np.abs(plain - warm).max() > 3
    editor.finish()
    assert float(editor.last("warmth")) == 0
    told, again = editor.state()
    assert told["layers"] == ["photo, lit up", "photo"]
    assert np.array_equal(again, plain)


def test_name_place_and_opacity_stay(editor: Editor) -> None:
    editor.make("0.4", 1)
    editor.again(
        "made = image.get_layers()[0]\n"
        "made.set_name('My light'); made.set_opacity(60)\n"
        "above = new_layer(image, 512, 512, alpha=True, name='above')\n"
        "image.set_selected_layers([made])"
    )
    editor.finish()
    assert editor.state()[0]["layers"] == ["above", "My light", "photo"]
    assert editor.session.run("result = image.get_layers()[1].get_opacity()") == 60


def test_cancel_leaves_the_selection_and_the_history(editor: Editor) -> None:
    editor.make("0.4", 1)
    before = editor.state()
    selected = "result = list(selection_bytes(image))"
    ellipse = editor.session.run(selected)
    editor.session.run("Gimp.Selection.none(image); image.clean_all()")
    editor.again()
    assert editor.session.run(selected) == ellipse
    editor.press("Escape")
    assert editor.desktop.gone(TITLE)
    after = editor.state()
    assert after[0] == {**before[0], "selected": False}
    assert np.array_equal(after[1], before[1])
    assert not editor.session.run("result = image.is_dirty()")
    # The last step is still that of the ellipse's going.
    editor.desktop.focus(editor.desktop.window("GIMP$"))
    editor.press("ctrl+z")
    assert editor.session.run(selected) == ellipse


def test_another_selection_is_lit_up_besides(editor: Editor) -> None:
    editor.make("0.4", 1)
    editor.again("select_ellipse(image, 200, 200, 90, 90)")
    editor.finish()
    assert len(editor.state()[0]["layers"]) == 3


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
    editor: Editor, code: str, layers: int
) -> None:
    editor.make("0.4", 1)
    editor.again("made = image.get_layers()[0]\n" + code)
    editor.finish()
    assert len(editor.state()[0]["layers"]) == layers


def test_it_is_made_anew_from_a_saved_file(editor: Editor) -> None:
    editor.make("0.4", 1)
    _told, first = editor.state()
    editor.again(
        "from gi.repository import Gio\n"
        "Gimp.Selection.none(image)\n"
        "file = Gio.File.new_for_path(str(WORK / 'saved.xcf'))\n"
        "Gimp.file_save(Gimp.RunMode.NONINTERACTIVE, image, file, None)\n"
        "display.delete()\n"
        "image = Gimp.file_load(Gimp.RunMode.NONINTERACTIVE, file)\n"
        "display = Gimp.Display.new(image)"
    )
    editor.finish()
    told, again = editor.state()
    assert told["layers"] == ["photo, lit up", "photo"]
    assert np.array_equal(again, first)
