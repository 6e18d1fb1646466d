"""The preview's pixels: split view, the outlines of the areas, and how much lighter A became.

Plain bytes and no GIMP: rows are put together with slices and big-integer XOR, which are fast
enough for a picture of preview size without numpy.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from maskupe_plugin.region import Box

#: What the daemon's plane ``areas`` holds.
C, B, A = 0, 1, 2

_IS_A = bytes(int(value == A) for value in range(256))
_IS_A_OR_B = bytes(int(value != C) for value in range(256))
_SET = re.compile(rb"[^\0]")
#: Bytes of a pixel of a picture: RGBA.
PIXEL = 4

_YELLOW = b"\xff\xd2\x28\xff"
_WHITE = b"\xff\xff\xff\xff"
_BLACK = b"\x00\x00\x00\xff"
_DASH = 4
#: What is lit up is coloured like this, and at most so opaque.
_TINT = b"\xff\x20\x20\x00"
_OPACITY = bytes(round(0.6 * value) for value in range(256))

#: Mean luminance, in linear light, below which an area is black.
_BLACKEST = 1e-5
_SAMPLES, _LOOKED_AT = 2000, 20000


def high_bytes(plane: memoryview | bytes) -> bytes:
    """Return 8-bit values of little-endian 16-bit ones, for showing."""
    return bytes(plane)[1::2]


def compose(
    before: bytes, after: bytes, width: int, height: int, *, split: int | None = None
) -> bytearray:
    """Return the picture to show: RGBA, 8 bits.

    Args:
        before: the layer's pixels.
        after: the result's.
        width: in pixels.
        height: in pixels.
        split: column at which the result begins and left of which is the layer; None for no split.
    """
    if split is None:
        return bytearray(after)
    row, at = width * PIXEL, min(max(split, 0), width) * PIXEL
    shown = bytearray()
    for start in range(0, row * height, row):
        shown += before[start : start + at] + after[start + at : start + row]
        if 0 < at < row:
            shown[start + at - PIXEL : start + at] = _WHITE
    return shown


def paste(source: bytes, place: Box, target: bytearray, where: Box, pixel: int) -> None:
    """Copy a picture to where it belongs in another one.

    Args:
        source: the picture.
        place: its rectangle.
        target: the other picture.
        where: the other's rectangle, in the same coordinates.
        pixel: bytes per pixel of both.
    """
    common = place.within(where)
    wide = common.width * pixel
    for row in range(common.y, common.bottom):
        start = ((row - place.y) * place.width + common.x - place.x) * pixel
        at = ((row - where.y) * where.width + common.x - where.x) * pixel
        target[at : at + wide] = source[start : start + wide]


def tint(weight: bytes) -> bytes:
    """Return a picture that colours what is lit up, the more the higher the weight: RGBA.

    Args:
        weight: one byte per pixel, 255 where the effect is full.
    """
    picture = bytearray(_TINT * len(weight))
    picture[3::PIXEL] = weight.translate(_OPACITY)
    return bytes(picture)


def draw_outlines(picture: bytearray, areas: bytes, width: int, height: int) -> None:
    """Draw where A ends (yellow) and where the transition ends (dashed) into a picture."""
    for column, row in edges(areas.translate(_IS_A_OR_B), width, height):
        dash = _WHITE if (column + row) // _DASH % 2 else _BLACK
        _put(picture, column, row, width, dash)
    for column, row in edges(areas.translate(_IS_A), width, height):
        _put(picture, column, row, width, _YELLOW)


def _put(picture: bytearray, column: int, row: int, width: int, colour: bytes) -> None:
    at = (row * width + column) * PIXEL
    picture[at : at + PIXEL] = colour


def edges(mask: bytes, width: int, height: int) -> Iterator[tuple[int, int]]:
    """Yield column and row of every pixel that differs from its neighbour to the left or above."""
    above = mask[:width]
    for row in range(height):
        here = mask[row * width : (row + 1) * width]
        left = here[:1] + here[:-1]
        number = int.from_bytes(here, "big")
        different = (number ^ int.from_bytes(left, "big")) | (number ^ int.from_bytes(above, "big"))
        if different:
            for match in _SET.finditer(different.to_bytes(width, "big")):
                yield match.start(), row
        above = here


def exposure_gain(before: memoryview, after: memoryview, areas: bytes) -> float | None:
    """By how many stops A became lighter on average, in linear light.

    None without A, and where A was black: no number of stops leads from there to any light.

    Args:
        before: RGBA pixels as 16-bit values.
        after: likewise.
        areas: one byte per pixel.
    """
    # An odd step does not stay in a few columns. Where that finds little, every pixel is looked at.
    step = len(areas) // _LOOKED_AT | 1
    lit = [index for index in range(0, len(areas), step) if areas[index] == A]
    if len(lit) < _SAMPLES // 4:
        lit = [index for index, value in enumerate(areas) if value == A]
    lit = lit[:: max(1, len(lit) // _SAMPLES)]
    if not lit:
        return None
    dark = sum(_luminance(before, index) for index in lit)
    if dark < len(lit) * _BLACKEST:
        return None
    light = sum(_luminance(after, index) for index in lit)
    return math.log2(light / dark)


def _luminance(pixels: memoryview, index: int) -> float:
    at = index * PIXEL
    red, green, blue = pixels[at], pixels[at + 1], pixels[at + 2]
    return 0.2126 * _linear(red) + 0.7152 * _linear(green) + 0.0722 * _linear(blue)


def _linear(value: int) -> float:
    encoded = value / 65535
    if encoded <= 0.04045:
        return encoded / 12.92
    return math.pow((encoded + 0.055) / 1.055, 2.4)
