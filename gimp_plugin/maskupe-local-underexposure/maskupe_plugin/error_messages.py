"""What can go wrong with the daemon, in the user's language.

The client and the daemon speak English. Where the user does not, their errors are told by their
codes, and what they said follows in brackets where it may hold more than the code does.
"""

from __future__ import annotations

from maskupe_client.errors import ClientError
from maskupe_plugin.i18n import _, translated

_START = _("Start it with the command “maskupe-daemon” and try again.")
_RESTART = _("Restart the daemon.")
_UPDATE = _("Update MaskUPE, run “maskupe-gimp install”, and restart the daemon and GIMP.")
_SMALLER = _("Select a smaller part, work at a lower precision, or close other programs.")

_BY_CODE = {
    "not-running": (_("The MaskUPE daemon is not running."), _START),
    "link-down": (
        _("The link to the MaskUPE daemon on another machine is down."),
        _("Wait until it is restored, or run “maskupe-daemon stop” to work on this machine."),
    ),
    "not-answering": (_("The MaskUPE daemon does not answer."), _RESTART),
    "lost": (
        _("The MaskUPE daemon stopped in the middle of the work; the layer is unchanged."),
        _START,
    ),
    "refused": (_("The MaskUPE daemon did not let GIMP in."), _RESTART),
    "version": (_("The MaskUPE daemon and the plug-in are of different versions."), _UPDATE),
    "unsupported": (_("The MaskUPE daemon and the plug-in are of different versions."), _UPDATE),
    "busy": (_("The daemon has too many jobs waiting."), _("Try again in a moment.")),
    "shutting-down": (_("The daemon is just stopping."), _START),
    "too-large": (_("The region is larger than the daemon takes."), _SMALLER),
    "out-of-memory": (_("There is not enough free memory for this job."), _SMALLER),
    "empty-selection": (
        _("Nothing is selected strongly enough to be lit up."),
        _("Select more, or feather less."),
    ),
    "unknown-model": (
        _("The daemon does not have this model."),
        _("Choose another model in the dialog; “maskupe models” lists them."),
    ),
    "bad-weights": (
        _("The model's weight file is missing or damaged."),
        _("Choose another model, or install MaskUPE again."),
    ),
}
_OTHER = (_("The daemon could not do the job."), _("The daemon's log has the details."))
#: Codes behind which there are numbers, names or reasons.
_DETAILED = {"refused", "too-large", "out-of-memory", "unknown-model", "bad-weights"}


def message_for(error: ClientError) -> tuple[str, str]:
    """Return what happened and what to do, for the user."""
    if not translated():
        return error.message, error.hint
    message, hint = _BY_CODE.get(error.code, _OTHER)
    if error.code in _DETAILED or error.code not in _BY_CODE:
        message = f"{message} ({error.message})"
    return message, hint
