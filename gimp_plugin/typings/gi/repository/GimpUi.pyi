"""What the plug-in uses of GIMP 3's widgets.

Functions that GIMP declares to return any widget have the type here that they do return.
"""

from typing import overload

from gi.repository import Gimp, GObject, Gtk

class Labeled(Gtk.Grid):
    def get_label(self) -> Gtk.Label: ...

class LabelSpin(Labeled): ...

class ScaleEntry(LabelSpin):
    def get_range(self) -> Gtk.Range: ...
    def set_bounds(self, lower: float, upper: float, limit_scale: bool) -> None: ...

class Dialog(Gtk.Dialog): ...

class ProcedureDialog(Dialog):
    @staticmethod
    def new(  # type: ignore[override]
        procedure: Gimp.Procedure, config: Gimp.ProcedureConfig, title: str | None
    ) -> ProcedureDialog: ...
    def get_scale_entry(self, property: str, factor: float) -> ScaleEntry: ...
    @overload
    def get_widget(self, property: str, widget_type: type[Gtk.ComboBox]) -> Labeled: ...
    @overload
    def get_widget(self, property: str, widget_type: type[Gtk.CheckButton]) -> Gtk.CheckButton: ...
    def run(self) -> bool: ...
    def set_sensitive(  # type: ignore[override]
        self,
        property: str,
        sensitive: bool,
        config: GObject.Object | None,
        config_property: str | None,
        config_invert: bool,
    ) -> None: ...

def init(prog_name: str) -> None: ...
