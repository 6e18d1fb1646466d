"""The dialog on layers and masks of every kind, and on screens of every size.

Set MASKUPE_SCREENSHOTS to a folder to keep what the dialog looked like.
"""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest

from maskupe_gimp import NAME, bundle
from maskupe_gimp.models import offered
from tests.gimp.daemon import Daemon
from tests.gimp.finding import Gimp
from tests.gimp.gui import Gui, Picture, changed, differs_from, resembles, shows_picture
from tests.gimp.photo import dark_photo
from tests.gimp.test_start import RELAY, start_when_asked


def test_a_quick_mask_opens_the_dialog(gui: Gui) -> None:
    # What Quick Mask is to a plug-in: a channel that is active.
    window = gui.show(
        "mask = Gimp.Channel.new(image, 'Qmask', 512, 512, 50,"
        " Gegl.Color.new('red'))\n"
        "image.insert_channel(mask, None, 0)\n"
        "write(mask, path, babl)\n"
        "image.set_selected_channels([mask])\n"
    )
    gui.picture(window, "quick-mask")
    gui.finish()
    assert gui.session.run("result = len(image.get_layers())") == 1


def test_a_text_layer_goes_into_a_new_layer(gui: Gui) -> None:
    window = gui.show(
        "text = Gimp.TextLayer.new(image, 'Words', Gimp.context_get_font(), 200,"
        " Gimp.Unit.pixel())\n"
        "image.insert_layer(text, None, 0); text.set_offsets(100, 120)\n"
        "image.set_selected_layers([text])"
    )
    shown = gui.picture(window, "text-layer")
    # What is transparent is seen as in GIMP, so that black words are, too.
    chequers = (shown == 0x99).all(axis=2), (shown == 0x66).all(axis=2)
    assert min(part[40:420, 40:600].sum() for part in chequers) > 10_000
    gui.finish()
    found = gui.session.run("result = [text.is_text_layer(), len(image.get_layers())]")
    assert found == [True, 3]
    assert gui.last("output") == "this-layer"  # for the next layer


def test_what_changed_while_the_dialog_is_open_is_said_in_it(gui: Gui) -> None:
    window = gui.show()
    before = gui.picture(window)
    gui.session.run("layer.set_lock_content(True)")
    gui.press("alt+o")
    # The dialog is still there.
    said = gui.picture(window, "locked-meanwhile", differs_from(before, 300))
    assert changed(before, said) > 300
    gui.session.run("layer.set_lock_content(False)")
    gui.finish()
    assert gui.pixels() != dark_photo().tobytes()


def test_another_selection_with_the_same_bounds_is_noticed(gui: Gui) -> None:
    window = gui.show()
    whole = gui.picture(window)
    served = gui.served()
    gui.focus_image()
    gui.desktop.focus(window)  # nothing has changed
    assert gui.served() == served

    def select(code: str) -> None:
        before = gui.session.run("result = [*Gimp.Selection.bounds(image)][2:]")
        gui.session.run(f"{code}\nGimp.displays_flush()")
        assert gui.session.run("result = [*Gimp.Selection.bounds(image)][2:]") == before

    select("image.select_ellipse(Gimp.ChannelOps.SUBTRACT, 200, 180, 100, 120)")
    with gui.renewing():
        gui.focus_image()
        gui.desktop.focus(window)
    hole = gui.picture(window, "hole-selected", differs_from(whole, 1000))
    assert changed(whole, hole) > 1000
    # Actual pixels too, and without the window changing.
    gui.press("alt+1")
    gui.picture(window, wanted=differs_from(hole, 1000))
    with_hole = gui.picture(window, "hole-at-100")
    select("image.select_ellipse(Gimp.ChannelOps.ADD, 200, 180, 100, 120)")
    with gui.renewing():
        gui.strength("1.001")
    without = gui.picture(window, "no-hole-at-100", differs_from(with_hole, 1000))
    assert changed(with_hole, without) > 1000
    gui.cancel()


def test_saturation_changes_the_preview_and_the_layer(gui: Gui) -> None:
    window = gui.show("Gimp.Selection.none(image)")
    lit = gui.picture(window)
    gui.press("alt+g", *["Tab"] * 4)  # the sliders and numbers of warmth and saturation
    gui.press("ctrl+a")
    gui.desktop.run("xdotool", "type", "--", "-1")
    gui.press("Tab")
    gray = gui.picture(window, "saturation", differs_from(lit, 5000))
    assert changed(lit, gray) > 5000
    gui.finish()
    assert float(gui.last("saturation")) == -1
    assert float(gui.last("warmth")) == 0
    after = np.frombuffer(gui.pixels(), np.uint8).reshape(512, 512, 3).astype(int)
    before = dark_photo().astype(int)
    brightened = after.mean(2) > 1.5 * before.mean(2) + 4
    assert brightened.mean() > 0.3
    assert (np.ptp(after, axis=2)[brightened] <= 1).mean() > 0.9


def test_a_daemon_killed_behind_the_dialog_is_started_again(gui: Gui) -> None:
    work = gui.session.work
    relay = work / "relay"
    relay.write_text(RELAY.format(work=str(work)), "utf-8")
    relay.chmod(0o755)
    launcher = work / "profile" / "plug-ins" / NAME / bundle.LAUNCHER
    usual = launcher.read_text("utf-8")
    recorded = json.loads(usual)
    command = [str(relay), *recorded["command"]]
    launcher.write_text(json.dumps({**recorded, "command": command}), "utf-8")
    daemons: list[Daemon] = []
    thread = threading.Thread(target=start_when_asked, args=(work, daemons))
    try:
        window = gui.show()
        lit = gui.picture(window)
        gui.strength("0.2")
        weaker = gui.picture(window, wanted=differs_from(lit, 5000))
        assert changed(lit, weaker) > 5000
        gui.daemon.kill()
        thread.start()
        gui.strength("1.0")
        again = gui.picture(window, "daemon-again", resembles(lit, 100))
        assert changed(lit, again) < 100
        assert len(daemons) == 1
        gui.cancel()
    finally:
        (work / "over").touch()
        thread.join(30)
        for daemon in daemons:
            daemon.stop()
        launcher.write_text(usual, "utf-8")
        gui.daemon.start()


def test_the_width_goes_on_where_the_automatic_was(gui: Gui) -> None:
    window = gui.show()
    lit = gui.picture(window)
    with gui.renewing():
        gui.press("alt+a")
    by_hand = gui.picture(window, "width-by-hand")
    assert changed(lit, by_hand) < 1000
    gui.press("alt+p")  # the layer as it is: what is seen of it
    narrow = gui.picture(window, wanted=differs_from(by_hand, 3000))
    assert changed(by_hand, narrow) > 3000
    with gui.renewing():
        gui.type("alt+w", "90")
    wide = gui.picture(window, "width-90")
    half = wide.shape[1] // 2
    assert (narrow[:400, :half] == wide[:400, :half]).all()
    gui.press("alt+p")
    wide_lit = gui.picture(window, wanted=differs_from(wide, 3000))
    assert changed(wide, wide_lit) > 3000
    assert changed(wide_lit, by_hand) > 3000
    gui.press("alt+a")
    gui.press("alt+a")
    gui.finish()
    assert gui.last("automatic-width") == "no"
    # A fifth of the radius of the ellipse.
    assert float(gui.last("width")) == round(0.2 * np.sqrt(200 * 240 / 4))


def stops(before: np.ndarray, after: np.ndarray) -> float:
    """By how many stops a photo is lighter, in linear light."""

    def light(photo: np.ndarray) -> float:
        part = photo / 255
        linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
        return float((linear @ [0.2126, 0.7152, 0.0722]).mean())

    return float(np.log2(light(after) / light(before)))


@pytest.mark.parametrize("key", ["Return", ""], ids=["entered", "ok-at-once"])
def test_a_typed_number_of_stops_sets_the_strength(gui: Gui, key: str) -> None:
    window = gui.show("Gimp.Selection.none(image)")
    lit = gui.picture(window)
    gui.type("alt+e", "+1.5 EV", key)
    if key:
        # Less than what the strength of the defaults gives.
        typed = gui.picture(window, "stops-typed", differs_from(lit, 5000))
        assert changed(lit, typed) > 5000
    gui.finish()
    after = np.frombuffer(gui.pixels(), np.uint8).reshape(512, 512, 3)
    assert abs(stops(dark_photo(), after) - 1.5) < 0.1
    assert 0.1 < float(gui.last("strength")) < 0.9


def test_more_stops_than_possible_give_the_most(gui: Gui) -> None:
    window = gui.show()
    with gui.renewing():
        gui.type("alt+e", "9", "Return")
    said = gui.picture(window, "too-many-stops")
    below = np.s_[said.shape[0] - 150 : said.shape[0] - 115, : said.shape[1] // 2]
    # Actual pixels that arrive do not take the sentence away, and another setting does.
    gui.press("alt+1")
    actual = gui.picture(window, "too-many-stops-at-100", differs_from(said, 3000))
    assert (actual[below] == said[below]).all()
    gui.strength("1.9")
    less = gui.picture(window, wanted=lambda now: bool((now[below] != said[below]).any()))
    assert (less[below] != said[below]).any()
    gui.strength("2")
    gui.finish()
    assert float(gui.last("strength")) == 2.0


def test_a_layer_mask_is_worked_on_whatever_the_last_output_was(gui: Gui) -> None:
    gui.show()
    gui.press("alt+u")
    gui.press("Down", "Down")  # New layer with mask
    gui.finish()
    assert gui.last("output") == "new-layer-with-mask"
    gui.leave()

    masked = (
        "mask = layer.create_mask(Gimp.AddMaskType.COPY); layer.add_mask(mask)\n"
        "read(mask, 'Y u8', 'before.raw')"
    )
    window = gui.show(masked)
    gui.picture(window, "layer-mask")
    gui.finish()
    assert gui.last("output") == "new-layer-with-mask"  # for the next layer
    gui.session.run("read(mask, 'Y u8', 'after.raw'); read(layer, None, 'layer.raw')")
    before, after = (
        gui.session.get((512, 512), np.uint8, f"{name}.raw").astype(int)
        for name in ("before", "after")
    )
    assert (after - before)[200:280, 200:300].mean() > 5
    assert np.array_equal(after[:80], before[:80])
    assert np.array_equal(gui.session.get((512, 512, 3), np.uint8, "layer.raw"), dark_photo())


def test_without_a_selection_the_dialog_says_what_will_change(gui: Gui) -> None:
    window = gui.show("Gimp.Selection.none(image)")
    gui.picture(window, "no-selection")


def test_a_few_pixels_are_magnified(gui: Gui) -> None:
    window = gui.show("image.select_rectangle(Gimp.ChannelOps.REPLACE, 250, 250, 1, 1)")
    shown = gui.picture(window, "one-pixel")
    # The picture fills the room: one pixel of the layer is a square of at least 5 by 5.
    assert shows_picture(shown)
    part = shown[100:400, 100:500].astype(int)
    same = (np.abs(np.diff(part, axis=1)).sum(axis=2) == 0).mean()
    assert same > 0.75


def test_the_preview_grows_with_the_window(gui: Gui) -> None:
    window = gui.show()
    width, height = gui.size(window)
    larger = str(width + 200), str(height + 200)
    with gui.renewing():
        gui.desktop.run("xdotool", "windowsize", "--sync", window, *larger)
    shown = gui.picture(window, "grown")
    assert shown.shape[:2] == (height + 200, width + 200)
    part = shown[60 : height + 20, 40:300]
    assert part.std() > 8
    with gui.renewing():
        gui.desktop.run("xdotool", "windowsize", "--sync", window, "200", "200")
    gui.picture(window, "shrunk")
    small = gui.size(window)
    assert small[0] < width and small[1] < height


def test_a_model_for_research_is_used_where_it_was_asked_for(gui: Gui) -> None:
    launcher = gui.session.work / "profile" / "plug-ins" / NAME / bundle.LAUNCHER
    usual = launcher.read_text("utf-8")
    models = offered(research=True)
    launcher.write_text(json.dumps({**json.loads(usual), "models": models}), "utf-8")
    try:
        window = gui.show()
        lit = gui.picture(window)
        gui.press("alt+m")
        gui.press(*["Down"] * list(models).index("lantern-uieb-research"))
        other = gui.picture(window, "research-model", differs_from(lit, 5000))
        assert changed(lit, other) > 5000
        gui.finish()
        assert gui.last("model") == "lantern-uieb-research"
        gui.leave()
        gui.show()
        gui.press("alt+m")
        gui.press("Home")
        gui.finish()
        assert gui.last("model") == "default"
    finally:
        launcher.write_text(usual, "utf-8")


def test_settings_are_kept_as_a_preset(gui: Gui) -> None:
    file = gui.settings / "maskupe-local-underexposure-presets.json"

    def first_preset(window: str) -> None:
        _, height = gui.size(window)
        place = ("180", str(height - 41))  # beside Help
        with gui.menu_opening():
            gui.desktop.run("xdotool", "mousemove", "--window", window, *place, "click", "1")
        gui.press("Down", "Return")

    window = gui.show()
    lit = gui.picture(window)
    gui.strength("0.4")
    weaker = gui.picture(window, wanted=differs_from(lit, 3000))
    first_preset(window)  # Save as preset…
    naming = gui.desktop.window("^Save as preset$")
    gui.desktop.focus(naming)
    gui.desktop.run("xdotool", "type", "Soft light")
    gui.look(naming, "preset-name")
    gui.press("Return")
    assert gui.desktop.gone("^Save as preset$")
    assert gui.until(file.exists)
    presets = json.loads(file.read_text("utf-8"))["presets"]
    assert list(presets) == ["Soft light"]
    assert presets["Soft light"]["strength"] == 0.4
    gui.desktop.focus(window)
    gui.strength("1.0")
    lit = gui.picture(window, wanted=differs_from(weaker, 3000))
    assert changed(weaker, lit) > 3000
    first_preset(window)

    def off(picture: Picture) -> int:
        """Return by how many pixels it differs above the pointer, which has a tip."""
        return changed(weaker[:430], picture[:430])

    assert off(gui.picture(window, "preset", lambda picture: off(picture) < 100)) < 100
    gui.finish()
    assert float(gui.last("strength")) == 0.4


BROWSER = """[Desktop Entry]
Type=Application
Name=Browser
Exec=/bin/sh -c "echo '%u' > {told}"
MimeType=text/html;
"""


def test_help_opens_the_page_of_the_plug_in(gui: Gui) -> None:
    told = gui.session.work / "browsed"
    applications = gui.session.work / "home" / ".local" / "share" / "applications"
    applications.mkdir(parents=True)
    (applications / "browser.desktop").write_text(BROWSER.format(told=told), "utf-8")
    (applications / "mimeapps.list").write_text(
        "[Default Applications]\ntext/html=browser.desktop\n", "utf-8"
    )
    gui.show()
    gui.press("alt+h")
    assert gui.until(lambda: told.exists() and told.stat().st_size > 0)
    assert told.read_text("utf-8").strip().endswith("help/en/local-underexposure.html")


def test_the_dialog_fits_a_netbook(installed_gimp: Gimp) -> None:
    with Gui.opened(installed_gimp, (1024, 600)) as gui:
        window = gui.show()
        gui.desktop.screenshot("netbook")
        width, height = gui.size(window)
        assert width <= 1024 and height <= 600 - 20  # the title needs some


def test_a_screen_of_high_density_gets_a_sharp_preview(installed_gimp: Gimp) -> None:
    photo = np.tile(dark_photo(), (4, 4, 1))
    with Gui.opened(installed_gimp, (2720, 1800), {"GDK_SCALE": "2"}) as gui:
        window = gui.show("Gimp.Selection.none(image)", photo)
        shown = gui.picture(window, "sharp").astype(int)[200:800, 300:900]
        # Doubled pixels come in pairs.
        even = np.abs(np.diff(shown, axis=1)).sum(axis=2) == 0
        assert min(even[:, ::2].mean(), even[:, 1::2].mean()) < 0.5
        assert max(even[:, ::2].mean(), even[:, 1::2].mean()) < 0.5
