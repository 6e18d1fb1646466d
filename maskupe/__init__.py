"""MaskUPE: light up the selected part of a photograph and leave the rest alone.

The public interface is small: :class:`Enhancer` turns an image and a selection into the enhanced
image, :class:`Transition` says how the effect fades out, :class:`Areas` holds the three areas.
Names are imported on first use, so that ``import maskupe`` is instant and never imports torch.

Importing it switches the telemetry of ONNX Runtime off for this process and for those it starts.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from maskupe.areas.transition import Areas, Transition
    from maskupe.errors import MaskUPEError
    from maskupe.pipeline import Enhancer

__all__ = ["Areas", "Enhancer", "MaskUPEError", "Transition", "__version__"]

# Since version 1.29 ONNX Runtime's packages for Linux and macOS write an identifier of the machine
# into the home directory and report its use to their maker. The variable is read once, while the
# library is loaded, so it is set here: whatever of ours loads it has imported this package before.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

_HOMES = {
    "Areas": "maskupe.areas.transition",
    "Enhancer": "maskupe.pipeline",
    "MaskUPEError": "maskupe.errors",
    "Transition": "maskupe.areas.transition",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'maskupe' has no attribute {name!r}")
