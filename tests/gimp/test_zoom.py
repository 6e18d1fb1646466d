"""The preview at full size: what it shows is what OK gives, pixel by pixel."""

from __future__ import annotations

import time
from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from tests.gimp.finding import Gimp
from tests.gimp.photo import dark_photo
from tests.gimp.test_dialog import Desk, opened

Pixels = npt.NDArray[np.uint8]

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


class Zoomed(Desk):
    """A dialog that shows actual pixels."""

    def prepare(
        self, photo: npt.NDArray[np.generic], code: str = "", **settings: object
    ) -> tuple[str, Pixels, Pixels]:
        """Open the dialog; its window, and the layer before and after OK, RGB of 8 bits."""
        window = self.show(f"settings = {settings!r}\n{code}{EXPECTED}", photo)
        shape = (*photo.shape[:2], 3)
        before, after = (self.session.get(shape, np.uint8, f"{n}.raw") for n in ("before", "after"))
        return window, before, after

    def place_of(self, window: str, wanted: Pixels, level: int = 2) -> tuple[int, int] | None:
        """Column and row of a picture that the preview shows, within so many levels; else None."""
        shown = self.look(window, "actual-pixels")[PATCH][..., ::-1]
        errors = cv2.matchTemplate(wanted, np.ascontiguousarray(shown), cv2.TM_SQDIFF)
        column, row = cv2.minMaxLoc(errors)[2]
        found = wanted[row : row + shown.shape[0], column : column + shown.shape[1]]
        off = np.abs(found.astype(int) - shown).max()
        return (column, row) if off <= level else None

    def click(self, window: str, x: int, y: int, button: str = "1", *, times: int = 1) -> None:
        """Click with a button of the mouse at a place of the window."""
        self.desktop.run("xdotool", "mousemove", "--window", window, str(x), str(y))
        time.sleep(0.2)
        self.desktop.run("xdotool", "click", "--repeat", str(times), "--delay", "60", button)
        time.sleep(0.5)

    def drag(self, window: str, dx: int, dy: int) -> None:
        """Drag the picture."""
        self.desktop.run("xdotool", "mousemove", "--window", window, "300", "250")
        self.desktop.run("xdotool", "mousedown", "1")
        for part in (0.25, 0.5, 0.75, 1.0):
            to = str(round(300 + part * dx)), str(round(250 + part * dy))
            self.desktop.run("xdotool", "mousemove", "--window", window, *to)
            time.sleep(0.1)
        self.desktop.run("xdotool", "mouseup", "1")


@pytest.fixture(scope="module")
def shared_desk(installed_gimp: Gimp) -> Iterator[Zoomed]:
    with opened(installed_gimp, desk=Zoomed) as desk:
        assert isinstance(desk, Zoomed)
        yield desk


@pytest.fixture
def desk(shared_desk: Zoomed) -> Iterator[Zoomed]:
    yield shared_desk
    shared_desk.leave()


def test_actual_pixels_are_those_that_ok_gives(desk: Zoomed) -> None:
    window, before, after = desk.prepare(grainy_photo(), strength=1.0)
    desk.look(window, "fitted")
    assert desk.place_of(window, after) is None  # it is scaled down
    desk.press("alt+1")
    assert desk.until(lambda: desk.place_of(window, after) is not None, 20)
    assert desk.place_of(window, before) is None
    place = desk.place_of(window, after)
    desk.drag(window, -120, 70)
    assert desk.until(lambda: desk.place_of(window, after) not in (None, place), 20)
    column, row = desk.place_of(window, after) or (0, 0)
    assert place is not None
    assert (column - place[0], row - place[1]) == (120, -70)
    desk.press("alt+p")  # the layer as it is
    assert desk.until(lambda: desk.place_of(window, before, 0) == (column, row), 20)
    desk.press("alt+p")
    desk.finish()
    assert desk.pixels() == after.tobytes()


def test_actual_pixels_of_floats_in_another_space(desk: Zoomed) -> None:
    window, before, after = desk.prepare(
        grainy_photo(),
        "image.convert_color_profile(Gimp.ColorProfile.new_rgb_adobe(),"
        " Gimp.ColorRenderingIntent.RELATIVE_COLORIMETRIC, True)\n"
        "image.convert_precision(Gimp.Precision.FLOAT_LINEAR)\n",
    )
    desk.press("alt+1")
    assert desk.until(lambda: desk.place_of(window, after) is not None, 20)
    assert desk.place_of(window, before) is None


def test_actual_pixels_follow_the_settings(desk: Zoomed) -> None:
    window, _, after = desk.prepare(
        grainy_photo(), strength=0.4, **{"automatic-width": False, "width": 300.0}
    )
    desk.press("alt+1")
    desk.strength("0.4")
    desk.press("alt+a")
    desk.press("alt+w")
    desk.desktop.run("xdotool", "key", "ctrl+a")
    desk.desktop.run("xdotool", "type", "300")  # farther than what was read at first
    desk.press("Tab")
    assert desk.until(lambda: desk.place_of(window, after) is not None, 20)
    desk.press("alt+a")
    desk.strength("1.0")


def test_the_wheel_zooms_where_the_pointer_is(desk: Zoomed) -> None:
    window, _, after = desk.prepare(grainy_photo())
    fitted = desk.look(window)
    desk.click(window, 240, 210, "4", times=2)  # 50 %, 100 %
    assert desk.until(lambda: desk.place_of(window, after) is not None, 20)
    column, row = desk.place_of(window, after) or (0, 0)
    desk.click(window, 240, 210, "4")
    assert desk.until(lambda: _is_doubled(desk.look(window, "doubled")), 20)
    shown = desk.look(window)[..., ::-1]
    # The pixel under the pointer stayed there.
    at = column + 240 - PATCH[1].start, row + 210 - PATCH[0].start
    near = after[at[1] - 1 : at[1] + 2, at[0] - 1 : at[0] + 2].reshape(-1, 3).astype(int)
    assert np.abs(near - shown[210, 240]).max(axis=1).min() <= 2
    desk.click(window, 240, 210, "5", times=3)
    assert desk.until(lambda: desk.changed(fitted, desk.look(window)) < 100, 20)


def _is_doubled(dialog: Pixels) -> bool:
    even = (np.diff(dialog[PATCH].astype(int), axis=1) == 0).all(axis=2)
    return bool(max(even[:, ::2].mean(), even[:, 1::2].mean()) > 0.99)


def test_the_mask_is_shown_as_a_tint(desk: Zoomed) -> None:
    window, _, _ = desk.prepare(grainy_photo())
    for view in ("fitted", "actual"):
        if view == "actual":
            desk.press("alt+1")
            time.sleep(2.0)
        plain = desk.look(window).astype(int)
        desk.press("alt+k")
        time.sleep(1.5)
        tinted = desk.look(window, f"mask-{view}").astype(int)
        more_red = (np.diff(tinted, axis=2) - np.diff(plain, axis=2))[..., 1][PATCH]
        middle = np.median(more_red[100:140, 160:200])  # of the selection
        assert middle > 60
        if view == "fitted":
            assert abs(more_red[:4, -4:]).max() < middle / 10  # where it has nearly faded out
        desk.press("alt+k")


def test_a_double_click_leads_there_and_back(desk: Zoomed) -> None:
    window, _, after = desk.prepare(grainy_photo())
    fitted = desk.look(window)
    desk.click(window, 300, 220, times=2)
    assert desk.until(lambda: desk.place_of(window, after) is not None, 20)
    desk.press("alt+v")  # split view: its line is dragged, not the picture
    split = desk.look(window, "split-actual-pixels")
    assert desk.place_of(window, after) is None
    desk.press("Right", "Right")
    desk.press("alt+v")
    assert desk.place_of(window, after) is not None
    assert desk.changed(split, desk.look(window)) > 3000
    desk.click(window, 300, 220, times=2)
    assert desk.until(lambda: desk.changed(fitted, desk.look(window)) < 100, 20)
