"""The preview at full size: what it shows is what OK gives, pixel by pixel."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from tests.gimp.finding import Gimp
from tests.gimp.gui import Gui, Picture, changed, differs_from, resembles
from tests.gimp.photo import dark_photo

#: A part of the dialog's picture that is inside of the preview on every screen.
PATCH = slice(90, 330), slice(60, 420)
#: What the script does, for comparison, before the dialog is opened.
EXPECTED = """
select_ellipse(image, 500, 300, 700, 600)
copy = image.duplicate()
called = enhance(copy, [copy.get_layers()[0]], **settings)
assert called[0], called
box = rect(0, 0, image.get_width(), image.get_height())
for name, drawable in (("before", layer), ("after", copy.get_layers()[0])):
    (WORK / f"{name}.raw").write_bytes(drawable.get_buffer().get(box, 1.0, "R'G'B' u8", NONE))
copy.delete()
"""


def grainy_photo(dtype: type = np.uint8) -> npt.NDArray[np.generic]:
    """A photograph of 1600 by 1200 pixels, no two of which are alike."""
    large = cv2.resize(dark_photo(np.float32), (1600, 1200), interpolation=cv2.INTER_CUBIC)
    noise = np.random.default_rng(7).normal(0.0, 0.02, large.shape)
    values = np.clip(large + noise, 0.0, 1.0)
    if dtype is np.float32:
        return values.astype(np.float32)
    return np.rint(values * np.iinfo(dtype).max).astype(dtype)


class Zoomed(Gui):
    """A dialog that shows actual pixels."""

    def prepare(
        self, photo: npt.NDArray[np.generic], code: str = "", **settings: object
    ) -> tuple[str, Picture, Picture]:
        """Open the dialog; its window, and the layer before and after OK, RGB of 8 bits."""
        window = self.show(f"settings = {settings!r}\n{code}{EXPECTED}", photo)
        shape = (*photo.shape[:2], 3)
        before, after = (self.session.get(shape, np.uint8, f"{n}.raw") for n in ("before", "after"))
        return window, before, after

    def place_of(self, window: str, wanted: Picture, level: int = 2) -> tuple[int, int] | None:
        """Column and row of a picture that the preview shows, within so many levels; else None."""
        shown = self.look(window, "actual-pixels")[PATCH][..., ::-1]
        errors = cv2.matchTemplate(wanted, np.ascontiguousarray(shown), cv2.TM_SQDIFF)
        column, row = cv2.minMaxLoc(errors)[2]
        found = wanted[row : row + shown.shape[0], column : column + shown.shape[1]]
        off = np.abs(found.astype(int) - shown).max()
        return (column, row) if off <= level else None

    def click(self, window: str, x: int, y: int, button: str = "1", *, times: int = 1) -> None:
        """Click with a button of the mouse at a place of the window."""
        click = ("click", "--repeat", str(times), "--delay", "60", button)
        self.desktop.run("xdotool", "mousemove", "--window", window, str(x), str(y), *click)

    def drag(self, window: str, dx: int, dy: int) -> None:
        """Drag the picture."""
        self.desktop.run("xdotool", "mousemove", "--window", window, "300", "250")
        self.desktop.run("xdotool", "mousedown", "1")
        for part in (0.25, 0.5, 0.75, 1.0):
            to = str(round(300 + part * dx)), str(round(250 + part * dy))
            self.desktop.run("xdotool", "mousemove", "--window", window, *to)
        self.desktop.run("xdotool", "mouseup", "1")


@pytest.fixture(scope="module")
def shared_gui(installed_gimp: Gimp) -> Iterator[Zoomed]:
    with Zoomed.opened(installed_gimp) as gui:
        yield gui


def test_actual_pixels_are_those_that_ok_gives(gui: Zoomed) -> None:
    window, before, after = gui.prepare(grainy_photo(), strength=1.0)
    gui.picture(window, "fitted")
    assert gui.place_of(window, after) is None  # it is scaled down
    gui.press("alt+1")
    assert gui.until(lambda: gui.place_of(window, after) is not None)
    assert gui.place_of(window, before) is None
    column, row = gui.place_of(window, after) or (0, 0)
    gui.drag(window, -120, 70)
    dragged = (column + 120, row - 70)
    assert gui.until(lambda: gui.place_of(window, after) == dragged)
    gui.press("alt+p")  # the layer as it is
    assert gui.until(lambda: gui.place_of(window, before, 0) == dragged)
    gui.press("alt+p")
    gui.finish()
    assert gui.pixels() == after.tobytes()


def test_actual_pixels_of_floats_in_another_space(gui: Zoomed) -> None:
    window, before, after = gui.prepare(
        grainy_photo(),
        "image.convert_color_profile(Gimp.ColorProfile.new_rgb_adobe(),"
        " Gimp.ColorRenderingIntent.RELATIVE_COLORIMETRIC, True)\n"
        "image.convert_precision(Gimp.Precision.FLOAT_LINEAR)\n",
    )
    gui.press("alt+1")
    assert gui.until(lambda: gui.place_of(window, after) is not None)
    assert gui.place_of(window, before) is None


def test_actual_pixels_follow_the_settings(gui: Zoomed) -> None:
    window, _, after = gui.prepare(
        grainy_photo(), strength=0.4, **{"automatic-width": False, "width": 300.0}
    )
    gui.press("alt+1")
    gui.strength("0.4")
    gui.press("alt+a")
    gui.type("alt+w", "300")  # farther than what was read at first
    assert gui.until(lambda: gui.place_of(window, after) is not None)


def test_the_wheel_zooms_where_the_pointer_is(gui: Zoomed) -> None:
    window, _, after = gui.prepare(grainy_photo())
    fitted = gui.picture(window)
    gui.click(window, 240, 210, "4", times=2)  # 50 %, 100 %
    assert gui.until(lambda: gui.place_of(window, after) is not None)
    column, row = gui.place_of(window, after) or (0, 0)
    gui.click(window, 240, 210, "4")
    doubled = gui.picture(window, "doubled", _is_doubled)
    assert _is_doubled(doubled)
    shown = doubled[..., ::-1]
    # The pixel under the pointer stayed there.
    at = column + 240 - PATCH[1].start, row + 210 - PATCH[0].start
    near = after[at[1] - 1 : at[1] + 2, at[0] - 1 : at[0] + 2].reshape(-1, 3).astype(int)
    assert np.abs(near - shown[210, 240]).max(axis=1).min() <= 2
    gui.click(window, 240, 210, "5", times=3)
    assert changed(fitted, gui.picture(window, wanted=resembles(fitted, 100))) < 100


def _is_doubled(dialog: Picture) -> bool:
    even = (np.diff(dialog[PATCH].astype(int), axis=1) == 0).all(axis=2)
    return bool(max(even[:, ::2].mean(), even[:, 1::2].mean()) > 0.99)


def test_the_mask_is_shown_as_a_tint(gui: Zoomed) -> None:
    window, _, after = gui.prepare(grainy_photo())
    redder = tint(gui, window, "fitted")
    assert abs(redder[:4, -4:]).max() < middle(redder) / 10  # where it has nearly faded out
    gui.press("alt+1")
    assert gui.until(lambda: gui.place_of(window, after) is not None)
    tint(gui, window, "actual")


def tint(gui: Zoomed, window: str, view: str) -> npt.NDArray[np.int_]:
    """Show the mask and hide it again; return how much redder each pixel of the patch became."""
    plain = gui.picture(window).astype(int)

    def redder(picture: Picture) -> npt.NDArray[np.int_]:
        return (np.diff(picture.astype(int), axis=2) - np.diff(plain, axis=2))[..., 1][PATCH]

    gui.press("alt+k")
    tinted = gui.picture(window, f"mask-{view}", lambda now: middle(redder(now)) > 60)
    assert middle(redder(tinted)) > 60
    gui.press("alt+k")
    return redder(tinted)


def middle(patch: npt.NDArray[np.int_]) -> float:
    """Return the median in the middle of the selection."""
    return float(np.median(patch[100:140, 160:200]))


def test_a_double_click_leads_there_and_back(gui: Zoomed) -> None:
    window, _, after = gui.prepare(grainy_photo())
    fitted = gui.picture(window)
    gui.click(window, 300, 220, times=2)
    assert gui.until(lambda: gui.place_of(window, after) is not None)
    gui.press("alt+v")  # split view: its line is dragged, not the picture
    assert gui.until(lambda: gui.place_of(window, after) is None)
    split = gui.picture(window, "split-actual-pixels")
    gui.press("Right", "Right")
    gui.press("alt+v")
    assert gui.until(lambda: gui.place_of(window, after) is not None)
    assert changed(split, gui.picture(window, wanted=differs_from(split, 3000))) > 3000
    gui.click(window, 300, 220, times=2)
    assert changed(fitted, gui.picture(window, wanted=resembles(fitted, 100))) < 100
