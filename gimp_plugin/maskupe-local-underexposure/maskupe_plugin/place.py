"""Where a result was computed, in the user's language."""

from __future__ import annotations

from typing import Any

from maskupe_client.client import Client
from maskupe_plugin.i18n import _


def place(client: Client, result: dict[str, Any]) -> tuple[str, str]:
    """Return one line for the dialog, and what its tooltip tells besides.

    Args:
        client: the connection that the result came by.
        result: its header.
    """
    hardware = result["hardware"] or result["device"]
    if client.host:
        line = _("Computed on {host}, {hardware}").format(host=client.host, hardware=hardware)
    else:
        line = _("Computed on this computer, {hardware}").format(hardware=hardware)
    details = _("Machine {host}, network {network}, renderer {renderer}").format(
        host=client.welcome["host"], network=result["network"], renderer=result["renderer"]
    )
    return line, details
