"""The entry below the preview: by how many stops it is lighter, and how many are wanted."""

from __future__ import annotations

import locale
import time
from collections.abc import Callable

from gi.repository import Gimp, GLib, Gtk

from maskupe_plugin.exposure import NEAR, StrengthSearch, read_stops
from maskupe_plugin.i18n import _
from maskupe_plugin.settings import MAX_STRENGTH

#: Seconds that OK waits for the strength that belongs to a number typed right before.
_PATIENCE = 5.0
#: Differences in strength that the slider does not show.
_SAME = 0.0006


class ExposureEntry:
    """An entry between its label and its unit, in ``box``, which is hidden without a number.

    Args:
        config: the procedure's arguments, of which it sets the strength.
        tell: called with a text for the person.
    """

    def __init__(self, config: Gimp.ProcedureConfig, tell: Callable[[str], None]) -> None:
        self._config = config
        self._tell = tell
        self._known: tuple[float, float] | None = None  # a strength, and the stops that it gives
        self._search: StrengthSearch | None = None
        self._tried = 0.0
        self._written = ""  # what stands there until something is typed
        self._entry = Gtk.Entry(width_chars=6, max_width_chars=6, xalign=1.0)
        self._entry.set_tooltip_text(
            _(
                "How much lighter the selected area becomes on average, in photographic stops. "
                "Type a number to have the strength set accordingly"
            )
        )
        self._entry.connect("activate", self._typed)
        self._entry.connect("focus-out-event", self._typed)
        label = Gtk.Label(label=_("S_elected area:"), use_underline=True)
        label.set_mnemonic_widget(self._entry)
        self.box = Gtk.Box(spacing=6)
        for widget in (label, self._entry, Gtk.Label(label=_("EV"))):
            self.box.pack_start(widget, False, False, 0)
        self.box.show_all()
        self.box.hide()
        # Without a number it would push what is beside it to the right.
        self.box.set_no_show_all(True)

    def show(self, strength: float, stops: float | None) -> None:
        """Show what a strength gives, or go on looking for the one that gives what was typed."""
        self._known = None if stops is None else (strength, stops)
        self.box.set_visible(stops is not None)
        search = self._search
        if search is None or stops is None or self._moved():
            self._search = None
            if self._entry.get_text() == self._written:
                self._write()
        elif abs(strength - self._tried) < _SAME:
            self._step(search, strength, stops)

    def settle(self) -> None:
        """Take what was typed, and wait for its strength."""
        self._typed()
        deadline = time.monotonic() + _PATIENCE
        timer = GLib.timeout_add(50, lambda: True)
        while self._search is not None and time.monotonic() < deadline:
            GLib.MainContext.default().iteration(True)
        GLib.source_remove(timer)

    def _moved(self) -> bool:
        """Return whether the strength was set otherwise meanwhile."""
        strength: float = self._config.get_property("strength")
        return abs(strength - self._tried) >= _SAME

    def _typed(self, *_event: object) -> bool:
        if self._known is None or self._entry.get_text() == self._written:
            return False
        try:
            stops = read_stops(self._entry.get_text())
        except ValueError:
            self._write()
            return False
        self._written = self._entry.get_text()
        self._step(StrengthSearch(stops, MAX_STRENGTH), *self._known)
        return False  # the event goes on

    def _step(self, search: StrengthSearch, strength: float, stops: float) -> None:
        wanted = search.next(strength, stops)
        if wanted is not None:
            self._search, self._tried = search, wanted
            self._config.set_property("strength", wanted)
            return
        self._search = None
        self._write()
        if abs(stops - search.stops) > NEAR:
            self._tell(_("The strength cannot go further here."))

    def _write(self) -> None:
        # With the decimal sign of the user's language, as GIMP's sliders.
        stops = "" if self._known is None else locale.format_string("%+.1f", self._known[1])
        self._written = stops
        self._entry.set_text(stops)
