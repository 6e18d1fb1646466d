"""The dialog's check button for following edges: on or off; only scripts say how far."""

from __future__ import annotations

from gi.repository import Gimp, Gtk

from maskupe_plugin.i18n import _
from maskupe_plugin.region import AUTO, OFF
from maskupe_plugin.settings import settings_of


class EdgesButton:
    """A check button, in ``button``, for the argument ``edges``."""

    def __init__(self, config: Gimp.ProcedureConfig) -> None:
        self._config = config
        #: What it sets when it is ticked: the number of pixels that a script may have left there.
        self._ticked = AUTO
        self.button = Gtk.CheckButton(label=_("_Follow edges"), use_underline=True)
        self.button.set_tooltip_text(
            _(
                "Near the selection's outline let the light follow the subject's edges, "
                "so that the outline need not be exact"
            )
        )
        self._read()
        self.button.connect("toggled", self._write)
        config.connect("notify::edges", lambda *_changed: self._read())

    def _read(self) -> None:
        followed = settings_of(self._config).edges not in (OFF, 0.0)
        if followed:
            self._ticked = self._config.get_property("edges")
        self.button.set_active(followed)

    def _write(self, button: Gtk.CheckButton) -> None:
        wanted = self._ticked if button.get_active() else OFF
        if wanted != self._config.get_property("edges"):
            self._config.set_property("edges", wanted)
