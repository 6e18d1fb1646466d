"""Photoshop's image resources, in which JPEG and TIFF files carry captions and credits (IPTC).

A resource is ``8BIM``, a number, a padded name, a length and padded bytes (Adobe's Photoshop File
Formats Specification, "Image Resource Blocks"). JPEG holds them in APP13, TIFF in tag 34377, PNG
by ImageMagick's custom as hexadecimal text.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_SIGNATURE = b"8BIM"
_IPTC = 0x0404
# Previews of the picture as it was before; and a digest of the IPTC as Photoshop wrote it.
_STALE = (0x0409, 0x040C)


def _resources(blocks: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield (number, the whole resource, its payload), up to where it is damaged."""
    position = 0
    while blocks[position : position + 4] == _SIGNATURE and position + 12 <= len(blocks):
        (number,) = struct.unpack_from(">H", blocks, position + 4)
        body = position + 6 + (blocks[position + 6] + 2) // 2 * 2
        if body + 4 > len(blocks):
            return
        (length,) = struct.unpack_from(">I", blocks, body)
        end = body + 4 + length
        if end > len(blocks):
            return
        payload = blocks[body + 4 : end]
        yield number, blocks[position:body] + struct.pack(">I", length) + _padded(payload), payload
        position = end + length % 2


def _padded(payload: bytes) -> bytes:
    return payload + b"\0" * (len(payload) % 2)


def normalise(blocks: bytes, iptc: bytes = b"") -> bytes:
    """Return the resources without stale previews, and with IPTC if they have none.

    Args:
        blocks: image resources, or nothing.
        iptc: IPTC records that were stored beside them, or nothing.
    """
    kept = [(number, whole) for number, whole, _ in _resources(blocks) if number not in _STALE]
    if iptc and not any(number == _IPTC for number, _ in kept):
        resource = _SIGNATURE + struct.pack(">HHI", _IPTC, 0, len(iptc)) + _padded(iptc)
        kept.append((_IPTC, resource))
    return b"".join(whole for _, whole in kept)


def iptc_of(blocks: bytes) -> bytes:
    """Return the IPTC records among the resources, empty if there are none."""
    return next((payload for number, _, payload in _resources(blocks) if number == _IPTC), b"")
