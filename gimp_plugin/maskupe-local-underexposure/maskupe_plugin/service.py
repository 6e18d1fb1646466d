"""Reaching the daemon, and starting it where that is possible."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path

from gi.repository import Gimp

from maskupe_client.client import Client
from maskupe_client.errors import ClientError, LinkDownError, NotRunningError
from maskupe_client.launcher import ensure_running, wake
from maskupe_plugin.checks import UserError
from maskupe_plugin.error_messages import message_for
from maskupe_plugin.i18n import _
from maskupe_plugin.launcher import daemon_command, from_archive, install_command
from maskupe_plugin.log import log_file

_CLIENT_NAME = "gimp"


def connect(wait: Callable[[], object] | None = None, *, start: bool = True) -> Client:
    """Return a connection to the daemon, which is started if it is not running.

    From a sandbox it is started by the session's service.

    Args:
        wait: called every 50 ms while the daemon comes up.
        start: whether it may be started.

    Raises:
        UserError: if it cannot be reached; the text says how to start it.
    """
    command = daemon_command()
    try:
        if start and in_sandbox():
            return wake(wait=wait, name=_CLIENT_NAME)
        if start and command:
            return ensure_running(command, wait=wait, name=_CLIENT_NAME)
        return Client.connect(name=_CLIENT_NAME)
    except LinkDownError as error:  # nothing here is to be started
        raise UserError(*message_for(error)) from error
    except NotRunningError as error:
        if from_archive() and not command:
            raise UserError(message_for(error)[0], _not_found()) from error
        if in_sandbox():
            raise UserError(
                message_for(error)[0],
                _(
                    "Run “maskupe-daemon service install” in a terminal once: "
                    "from then on it is started whenever GIMP needs it."
                ),
            ) from error
        how = shlex.join(command) if command else "maskupe-daemon"
        raise UserError(
            message_for(error)[0],
            _("Start it in a terminal with: {command} — its log is in {folder}.").format(
                command=how, folder=log_file().parent
            ),
        ) from error
    except ClientError as error:
        raise UserError(*message_for(error)) from error


def _not_found() -> str:
    """Return what to do where the plug-in was unpacked by hand and MaskUPE is not found."""
    how = install_command()
    if in_sandbox():  # where the host's programs can be neither seen nor started
        how += " && maskupe-daemon service install"
    return _(
        "The plug-in alone cannot compute. If MaskUPE is not installed yet, install it in a "
        "terminal with: {command} — then try again."
    ).format(command=how)


def in_sandbox() -> bool:
    """Whether GIMP came as a Flatpak or Snap, from where no program of the host can be started."""
    return Path("/.flatpak-info").exists() or _in_snap()


def _in_snap() -> bool:
    """Whether this GIMP came as a Snap.

    Whatever is started from a Snap, as from the terminal of an editor, inherits its variables: they
    must be those of GIMP's.
    """
    folder = os.environ.get("SNAP")
    if not folder:
        return False
    own = Path(Gimp.installation_directory()).is_relative_to(folder)
    return own or os.environ.get("SNAP_NAME") == "gimp"
