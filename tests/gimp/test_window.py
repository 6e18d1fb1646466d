"""The plug-in as a photographer uses it: menu, dialog with live preview, undo, repeat, cancel.

Set MASKUPE_SCREENSHOTS to a folder to keep the pictures.
"""

from __future__ import annotations

import json

import numpy as np

from maskupe_gimp import NAME, bundle
from tests.gimp.gui import TITLE, Gui, changed, differs_from, resembles, shows_picture
from tests.gimp.photo import dark_photo

SAVED = "GimpProcedureConfigRun-plug-in-maskupe-local-underexposure.default"


def test_the_preview_follows_the_slider(gui: Gui) -> None:
    window = gui.show()
    lit = gui.picture(window, "dialog")
    gui.strength("0.2")
    weaker = gui.picture(window, "weaker", differs_from(lit, 5000))
    assert changed(lit, weaker) > 5000
    gui.strength("1.0")
    assert changed(lit, gui.picture(window, wanted=resembles(lit, 100))) < 100


def test_split_view_transition_and_preview_toggles(gui: Gui) -> None:
    window = gui.show()
    lit = gui.picture(window)
    gui.press("alt+v")
    split = gui.picture(window, "split-view", differs_from(lit, 3000))
    assert changed(lit, split) > 3000
    gui.press("alt+t")
    transition = gui.picture(window, "transition", differs_from(split, 300))
    assert changed(split, transition) > 300
    gui.press("alt+t", "alt+v")
    # All but the focus, which is with a toggle now.
    assert changed(lit, gui.picture(window, wanted=resembles(lit, 1000))) < 1000
    gui.press("alt+p")
    assert changed(lit, gui.picture(window, "off", differs_from(lit, 5000))) > 5000


def test_following_edges_renews_the_preview(gui: Gui) -> None:
    window = gui.show()
    for name in ("edges-off", "edges-on"):
        before = gui.served()
        with gui.renewing():
            gui.press("alt+f")
        gui.picture(window, name)
        assert gui.served() == before + 1


def test_ok_is_one_undo_step(gui: Gui) -> None:
    gui.show()
    before = gui.pixels()
    gui.finish()
    after = gui.pixels()
    assert after != before
    gui.focus_image()
    gui.desktop.screenshot("done")
    gui.press("ctrl+z")
    assert gui.until(lambda: gui.pixels() == before)
    assert not gui.session.run("result = Gimp.Selection.is_empty(image)")
    active = "result = [item == layer for item in image.get_selected_layers()]"
    assert gui.session.run(active) == [True]
    gui.desktop.screenshot("undone")
    gui.press("ctrl+y")
    assert gui.until(lambda: gui.pixels() == after)


def test_repeat_with_the_last_values(gui: Gui) -> None:
    gui.show()
    before = gui.pixels()
    gui.strength("0.6")
    gui.finish()
    after = gui.pixels()
    gui.focus_image()
    gui.press("ctrl+z")
    assert gui.until(lambda: gui.pixels() == before)
    gui.press("ctrl+f")
    assert gui.until(lambda: gui.pixels() == after)


def test_last_values_saved_settings_and_defaults(gui: Gui) -> None:
    window = gui.show()
    before = gui.pixels()
    lit = gui.picture(window)
    gui.press("alt+s")  # Save Settings
    assert gui.until((gui.settings / SAVED).exists)
    gui.strength("0.2")
    weaker = gui.picture(window, wanted=differs_from(lit, 5000))
    assert changed(lit, weaker) > 5000
    gui.finish()
    gui.focus_image()
    gui.press("ctrl+z")
    assert gui.until(lambda: gui.pixels() == before)

    window = gui.again()
    assert changed(weaker, gui.picture(window, "last-values", resembles(weaker, 1000))) < 1000
    gui.press("alt+l")  # Load Saved Settings
    assert changed(lit, gui.picture(window, "loaded", resembles(lit, 1000))) < 1000
    gui.strength("0.2")
    weaker = gui.picture(window, wanted=differs_from(lit, 5000))
    assert changed(lit, weaker) > 5000
    gui.press("alt+r")  # Reset; its menu is a part of the dialog, to the right
    assert gui.until(lambda: np.any(gui.look(window, "reset-menu") != weaker, 2).sum() > 5000)
    gui.press("Tab", "Return")  # its second entry: factory defaults
    assert changed(lit, gui.picture(window, "reset", resembles(lit, 1000))) < 1000
    gui.cancel()


def test_a_daemon_that_comes_back_is_used(gui: Gui) -> None:
    """The dialog is opened while no daemon can be had: it says so, and stays usable."""
    launcher = gui.session.work / "profile" / "plug-ins" / NAME / bundle.LAUNCHER
    recorded = launcher.read_text("utf-8")
    gui.open(dark_photo())
    gui.daemon.stop()
    launcher.write_text(json.dumps({**json.loads(recorded), "command": []}), "utf-8")
    try:
        gui.open_from_menu()
        window = gui.desktop.window(TITLE)
        gui.desktop.focus(window)
        said = gui.picture(window, "no-daemon", shows_picture)
        gui.daemon.start()
        gui.strength("0.9")
        back = gui.picture(window, "daemon-back", differs_from(said, 5000))
        assert changed(said, back) > 5000
        gui.cancel()
    finally:
        launcher.write_text(recorded, "utf-8")
        gui.daemon.start()


def test_cancel_ends_the_job(gui: Gui) -> None:
    """Cancel is pressed while the daemon is at work on a large photograph."""
    gui.show(photo=np.tile(dark_photo(), (14, 14, 1)), ellipse=(100, 100, 6900, 6900))
    before = gui.pixels()
    with gui.daemon.client() as client:

        def running(number: int) -> bool:
            return gui.until(lambda: client.status()["running"] == number)

        # No picture here: one of the window alone takes as long as the job does.
        gui.press("alt+o")
        assert running(1)
        gui.press("alt+c")
        assert gui.desktop.gone(TITLE)
        assert running(0)
        assert gui.pixels() == before
        window = gui.again()
        gui.press("alt+o")
        assert running(1)
        gui.look(window, "working")
        assert gui.desktop.gone(TITLE)
    assert gui.pixels() != before
