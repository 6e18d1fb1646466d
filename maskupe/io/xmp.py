"""XMP packets: the orientation normalised, and no promise kept in them that the result breaks.

A packet passes through as it is but for that, so it is patched as text: taking XML apart and
writing it anew would change what other programs signed or laid out.
"""

from __future__ import annotations

import re

#: What a packet may promise that is stored elsewhere in the file and is not in the result, by
#: namespace: an HDR gain map (Adobe, Apple), further pictures and films (Google).
_PROMISES = (
    b"http://ns.adobe.com/hdr-gain-map/1.0/",
    b"http://ns.apple.com/HDRGainMap/1.0/",
    b"http://ns.google.com/photos/1.0/container/",
    b"http://ns.google.com/photos/1.0/container/item/",
    b"http://ns.google.com/photos/1.0/camera/",
    b"http://ns.google.com/photos/1.0/depthmap/",
    b"http://ns.google.com/photos/1.0/image/",
)
_NOTE = b"http://ns.adobe.com/xmp/note/"
_DECLARATION = re.compile(
    rb"xmlns:([A-Za-z_][\w.-]{0,63})\s{0,8}=\s{0,8}[\"']([^\"'<>]{1,200})[\"']"
)


def normalise(packet: bytes) -> tuple[bytes, bool]:
    """Return the packet for a result that is one upright picture.

    ``tiff:Orientation`` becomes 1, as attribute or element, and what promises an HDR gain map, a
    depth map or a film beside the picture is taken out.

    Returns:
        The packet, and whether it promised something.
    """
    packet = re.sub(rb"(tiff:Orientation\s*(?:=\s*[\"']|>)\s*)[1-8]", rb"\g<1>1", packet)
    without = _without(packet, _PROMISES)
    return without, without != packet


def without_extension(packet: bytes) -> bytes:
    """Return the packet without its word that more of it is stored in further segments."""
    return _without(packet, (_NOTE,))


def _without(packet: bytes, namespaces: tuple[bytes, ...]) -> bytes:
    """Return the packet without the attributes and elements of those namespaces."""
    prefixes = {prefix for prefix, space in _DECLARATION.findall(packet) if space in namespaces}
    for prefix in sorted(prefixes):
        name = re.escape(prefix) + rb":[\w.-]{1,64}"
        packet = re.sub(rb"\s" + name + rb"\s{0,8}=\s{0,8}(?:\"[^\"<]*\"|'[^'<]*')", b"", packet)
        packet = _without_elements(packet, prefix)
    return packet


def _without_elements(packet: bytes, prefix: bytes) -> bytes:
    """Return the packet without the outermost elements of a prefix, and all that is in them."""
    tag = re.compile(rb"<(/?)" + re.escape(prefix) + rb":[\w.-]{1,64}[^<>]*?(/?)>")
    kept: list[bytes] = []
    depth = end = 0
    for found in tag.finditer(packet):
        closing, empty = bool(found[1]), bool(found[2])
        if depth == 0:
            if closing:  # of nothing: the packet is damaged, so it stays as it is
                return packet
            kept.append(packet[end : found.start()])
        depth += -1 if closing else 0 if empty else 1
        end = found.end() if depth == 0 else end
    return packet if depth else b"".join([*kept, packet[end:]])
