"""The procedure as GIMP knows it: name, menu entry, arguments, and what a call does."""

from __future__ import annotations

from pathlib import Path

from gi.repository import Gimp, Gio, GLib

from maskupe_plugin import log
from maskupe_plugin.checks import UserError
from maskupe_plugin.i18n import _
from maskupe_plugin.settings import add_arguments

_HELP = Path(__file__).parent.parent / "help"
_HELP_DOMAIN = "maskupe-local-underexposure"
PROCEDURE = "plug-in-maskupe-local-underexposure"


class MaskUPE(Gimp.PlugIn):
    """The plug-in; GIMP asks it for its procedure and calls that."""

    def do_set_i18n(self, _name: str) -> bool:
        """No catalogue for GIMP to load: the texts come translated."""
        return False

    def do_query_procedures(self) -> list[str]:
        """Return names of the procedures; also where their help is, which can only be said here."""
        self.set_help_domain(_HELP_DOMAIN, Gio.File.new_for_path(str(_HELP)))
        return [PROCEDURE]

    def do_create_procedure(self, name: str) -> Gimp.Procedure:
        """Describe the procedure; this has to be quick, GIMP waits for it while starting."""
        procedure = Gimp.ImageProcedure.new(self, name, Gimp.PDBProcType.PLUGIN, _run, None)
        procedure.set_image_types("*")
        procedure.set_sensitivity_mask(Gimp.ProcedureSensitivityMask.DRAWABLE)
        procedure.set_menu_label(_("_Local Underexposure…"))
        procedure.add_menu_path("<Image>/Filters/Enhance")
        procedure.set_documentation(
            _("Light up the selected part and leave the rest alone"),
            _(
                "Lights up the selected part of the layer with a neural network and fades out "
                "across its edge. Without a selection the whole layer is lit up. The work is done "
                "by the MaskUPE daemon, which is started if it is not running. Works on RGB and "
                "grayscale layers at every precision; outside of the transition no pixel changes."
            ),
            name,
        )
        procedure.set_attribution("The MaskUPE maintainers", "The MaskUPE maintainers", "2026")
        add_arguments(procedure)
        return procedure


def _run(
    procedure: Gimp.Procedure,
    run_mode: Gimp.RunMode,
    image: Gimp.Image,
    drawables: list[Gimp.Drawable],
    config: Gimp.ProcedureConfig,
    _data: object,
) -> Gimp.ValueArray:
    try:
        # Imported only now: a query has to be cheap, and these need the vendored client.
        from maskupe_plugin import run

        if run_mode == Gimp.RunMode.INTERACTIVE:
            done = run.run_interactive(procedure, image, drawables, config)
            if not done:
                return procedure.new_return_values(Gimp.PDBStatusType.CANCEL, None)
        else:
            if run_mode == Gimp.RunMode.WITH_LAST_VALS:
                run.fit_output(drawables, config)
            run.run_noninteractive(image, drawables, config)
    except UserError as refusal:
        return _failed(procedure, str(refusal))
    except Exception as error:
        log.failure("A run failed.")
        text = _("Something went wrong inside the plug-in ({error}). Details are in {log}.")
        return _failed(procedure, text.format(error=error, log=log.log_file()))
    return procedure.new_return_values(Gimp.PDBStatusType.SUCCESS, None)


def _failed(procedure: Gimp.Procedure, text: str) -> Gimp.ValueArray:
    error: GLib.Error = GLib.Error.new_literal(Gimp.PlugIn.error_quark(), text, 0)
    return procedure.new_return_values(Gimp.PDBStatusType.EXECUTION_ERROR, error)
