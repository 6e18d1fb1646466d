"""The dialog in German: the plug-in's own words and GIMP's."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from maskupe_gimp import bundle, translations
from tests.gimp.conftest import REQUIRED
from tests.gimp.daemon import Daemon
from tests.gimp.desktop import Desktop
from tests.gimp.finding import Gimp, NoGimpError
from tests.gimp.photo import babl, dark_photo
from tests.gimp.session import Session, prepare, settle

GERMAN = {"LANG": "de_DE.UTF-8", "LANGUAGE": "de"}
#: German words are longer, and must fit on a small screen too; the title needs some of it.
NETBOOK = (1024, 600)
WORDS = """
from gi.repository import GLib
result = [GLib.dgettext("gimp30-libgimp", "_Reset"), GLib.dgettext("gtk30", "_Cancel")]
"""
SHOW = """
image = new_image(512, 512)
layer = new_layer(image, 512, 512)
write(layer, path, babl)
select_ellipse(image, 150, 120, 200, 240)
show_dialog(image, [layer])
"""


@pytest.fixture
def work(installed_gimp: Gimp) -> Iterator[Path]:
    """A work folder with the plug-in installed."""
    folder = Path(tempfile.mkdtemp(prefix="maskupe-"))
    bundle.copy_to(prepare(folder))
    settle(installed_gimp, folder)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_the_dialog_is_in_german(installed_gimp: Gimp, work: Path) -> None:
    try:
        desktop = Desktop(installed_gimp, work, NETBOOK)
    except NoGimpError as error:
        if REQUIRED:
            raise
        pytest.skip(str(error))
    daemon = Daemon(work)
    daemon.start()
    session = Session(installed_gimp, work, display=desktop.display, environment=GERMAN)
    try:
        reset, cancel = session.run(WORDS)
        assert (reset, cancel) == ("_Zurücksetzen", "_Abbrechen")
        photo = dark_photo()
        session.begin(SHOW, path=session.put(photo), babl=babl(photo))
        title = f"^{translations.read(translations.translations()['de'])['Local Underexposure']}$"
        window = desktop.window(title, 60)
        time.sleep(4.0)  # until the preview is there
        assert desktop.screenshot("german").std() > 8
        told = desktop.run("xdotool", "getwindowgeometry", "--shell", window)
        size = dict(line.split("=") for line in told.split())
        assert int(size["WIDTH"]) <= NETBOOK[0] and int(size["HEIGHT"]) <= NETBOOK[1] - 20
        desktop.focus(window)
        desktop.keys("Escape")
        assert desktop.gone(title)
    finally:
        session.process.kill()
        session.close()
        desktop.close()
        daemon.stop()
