"""The buttons for the preview's zoom."""

from __future__ import annotations

from collections.abc import Callable

from gi.repository import Gtk

from maskupe_plugin.i18n import _

Action = Callable[[], None]


class ZoomControl:
    """Farther, fitted, actual pixels, nearer, and the zoom in percent, in ``box``.

    Args:
        step: called with -1 for farther and 1 for nearer.
        fit: called for the fitted view.
        actual: called for actual pixels.
    """

    def __init__(self, step: Callable[[int], None], fit: Action, actual: Action) -> None:
        self._showing = False
        self._percent = Gtk.Label(width_chars=6, xalign=1.0)
        self._percent.get_style_context().add_class("dim-label")
        self._farther = Gtk.Button(label="\N{MINUS SIGN}")
        self._nearer = Gtk.Button(label="+")
        self._fit = Gtk.ToggleButton(label=_("Fit"))
        self._actual = Gtk.ToggleButton(label=_("_100 %"), use_underline=True)
        self._farther.connect("clicked", lambda _button: step(-1))
        self._nearer.connect("clicked", lambda _button: step(1))
        for button, action in ((self._fit, fit), (self._actual, actual)):
            button.connect("clicked", self._clicked, action)
        self._farther.set_tooltip_text(_("Zoom out; also with the mouse wheel or the minus key"))
        self._nearer.set_tooltip_text(_("Zoom in; also with the mouse wheel or the plus key"))
        self._fit.set_tooltip_text(_("Show all of it; also with the key 0"))
        self._actual.set_tooltip_text(
            _(
                "Show the result's actual pixels, as OK makes them: drag to move. "
                "Also with a double click or the key 1"
            )
        )
        buttons = Gtk.Box()
        buttons.get_style_context().add_class("linked")
        for button in (self._farther, self._fit, self._actual, self._nearer):
            buttons.pack_start(button, False, False, 0)
        self.box = Gtk.Box(spacing=6)
        self.box.pack_start(self._percent, False, False, 0)
        self.box.pack_start(buttons, False, False, 0)

    def show(self, zoom: float, fitted: bool, farther: bool, nearer: bool) -> None:
        """Show the zoom.

        Args:
            zoom: pixels of the screen per pixel of the layer.
            fitted: whether it is the fitted view.
            farther: whether there is a smaller zoom.
            nearer: whether there is a larger one.
        """
        self._showing = True
        self._percent.set_text(f"{100 * zoom:.0f} %" if zoom >= 0.1 else f"{100 * zoom:.1f} %")
        self._fit.set_active(fitted)
        self._actual.set_active(not fitted and zoom == 1)
        self._farther.set_sensitive(farther)
        self._nearer.set_sensitive(nearer)
        self._showing = False

    def _clicked(self, _button: Gtk.ToggleButton, action: Action) -> None:
        # Setting a toggle button's state counts as a click on it.
        if not self._showing:
            action()
