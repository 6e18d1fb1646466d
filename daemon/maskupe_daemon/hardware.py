"""What people call this machine, its processor and its graphics card."""

from __future__ import annotations

import functools
import platform
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

#: The longest names that a message holds.
_MOST_HOST, _MOST_HARDWARE = 64, 128


def host_name() -> str:
    """Return the name of this machine."""
    return platform.node()[:_MOST_HOST]


def hardware_name(devices: Iterable[str]) -> str:
    """Return the name of the graphics card among the devices, or else of the processor.

    Args:
        devices: as PyTorch names them, ``cpu``, ``cuda:1``, ``mps``.
    """
    cards = [device for device in devices if device.startswith("cuda")]
    name = _card_name(cards[0]) if cards else processor_name()
    return name[:_MOST_HARDWARE]


@functools.lru_cache
def processor_name() -> str:
    """Return the processor's name, ``""`` if the system tells none."""
    name = ""
    try:
        if sys.platform == "linux":
            text = Path("/proc/cpuinfo").read_text(errors="replace")
            found = re.search(r"^model name\s*:\s*(.+)$", text, re.M)
            name = found[1] if found else ""
        elif sys.platform == "darwin":
            asked = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
            name = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    except OSError:
        pass
    return " ".join((name or platform.processor()).split())


@functools.lru_cache
def _card_name(device: str) -> str:
    import torch

    try:
        return str(torch.cuda.get_device_name(device))
    except (RuntimeError, AssertionError):  # torch's ways of saying that there is none
        return device
