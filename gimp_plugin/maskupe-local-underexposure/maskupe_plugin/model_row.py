"""The dialog's row for the model: Automatic or its name, what it is for, and its licence."""

from __future__ import annotations

from gi.repository import Gimp, Gtk

from maskupe_plugin.i18n import _
from maskupe_plugin.launcher import Model, known_models


class ModelRow:
    """A combo box of the models that were there when the plug-in was installed, in ``box``."""

    def __init__(self, config: Gimp.ProcedureConfig) -> None:
        self._config = config
        self._models = known_models()
        self.box = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=6)
        line = Gtk.Box(spacing=6)
        #: The row's label, to be aligned with those of other rows.
        self.label = Gtk.Label(label=_("_Model"), use_underline=True, xalign=0.0)
        self._combo = Gtk.ComboBoxText()
        self._combo.set_tooltip_text(_("The neural network that decides how much light is added"))
        self.label.set_mnemonic_widget(self._combo)
        for name in self._models:
            self._combo.append(name, _("Automatic") if name == "default" else name)
        line.pack_start(self.label, False, False, 0)
        line.pack_start(self._combo, True, True, 0)
        self._about = Gtk.Label(xalign=0.0, wrap=True, max_width_chars=44)
        self._about.get_style_context().add_class("dim-label")
        self.box.pack_start(line, False, False, 0)
        self.box.pack_start(self._about, False, False, 0)
        self._read()
        self._combo.connect("changed", self._write)
        config.connect("notify::model", lambda *_changed: self._read())

    def _read(self) -> None:
        name = self._config.get_property("model") or "default"
        if name not in self._models:  # installed later, or a script's
            self._models[name] = Model()
            self._combo.append(name, name)
        if self._combo.get_active_id() != name:
            self._combo.set_active_id(name)
        model = self._models[name]
        licence = _("Licence: {licence}").format(licence=_(model.licence)) if model.licence else ""
        sentences = (_(model.purpose) if model.purpose else "", licence)
        self._about.set_text(" ".join(sentence for sentence in sentences if sentence))

    def _write(self, combo: Gtk.ComboBoxText) -> None:
        if combo.get_active_id() != self._config.get_property("model"):
            self._config.set_property("model", combo.get_active_id())
