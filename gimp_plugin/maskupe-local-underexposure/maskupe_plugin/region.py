"""Which rectangle of the layer has to travel: the selection's bounds and the band around them.

Plain arithmetic, without GIMP: GIMP's Python has no numpy, so this repeats the daemon's rule for
the width of the band and for following edges (``maskupe.areas.transition``); a test compares the
two.
"""

from __future__ import annotations

import math
from typing import NamedTuple

AUTO = "auto"
OFF = "off"

_AUTO_SHARE = 0.2
_AUTO_MIN = 4.0
_AUTO_MAX_SHARE = 0.25
_EDGES_SHARE = 0.1
_EDGES_MIN = 8.0
_EDGES_MAX_SHARE = 0.25


class Box(NamedTuple):
    """A rectangle in pixels: left column, top row, width, height."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """The first column to the right of the rectangle."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """The first row below the rectangle."""
        return self.y + self.height

    def moved(self, dx: int, dy: int) -> Box:
        """Return the rectangle in coordinates whose origin lies at (-dx, -dy)."""
        return Box(self.x + dx, self.y + dy, self.width, self.height)

    def grown(self, margin: int) -> Box:
        """Return the rectangle with a margin on every side."""
        return Box(
            self.x - margin, self.y - margin, self.width + 2 * margin, self.height + 2 * margin
        )

    def holds(self, other: Box) -> bool:
        """Return whether the other rectangle lies wholly in this one."""
        return self.within(other) == other

    def inside(self, width: int, height: int) -> bool:
        """Return whether it lies wholly within a canvas of that size."""
        return self.x >= 0 and self.y >= 0 and self.right <= width and self.bottom <= height

    def within(self, other: Box) -> Box:
        """Return the common part of both; of no width or height where there is none."""
        left, top = max(self.x, other.x), max(self.y, other.y)
        right, bottom = min(self.right, other.right), min(self.bottom, other.bottom)
        return Box(left, top, max(0, right - left), max(0, bottom - top))


def auto_width(selected_pixels: int, short_side: int) -> float:
    """The automatic width of the transition in pixels: ``maskupe.areas.transition.auto_width``."""
    radius = math.sqrt(selected_pixels / math.pi)
    return min(max(_AUTO_MIN, _AUTO_SHARE * radius), _AUTO_MAX_SHARE * short_side)


def edge_reach(edges: float | str, bounding_pixels: int, short_side: int) -> float:
    """Return how far from the selection's edge edges are followed: ``Transition.edge_reach``."""
    if edges == OFF:
        return 0.0
    if edges == AUTO:
        wanted = max(_EDGES_MIN, _EDGES_SHARE * math.sqrt(bounding_pixels))
        return min(wanted, _EDGES_MAX_SHARE * short_side)
    return float(edges)


def read_edges(text: str, most: float) -> float | str:
    """How far edges are followed, from an argument: a number of pixels, ``"auto"`` or ``"off"``.

    Args:
        text: the argument; nothing at all means ``"auto"``.
        most: the largest number of pixels.

    Raises:
        ValueError: for anything else.
    """
    word = text.strip().lower() or AUTO
    if word in (AUTO, OFF):
        return word
    pixels = float(word)
    if not 0 <= pixels <= most:  # NaN is not, either
        raise ValueError(text)
    return pixels


def scaled(length: float | str, scale: float) -> float | str:
    """Return a length in the pixels of a scaled picture; the words for one stay as they are."""
    return length if isinstance(length, str) else length * scale


def reach(width: float | str, side: str, edges: float | str, bounds: Box, short_side: int) -> int:
    """Return how far beyond the selection's bounds the region must reach, in whole pixels.

    Args:
        width: the transition's width in pixels, or ``"auto"``.
        side: ``"outside"``, ``"inside"`` or ``"centred"``.
        edges: how far edges are followed in pixels, ``"auto"`` or ``"off"``.
        bounds: the selection's bounds within the layer.
        short_side: the layer's short side in pixels.
    """
    pixels = bounds.width * bounds.height
    if side == "inside":
        band = 0.0  # the distance to the edge needs to see what lies beyond it
    elif width == AUTO:
        band = auto_width(pixels, short_side)
    else:
        band = float(width)
    return math.ceil(max(band, edge_reach(edges, pixels, short_side))) + 1


def padded(bounds: Box, margin: int, layer_width: int, layer_height: int) -> Box:
    """Return the bounds with a margin on every side, clipped to the layer."""
    return bounds.grown(margin).within(Box(0, 0, layer_width, layer_height))


def context_size(width: int, height: int, long_edge: int) -> tuple[int, int, int]:
    """The whole layer, halved until it has at most ``long_edge`` pixels: width, height, step.

    One of the context's pixels stands for ``step`` times ``step`` of the layer's. What is left
    over at the right and bottom is left out.
    """
    step = 1
    while max(width, height) // step > long_edge:
        step *= 2
    return max(1, width // step), max(1, height // step), step
