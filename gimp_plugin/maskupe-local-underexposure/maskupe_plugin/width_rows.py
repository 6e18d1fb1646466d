"""The dialog's rows for the transition's width: automatic or a number, and what it comes to."""

from __future__ import annotations

import math

from gi.repository import Gimp, GimpUi, Gtk

from maskupe_plugin.i18n import _
from maskupe_plugin.region import Box
from maskupe_plugin.settings import MAX_WIDTH

_NARROWEST_RANGE = 20.0


class WidthRows:
    """The check button ``automatic``, the label ``measure``, and a slider in pixels.

    Args:
        config: the procedure's arguments.
        slider: the one for ``width``.
        bounds: of the selection, after which the slider's range goes; None without one.
    """

    def __init__(
        self, config: Gimp.ProcedureConfig, slider: GimpUi.ScaleEntry, bounds: Box | None
    ) -> None:
        self._config = config
        self._slider = slider
        self._selected = bounds is not None
        #: The width in pixels that the automatic came to.
        self._found: float | None = None
        self.measure = Gtk.Label(xalign=0.0, margin_start=24)
        self.measure.get_style_context().add_class("dim-label")
        about = config.find_property("automatic-width")
        self.automatic = Gtk.CheckButton(label=about.nick, use_underline=True)
        self.automatic.set_tooltip_text(about.blurb)
        self._read()
        self.automatic.connect("toggled", self._write)
        config.connect("notify::automatic-width", lambda *_changed: self._read())
        if bounds is not None:
            # The number beside it still takes any width.
            most = max(_range(bounds), config.get_property("width"))
            slider.set_bounds(0.0, most, True)
        self.automatic.set_sensitive(self._selected)
        if not self._selected:
            self.measure.set_text(_("Nothing is selected: the whole layer is lit up"))

    def show(self, pixels: float) -> None:
        """Tell how wide the transition is."""
        if not self._selected:
            return
        if self._config.get_property("automatic-width"):
            self._found = pixels
        text = _("The transition is {pixels:.0f} px wide") if pixels >= 0.5 else _("A hard edge")
        self.measure.set_text(text.format(pixels=pixels))

    def _read(self) -> None:
        automatic = self._config.get_property("automatic-width")
        self.automatic.set_active(automatic)
        self._slider.set_sensitive(self._selected and not automatic)

    def _write(self, button: Gtk.CheckButton) -> None:
        automatic = button.get_active()
        if automatic == self._config.get_property("automatic-width"):
            return
        if not automatic and self._found is not None:
            # What was there goes on, until another number is wanted.
            self._config.set_property("width", float(round(min(self._found, MAX_WIDTH))))
        self._config.set_property("automatic-width", automatic)


def _range(bounds: Box) -> float:
    """The widest transition on the slider: about half of the selection, as a round number."""
    wanted = max(_NARROWEST_RANGE, 0.5 * min(bounds.width, bounds.height))
    power = 10.0 ** math.floor(math.log10(wanted))
    return min(next(n * power for n in (1.0, 2.0, 5.0, 10.0) if n * power >= wanted), MAX_WIDTH)
