"""The dialog in German: the plug-in's own words and GIMP's."""

from __future__ import annotations

from maskupe_gimp import translations
from tests.gimp.finding import Gimp
from tests.gimp.gui import Gui, shows_picture
from tests.gimp.photo import babl, dark_photo

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


def test_the_dialog_is_in_german(installed_gimp: Gimp) -> None:
    with Gui.opened(installed_gimp, NETBOOK, GERMAN) as gui:
        assert gui.session.run(WORDS) == ["_Zurücksetzen", "_Abbrechen"]
        photo = dark_photo()
        shown = gui.session.begin(SHOW, path=gui.session.put(photo), babl=babl(photo))
        title = f"^{translations.read(translations.translations()['de'])['Local Underexposure']}$"
        window = gui.desktop.window(title)
        gui.desktop.focus(window)
        assert gui.until(lambda: gui.served() > 0)
        assert shows_picture(gui.picture(window, "german", shows_picture))
        for _ in range(2):
            width, height = gui.size(window)
            assert width <= NETBOOK[0] and height <= NETBOOK[1] - 20
            # What is switched on is in bold type, and wider.
            gui.press("alt+t", "alt+b", "alt+w")
            gui.picture(window, "german-all-on")
        gui.press("Escape")
        assert gui.desktop.gone(title)
        gui.session.finish(shown)
