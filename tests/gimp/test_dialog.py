"""The dialog on layers and masks of every kind, and on screens of every size.

One GIMP with its user interface serves all tests of a screen. Set MASKUPE_SCREENSHOTS to a folder
to keep what the dialog looked like.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from maskupe_gimp import NAME, bundle
from maskupe_gimp.models import offered
from tests.gimp.conftest import REQUIRED
from tests.gimp.daemon import Daemon
from tests.gimp.finding import Gimp, NoGimpError
from tests.gimp.photo import dark_photo
from tests.gimp.test_start import RELAY, start_when_asked
from tests.gimp.test_window import TITLE, Story

ELLIPSE = (150, 120, 200, 240)
LAST = "plug-in-settings/GimpProcedureConfigRun-plug-in-maskupe-local-underexposure.last"


class Desk(Story):
    """A GIMP whose dialog is opened from the menu, on whatever is active."""

    def show(self, code: str = "", photo: np.ndarray | None = None) -> str:
        """Open an image, run a snippet on it, and open the dialog; its window."""
        self.open(dark_photo() if photo is None else photo, ELLIPSE)
        if code:
            self.session.run(code + "\nGimp.displays_flush()")
            time.sleep(0.5)
        self.desktop.focus(self.desktop.window("GIMP$"))
        self.press("alt+r")
        self.press("h")
        self.press("l")
        return self.dialog()

    def finish(self) -> None:
        """Press OK and wait until the dialog has gone."""
        self.press("alt+o")
        assert self.desktop.gone(TITLE), "the dialog stayed"

    def leave(self) -> None:
        """Close the dialog, if it is there, and the image."""
        if self.desktop.run("xdotool", "search", "--onlyvisible", "--name", TITLE):
            self.press("Escape")
            self.desktop.gone(TITLE)
        self.session.run("display.delete()")

    def last(self, name: str) -> str:
        """The value of an argument in the run before."""
        file = self.session.work / "profile" / LAST
        time.sleep(1.0)  # GIMP writes it when the plug-in has ended, after its dialog
        text = file.read_text("utf-8")
        found = re.search(rf'^\({name} "?([^")]*)"?\)', text, re.MULTILINE)
        assert found, text
        return found[1]

    def size(self, window: str) -> tuple[int, int]:
        """Width and height of a window."""
        told = self.desktop.run("xdotool", "getwindowgeometry", "--shell", window)
        found = dict(line.split("=") for line in told.split())
        return int(found["WIDTH"]), int(found["HEIGHT"])


@contextmanager
def opened(
    gimp: Gimp,
    size: tuple[int, int] = (1360, 900),
    environment: dict[str, str] | None = None,
    *,
    desk: type[Desk] = Desk,
) -> Iterator[Desk]:
    work = Path(tempfile.mkdtemp(prefix="maskupe-"))
    try:
        shown = desk(gimp, work, size, environment)
    except NoGimpError as error:
        if REQUIRED:
            pytest.fail(str(error))
        pytest.skip(str(error))
    try:
        yield shown
    finally:
        shown.close()
        shutil.rmtree(work, ignore_errors=True)


@pytest.fixture(scope="module")
def shared_desk(installed_gimp: Gimp) -> Iterator[Desk]:
    with opened(installed_gimp) as desk:
        yield desk


@pytest.fixture
def desk(shared_desk: Desk) -> Iterator[Desk]:
    yield shared_desk
    shared_desk.leave()


def test_a_quick_mask_opens_the_dialog(desk: Desk) -> None:
    # What Quick Mask is to a plug-in: a channel that is active.
    window = desk.show(
        "mask = Gimp.Channel.new(image, 'Qmask', 512, 512, 50,"
        " Gegl.Color.new('red'))\n"
        "image.insert_channel(mask, None, 0)\n"
        "write(mask, path, babl)\n"
        "image.set_selected_channels([mask])\n"
    )
    desk.look(window, "quick-mask")
    desk.finish()
    assert desk.session.run("result = len(image.get_layers())") == 1


def test_a_text_layer_goes_into_a_new_layer(desk: Desk) -> None:
    window = desk.show(
        "text = Gimp.TextLayer.new(image, 'Words', Gimp.context_get_font(), 200,"
        " Gimp.Unit.pixel())\n"
        "image.insert_layer(text, None, 0); text.set_offsets(100, 120)\n"
        "image.set_selected_layers([text])"
    )
    desk.look(window, "text-layer")
    desk.finish()
    found = desk.session.run("result = [text.is_text_layer(), len(image.get_layers())]")
    assert found == [True, 3]
    assert desk.last("output") == "this-layer"  # for the next layer


def test_what_changed_while_the_dialog_is_open_is_said_in_it(desk: Desk) -> None:
    window = desk.show()
    before = desk.look(window)
    desk.session.run("layer.set_lock_content(True)")
    desk.press("alt+o")
    said = desk.look(window, "locked-meanwhile")  # the dialog is still there
    assert desk.changed(before, said) > 300
    desk.session.run("layer.set_lock_content(False)")
    desk.finish()
    assert desk.pixels() != dark_photo().tobytes()


def test_a_daemon_killed_behind_the_dialog_is_started_again(desk: Desk) -> None:
    work = desk.session.work
    relay = work / "relay"
    relay.write_text(RELAY.format(work=str(work)), "utf-8")
    relay.chmod(0o755)
    launcher = work / "profile" / "plug-ins" / NAME / bundle.LAUNCHER
    recorded = json.loads(launcher.read_text("utf-8"))
    command = [str(relay), *recorded["command"]]
    launcher.write_text(json.dumps({**recorded, "command": command}), "utf-8")
    daemons: list[Daemon] = []
    thread = threading.Thread(target=start_when_asked, args=(work, daemons))
    try:
        window = desk.show()
        lit = desk.look(window)
        desk.strength("0.2")
        weaker = desk.look(window)
        desk.daemon.kill()
        thread.start()
        desk.strength("1.0")
        desk.until(lambda: desk.changed(lit, desk.look(window)) < 100, 20)
        assert (
            desk.changed(lit, desk.look(window, "daemon-again")) < 100 < desk.changed(lit, weaker)
        )
        assert len(daemons) == 1
        desk.press("Escape")
    finally:
        (work / "over").touch()
        thread.join(30)
        for daemon in daemons:
            daemon.stop()
        desk.daemon.start()


def test_the_width_goes_on_where_the_automatic_was(desk: Desk) -> None:
    window = desk.show()
    lit = desk.look(window)
    desk.press("alt+a")
    time.sleep(1.0)
    by_hand = desk.look(window, "width-by-hand")
    assert desk.changed(lit, by_hand) < 1000
    desk.press("alt+p")  # the layer as it is: what is seen of it
    narrow = desk.look(window)
    desk.press("alt+w")
    desk.desktop.run("xdotool", "key", "ctrl+a")
    desk.desktop.run("xdotool", "type", "90")
    desk.press("Tab")
    time.sleep(1.0)
    wide = desk.look(window, "width-90")
    half = wide.shape[1] // 2
    assert (narrow[:400, :half] == wide[:400, :half]).all()
    desk.press("alt+p")
    time.sleep(0.5)
    assert desk.changed(desk.look(window), by_hand) > 3000
    desk.press("alt+a")
    desk.press("alt+a")
    desk.finish()
    assert desk.last("automatic-width") == "no"
    # A fifth of the radius of the ellipse.
    assert float(desk.last("width")) == round(0.2 * np.sqrt(200 * 240 / 4))


def stops(before: np.ndarray, after: np.ndarray) -> float:
    """By how many stops a photo is lighter, in linear light."""

    def light(photo: np.ndarray) -> float:
        part = photo / 255
        linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
        return float((linear @ [0.2126, 0.7152, 0.0722]).mean())

    return float(np.log2(light(after) / light(before)))


@pytest.mark.parametrize("key", ["Return", ""], ids=["entered", "ok-at-once"])
def test_a_typed_number_of_stops_sets_the_strength(desk: Desk, key: str) -> None:
    window = desk.show("Gimp.Selection.none(image)")
    desk.strength("1.0")
    desk.press("alt+e")
    desk.desktop.run("xdotool", "key", "ctrl+a")
    desk.desktop.run("xdotool", "type", "+1.5 EV")
    if key:
        desk.press(key)
        time.sleep(2.0)
        desk.look(window, "stops-typed")
    desk.finish()
    after = np.frombuffer(desk.pixels(), np.uint8).reshape(512, 512, 3)
    assert abs(stops(dark_photo(), after) - 1.5) < 0.1
    assert 0.1 < float(desk.last("strength")) < 0.9


def test_more_stops_than_possible_give_the_most(desk: Desk) -> None:
    window = desk.show()
    desk.press("alt+e")
    desk.desktop.run("xdotool", "key", "ctrl+a")
    desk.desktop.run("xdotool", "type", "9")
    desk.press("Return")
    time.sleep(2.0)
    desk.look(window, "too-many-stops")
    desk.finish()
    assert float(desk.last("strength")) == 2.0


def test_a_layer_mask_is_worked_on_whatever_the_last_output_was(desk: Desk) -> None:
    desk.show()
    desk.press("alt+u")
    desk.press("Down", "Down")  # New layer with mask
    desk.finish()
    assert desk.last("output") == "new-layer-with-mask"
    desk.leave()

    masked = (
        "mask = layer.create_mask(Gimp.AddMaskType.COPY); layer.add_mask(mask)\n"
        "read(mask, 'Y u8', 'before.raw')"
    )
    window = desk.show(masked)
    desk.look(window, "layer-mask")
    desk.finish()
    assert desk.last("output") == "new-layer-with-mask"  # for the next layer
    desk.session.run("read(mask, 'Y u8', 'after.raw'); read(layer, None, 'layer.raw')")
    before, after = (
        desk.session.get((512, 512), np.uint8, f"{name}.raw").astype(int)
        for name in ("before", "after")
    )
    assert (after - before)[200:280, 200:300].mean() > 5
    assert np.array_equal(after[:80], before[:80])
    assert np.array_equal(desk.session.get((512, 512, 3), np.uint8, "layer.raw"), dark_photo())


def test_without_a_selection_the_dialog_says_what_will_change(desk: Desk) -> None:
    window = desk.show("Gimp.Selection.none(image)")
    desk.look(window, "no-selection")


def test_a_few_pixels_are_magnified(desk: Desk) -> None:
    window = desk.show("image.select_rectangle(Gimp.ChannelOps.REPLACE, 250, 250, 1, 1)")
    shown = desk.look(window, "one-pixel")
    # The picture fills the room: one pixel of the layer is a square of at least 5 by 5.
    assert desk.shows_picture(shown)
    part = shown[100:400, 100:500].astype(int)
    same = (np.abs(np.diff(part, axis=1)).sum(axis=2) == 0).mean()
    assert same > 0.75


def test_the_preview_grows_with_the_window(desk: Desk) -> None:
    window = desk.show()
    width, height = desk.size(window)
    desk.desktop.run("xdotool", "windowsize", "--sync", window, str(width + 200), str(height + 200))
    time.sleep(2.0)
    shown = desk.look(window, "grown")
    assert shown.shape[:2] == (height + 200, width + 200)
    part = shown[60 : height + 20, 40:300]
    assert part.std() > 8
    desk.desktop.run("xdotool", "windowsize", "--sync", window, "200", "200")
    time.sleep(2.0)
    small = desk.size(window)
    assert small[0] < width and small[1] < height
    desk.look(window, "shrunk")


def test_a_model_for_research_is_used_where_it_was_asked_for(desk: Desk) -> None:
    launcher = desk.session.work / "profile" / "plug-ins" / NAME / bundle.LAUNCHER
    usual = launcher.read_text("utf-8")
    models = offered(research=True)
    launcher.write_text(json.dumps({**json.loads(usual), "models": models}), "utf-8")
    try:
        window = desk.show()
        lit = desk.look(window)
        desk.press("alt+m")
        desk.press(*["Down"] * list(models).index("lantern-uieb-research"))
        time.sleep(2.0)
        other = desk.look(window, "research-model")
        assert desk.changed(lit, other) > 5000
        desk.finish()
        assert desk.last("model") == "lantern-uieb-research"
        desk.leave()
        desk.show()
        desk.press("alt+m")
        desk.press("Home")
        desk.finish()
        assert desk.last("model") == "default"
    finally:
        launcher.write_text(usual, "utf-8")


def test_settings_are_kept_as_a_preset(desk: Desk) -> None:
    kept = desk.session.work / "profile" / "plug-in-settings"
    file = kept / "maskupe-local-underexposure-presets.json"

    def first_preset(window: str) -> None:
        _, height = desk.size(window)
        place = ("180", str(height - 41))  # beside Help
        desk.desktop.run("xdotool", "mousemove", "--window", window, *place)
        desk.desktop.run("xdotool", "click", "1")
        time.sleep(0.5)
        desk.press("Down", "Return")

    window = desk.show()
    desk.strength("0.4")
    weaker = desk.look(window)
    first_preset(window)  # Save as preset…
    naming = desk.desktop.window("^Save as preset$")
    desk.desktop.focus(naming)
    desk.desktop.run("xdotool", "type", "Soft light")
    desk.look(naming, "preset-name")
    desk.press("Return")
    assert desk.until(file.exists, 10)
    presets = json.loads(file.read_text("utf-8"))["presets"]
    assert list(presets) == ["Soft light"]
    assert presets["Soft light"]["strength"] == 0.4
    desk.desktop.focus(window)
    desk.strength("1.0")
    lit = desk.look(window)
    assert desk.changed(weaker, lit) > 3000
    first_preset(window)
    time.sleep(1.0)
    # Below the picture is the pointer, with a tip.
    assert desk.changed(weaker[:430], desk.look(window, "preset")[:430]) < 100
    desk.finish()
    assert float(desk.last("strength")) == 0.4


BROWSER = """[Desktop Entry]
Type=Application
Name=Browser
Exec=/bin/sh -c "echo '%u' > {told}"
MimeType=text/html;
"""


def test_help_opens_the_page_of_the_plug_in(desk: Desk) -> None:
    told = desk.session.work / "browsed"
    applications = desk.session.work / "home" / ".local" / "share" / "applications"
    applications.mkdir(parents=True)
    (applications / "browser.desktop").write_text(BROWSER.format(told=told), "utf-8")
    (applications / "mimeapps.list").write_text(
        "[Default Applications]\ntext/html=browser.desktop\n", "utf-8"
    )
    desk.show()
    desk.press("alt+h")
    assert desk.until(lambda: told.exists() and told.stat().st_size > 0, 20)
    assert told.read_text("utf-8").strip().endswith("help/en/local-underexposure.html")


def test_the_dialog_fits_a_netbook(installed_gimp: Gimp) -> None:
    with opened(installed_gimp, (1024, 600)) as desk:
        window = desk.show()
        desk.desktop.screenshot("netbook")
        width, height = desk.size(window)
        assert width <= 1024 and height <= 600 - 20  # the title needs some


def test_a_screen_of_high_density_gets_a_sharp_preview(installed_gimp: Gimp) -> None:
    photo = np.tile(dark_photo(), (4, 4, 1))
    with opened(installed_gimp, (2720, 1800), {"GDK_SCALE": "2"}) as desk:
        window = desk.show("Gimp.Selection.none(image)", photo)
        shown = desk.look(window, "sharp").astype(int)[200:800, 300:900]
        # Doubled pixels come in pairs.
        even = np.abs(np.diff(shown, axis=1)).sum(axis=2) == 0
        assert min(even[:, ::2].mean(), even[:, 1::2].mean()) < 0.5
        assert max(even[:, ::2].mean(), even[:, 1::2].mean()) < 0.5
