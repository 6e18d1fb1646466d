"""The dialog. Imported only when one is shown: a batch run has no display."""

from __future__ import annotations

import gi

gi.require_version("Gtk", "3.0")
gi.require_version("GimpUi", "3.0")
from gi.repository import Gimp, GimpUi  # noqa: E402

from maskupe_plugin.words import _  # noqa: E402

_ROWS = ["strength", "automatic-width", "width", "side", "model", "output"]


def ask(procedure: Gimp.Procedure, config: Gimp.ProcedureConfig) -> bool:
    """Shows the dialog; True if the user pressed OK. The values are then in ``config``."""
    GimpUi.init(procedure.get_name())
    dialog = GimpUi.ProcedureDialog.new(procedure, config, _("Local Underexposure"))
    dialog.get_scale_entry("strength", 1.0)
    dialog.fill(_ROWS)
    accepted = dialog.run()
    dialog.destroy()
    return accepted
