"""Photographs on disk: as PNG, JPEG, TIFF, WebP, AVIF or JPEG XL, and HEIC to read.

:func:`read_photo` gives the pixels as they are displayed together with all that a picture editor
would keep (ICC profile, EXIF, XMP, resolution, alpha); :func:`check_output` says before the work
whether the result can be written there; :meth:`Output.write` writes it in one step, so that
there is either the whole file or the one that was there before; :func:`check_matte` and
:func:`encode_matte` are for the blend weight as a picture. No colour space is
converted: pixels keep their own and the profile passes through. Only those that a profile stores in
linear light are encoded for display, and stored again as they came.

Names are imported on first use: what reads no photograph, the daemon above all, loads no decoder.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maskupe.io.masks import Mask, interpret_mask, read_mask
    from maskupe.io.photo import Metadata, Photo
    from maskupe.io.reading import read_photo
    from maskupe.io.writing import Output, check_matte, check_output, encode_matte

__all__ = [
    "Mask",
    "Metadata",
    "Output",
    "Photo",
    "check_matte",
    "check_output",
    "encode_matte",
    "interpret_mask",
    "read_mask",
    "read_photo",
]

# Damaged files are told in one sentence; the decoders' own remarks go to whoever configures
# logging, not to stderr.
for _decoder in ("tifffile", "imagecodecs"):
    logging.getLogger(_decoder).addHandler(logging.NullHandler())

_HOMES = {
    "Mask": "masks",
    "Metadata": "photo",
    "Output": "writing",
    "Photo": "photo",
    "check_matte": "writing",
    "check_output": "writing",
    "encode_matte": "writing",
    "interpret_mask": "masks",
    "read_mask": "masks",
    "read_photo": "reading",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
