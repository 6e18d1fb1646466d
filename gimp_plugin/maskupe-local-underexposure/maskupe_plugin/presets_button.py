"""The dialog's button for presets: a menu of them, and of what can be done with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from gi.repository import Gimp, Gtk

from maskupe_plugin.i18n import _
from maskupe_plugin.presets import ARGUMENTS, LONGEST, DamagedError, Preset, Presets

_Result = TypeVar("_Result")
_FILE = "maskupe-local-underexposure-presets.json"


class PresetsButton:
    """A button with a menu, in ``button``.

    Args:
        config: the procedure's arguments.
        tell: called with a text for the user.
    """

    def __init__(self, config: Gimp.ProcedureConfig, tell: Callable[[str], None]) -> None:
        self._config = config
        self._tell = tell
        self._file = Path(Gimp.directory()) / "plug-in-settings" / _FILE
        self._presets = Presets(self._file)
        self._menu = Gtk.Menu()
        self.button = Gtk.MenuButton(label=_("Presets"))
        self.button.set_popup(self._menu)
        self.button.set_tooltip_text(_("Settings that you have saved under a name"))
        # The menu is made when it is opened: another GIMP may have saved one meanwhile.
        self.button.connect("toggled", self._toggled)
        self._fill()

    def _toggled(self, button: Gtk.MenuButton) -> None:
        if button.get_active():
            self._fill()

    def _fill(self) -> None:
        for item in self._menu.get_children():
            self._menu.remove(item)
        presets = self._try(self._presets.read) or {}
        for name, values in presets.items():
            self._add(self._menu, name, self._use, values)
        if presets:
            self._menu.append(Gtk.SeparatorMenuItem())
        self._add(self._menu, _("Save as preset…"), self._ask_name)
        if presets:
            deleting = Gtk.MenuItem(label=_("Delete preset"))
            names = Gtk.Menu()
            for name in presets:
                self._add(names, name, self._delete, name)
            deleting.set_submenu(names)
            self._menu.append(deleting)
        self._menu.show_all()

    def _try(self, work: Callable[[], _Result]) -> _Result | None:
        """Do something with the file, or tell why that is not possible."""
        try:
            return work()
        except DamagedError:
            text = _("The presets in {file} cannot be read. Repair or remove the file.")
            self._tell(text.format(file=self._file))
        except OSError as error:
            text = _("The file of presets, {file}, cannot be used: {reason}.")
            self._tell(text.format(file=self._file, reason=error.strerror))
        return None

    @staticmethod
    def _add(menu: Gtk.Menu, label: str, action: Callable[..., None], *about: object) -> None:
        item = Gtk.MenuItem(label=label)
        item.connect("activate", lambda _item: action(*about))
        menu.append(item)

    def _use(self, values: Preset) -> None:
        for name, value in values.items():
            kind = type(self._config.get_property(name))
            # GIMP itself keeps numbers within their bounds, and choices to those that there are.
            if isinstance(value, kind) or (kind is float and type(value) is int):
                self._config.set_property(name, kind(value))

    def _delete(self, name: str) -> None:
        self._try(lambda: self._presets.delete(name))

    def _ask_name(self) -> None:
        asking = Gtk.Dialog(title=_("Save as preset"), modal=True)
        window = self.button.get_toplevel()
        if isinstance(window, Gtk.Window):
            asking.set_transient_for(window)
        asking.add_button(_("Cancel"), Gtk.ResponseType.CANCEL)
        saving = asking.add_button(_("Save"), Gtk.ResponseType.OK)
        saving.set_sensitive(False)
        asking.set_default_response(Gtk.ResponseType.OK)
        entry = Gtk.Entry(max_length=LONGEST, activates_default=True, width_chars=30)
        label = Gtk.Label(label=_("Name:"))
        line = Gtk.Box(spacing=6, border_width=12)
        line.pack_start(label, False, False, 0)
        line.pack_start(entry, True, True, 0)
        asking.get_content_area().pack_start(line, False, False, 0)
        entry.connect("changed", lambda entry: saving.set_sensitive(bool(_name_in(entry))))
        line.show_all()
        if asking.run() == Gtk.ResponseType.OK and _name_in(entry):
            values = {name: self._config.get_property(name) for name in ARGUMENTS}
            self._try(lambda: self._presets.save(_name_in(entry), values))
        asking.destroy()


def _name_in(entry: Gtk.Entry) -> str:
    return str(entry.get_text().strip())
