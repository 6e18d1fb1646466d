"""The buttons for the preview's zoom."""

from __future__ import annotations

from collections.abc import Callable

from gi.repository import Gtk

from maskupe_plugin.i18n import _

#: What is seen.
LAYER, SELECTION, MAGNIFIED = "layer", "selection", "magnified"

#: Themes make buttons so wide that the dialog would not fit on small screens.
_NARROW = b"button { padding: 3px 8px; min-width: 8px; min-height: 0; }"

Action = Callable[[], None]


class ZoomControl:
    """Farther, the fitted views, actual pixels, nearer, and the zoom in percent, in ``box``.

    Args:
        step: called with -1 for farther and 1 for nearer.
        layer: called to show the whole layer.
        selection: called to show the selection and its surroundings.
        actual: called for actual pixels.
    """

    def __init__(
        self, step: Callable[[int], None], layer: Action, selection: Action, actual: Action
    ) -> None:
        self._showing = False
        self._percent = Gtk.Label(width_chars=6, xalign=1.0)
        self._percent.get_style_context().add_class("dim-label")
        self._farther = Gtk.Button(label="\N{MINUS SIGN}")
        self._nearer = Gtk.Button(label="+")
        self._layer = Gtk.ToggleButton(label=_("La_yer"), use_underline=True)
        self._selection = Gtk.ToggleButton(label=_("Selection"))
        self._actual = Gtk.ToggleButton(label=_("_100 %"), use_underline=True)
        self._farther.connect("clicked", lambda _button: step(-1))
        self._nearer.connect("clicked", lambda _button: step(1))
        for toggle, action in (
            (self._layer, layer),
            (self._selection, selection),
            (self._actual, actual),
        ):
            toggle.connect("clicked", self._clicked, action)
        self._farther.set_tooltip_text(_("Zoom out; also with the mouse wheel or the minus key"))
        self._nearer.set_tooltip_text(_("Zoom in; also with the mouse wheel or the plus key"))
        self._layer.set_tooltip_text(_("Show the whole layer"))
        self._selection.set_tooltip_text(_("Show the selection's surroundings only"))
        self._actual.set_tooltip_text(
            _(
                "Show the result's actual pixels, as OK makes them: drag to move. "
                "Also with a double click or the key 1, and back with the key 0"
            )
        )
        buttons = Gtk.Box()
        buttons.get_style_context().add_class("linked")
        for button in (
            self._farther,
            self._layer,
            self._selection,
            self._actual,
            self._nearer,
        ):
            buttons.pack_start(button, False, False, 0)
        style = Gtk.CssProvider()
        style.load_from_data(_NARROW)
        for child in buttons.get_children():
            priority = Gtk.STYLE_PROVIDER_PRIORITY_APPLICATION
            child.get_style_context().add_provider(style, priority)
        self.box = Gtk.Box(spacing=6, valign=Gtk.Align.CENTER)
        self.box.pack_start(self._percent, False, False, 0)
        self.box.pack_start(buttons, False, False, 0)

    def show(self, zoom: float, view: str, selected: bool, nearer: bool) -> None:
        """Show the zoom.

        Args:
            zoom: pixels of the screen per pixel of the layer.
            view: ``LAYER`` or ``SELECTION`` for a fitted view, ``MAGNIFIED`` for another.
            selected: whether there is a selection.
            nearer: whether there is a larger zoom.
        """
        self._showing = True
        self._percent.set_text(f"{100 * zoom:.0f} %" if zoom >= 0.1 else f"{100 * zoom:.1f} %")
        self._layer.set_active(view == LAYER)
        self._selection.set_active(view == SELECTION)
        self._selection.set_sensitive(selected)
        self._actual.set_active(view == MAGNIFIED and zoom == 1)
        self._farther.set_sensitive(view == MAGNIFIED)
        self._nearer.set_sensitive(nearer)
        self._showing = False

    def _clicked(self, _button: Gtk.ToggleButton, action: Action) -> None:
        # Setting a toggle button's state counts as a click on it.
        if not self._showing:
            action()
