"""From a selection to the three areas: A (light up), B (transition band), C (leave alone).

This is the one definition of the areas, used when serving and when training, so that a network
meets the same bands in both. Follows the paper's section "Tasking Setting": every pixel belongs
to exactly one of A, B and C.

Words used here: the *selected set* is where the selection is at least one half; the *width* of the
transition is counted in pixels as a Euclidean distance between pixel centres; the *blend weight*
is 1 in A, 0 in C and falls smoothly in between.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from maskupe.errors import InputError

#: How far from the drawn line edges are followed: by itself, not at all, or in pixels.
Edges: TypeAlias = float | Literal["auto", "off"]

Side = Literal["outside", "inside", "centred"]
SIDES: tuple[str, ...] = get_args(Side)

#: The automatic width is this share of the radius of the disc that has A's area: the middle of
#: the paper's r2 in U(1.1 r1, 1.3 r1).
AUTO_WIDTH_SHARE = 0.2
AUTO_WIDTH_MIN = 4.0
#: No automatic band is wider than this share of the image's short side.
AUTO_WIDTH_MAX_SHARE = 0.25
#: The widest explicit transition, in pixels: more than any photograph has.
MAX_WIDTH = 100_000.0

#: The automatic reach beyond the drawn line within which the effect follows the picture's edges, as
#: a share of the square root of the selection's bounding box.
EDGE_REACH_SHARE = 0.1
EDGE_REACH_MIN = 8.0
#: No automatic reach is longer than this share of the image's short side.
EDGE_REACH_MAX_SHARE = 0.25


@dataclass(frozen=True)
class Transition:
    """How the effect fades out at the selection's edge.

    Attributes:
        width: width of the band B in pixels (0 for a hard edge), or ``"auto"``.
        side: where the band lies: ``"outside"`` the selected set (the paper), ``"inside"`` it, or
            ``"centred"`` on its edge.
        edges: how far from the drawn line the effect follows the subject's edges (:mod:`maskupe.
            matte`): ``"auto"`` for a share of the selection's size, a number of pixels, or
            ``"off"`` (the same as 0) for areas by distance alone, the paper's setting. Where the
            picture has no edge near the line, ``width`` and ``side`` decide.

    Raises:
        InputError: for a width or reach that is negative, not finite or absurdly large, or another
            side.
    """

    width: float | Literal["auto"] = "auto"
    side: Side = "outside"
    edges: Edges = "auto"

    def __post_init__(self) -> None:
        if self.side not in SIDES:
            raise InputError(
                f"The transition side {self.side!r} is unknown.", f"Use one of {', '.join(SIDES)}."
            )
        if isinstance(self.width, str):
            if self.width != "auto":
                raise InputError(
                    f"The transition width {self.width!r} is not a number.",
                    "Give a width in pixels, or 'auto'.",
                )
        elif not (math.isfinite(self.width) and 0 <= self.width <= MAX_WIDTH):
            raise InputError(
                f"The transition width {self.width} is out of range.",
                f"Give a width from 0 to {MAX_WIDTH:.0f} pixels, or 'auto'.",
            )
        if isinstance(self.edges, str):
            if self.edges not in ("auto", "off"):
                raise InputError(
                    f"The reach {self.edges!r} for following edges is not a number.",
                    "Give a reach in pixels, 'auto', or 'off'.",
                )
        elif not (math.isfinite(self.edges) and 0 <= self.edges <= MAX_WIDTH):
            raise InputError(
                f"The reach {self.edges} for following edges is out of range.",
                f"Give a reach from 0 to {MAX_WIDTH:.0f} pixels, 'auto', or 'off'.",
            )

    @property
    def follows_edges(self) -> bool:
        """Whether the effect follows the picture's edges at all."""
        return self.edges not in ("off", 0)

    def edge_reach(self, bounding_pixels: int, short_side: int) -> float:
        """Return how far beyond the drawn line edges are followed, in pixels; 0 if they are not.

        Args:
            bounding_pixels: area of the selection's bounding box.
            short_side: short side of the whole image in pixels.
        """
        if not self.follows_edges:
            return 0.0
        if not isinstance(self.edges, str):
            return float(self.edges)
        wanted = max(EDGE_REACH_MIN, EDGE_REACH_SHARE * math.sqrt(bounding_pixels))
        return min(wanted, EDGE_REACH_MAX_SHARE * short_side)

    def reach(self, bounding_pixels: int, short_side: int) -> int:
        """Return how far beyond the selection's bounding box a region must reach, in whole pixels.

        A bound that needs no look at the selection itself: the automatic width grows with the
        selected area, which the bounding box bounds.
        """
        edges = self.edge_reach(bounding_pixels, short_side)
        if self.side == "inside":
            width = 0.0  # the distance to the edge needs to see what lies beyond it
        elif isinstance(self.width, str):
            width = auto_width(bounding_pixels, short_side)
        else:
            width = self.width
        return math.ceil(max(width, edges)) + 1


@dataclass(frozen=True)
class Areas:
    """The three areas of one selection, and the weight with which the effect is blended in.

    Attributes:
        a: bool (H, W), the pixels to light up.
        b: bool (H, W), the transition band.
        weight: float32 (H, W), 1 in A, 0 in C, smooth (C¹) and monotone in between.
        width: the width of the band in pixels that was used; where a soft selection's own ramp is
            the band, how far it reaches from A.
    """

    a: npt.NDArray[np.bool_]
    b: npt.NDArray[np.bool_]
    weight: npt.NDArray[np.float32]
    width: float

    @property
    def c(self) -> npt.NDArray[np.bool_]:
        """bool (H, W): the pixels to leave alone, neither in A nor in B."""
        return ~(self.a | self.b)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.a.shape[0], self.a.shape[1]

    def channels(self) -> npt.NDArray[np.float32]:
        """Return the paper's mask M as float32 (2, H, W): M0 = A, M1 = B."""
        return np.stack([self.a, self.b]).astype(np.float32)

    def crop(self, rows: slice, columns: slice) -> Areas:
        """Return the same areas seen through a window (views, nothing is copied)."""
        window = (rows, columns)
        return Areas(self.a[window], self.b[window], self.weight[window], self.width)


def smoothstep(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return 3x² - 2x³ of x clipped to 0…1: from 0 to 1 with slope 0 at both ends."""
    x = np.clip(x, 0.0, 1.0)
    result: npt.NDArray[np.float32] = x * x * (3.0 - 2.0 * x)
    return result


def auto_width(selected_pixels: int, short_side: int) -> float:
    """Return the automatic width of the band in pixels for a selected set of that many pixels.

    0.2 × the radius of the disc of the same area, at least 4, at most a quarter of the image's
    short side. It grows with ``selected_pixels``, so a bound on those bounds the width.
    """
    radius = math.sqrt(selected_pixels / math.pi)
    wanted = max(AUTO_WIDTH_MIN, AUTO_WIDTH_SHARE * radius)
    return min(wanted, AUTO_WIDTH_MAX_SHARE * short_side)


def selection_as_float(selection: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return a selection of any accepted dtype as float32 (H, W), 0…1.

    Raises:
        InputError: if it is not two-dimensional, or its values are not in range.
    """
    mask = np.asarray(selection)
    if mask.ndim != 2 or mask.size == 0:
        raise InputError(
            f"A selection must be a two-dimensional array, not one of shape {mask.shape}."
        )
    if mask.dtype == np.bool_:
        return mask.astype(np.float32)
    if mask.dtype in (np.uint8, np.uint16):
        return mask.astype(np.float32) * np.float32(1.0 / np.iinfo(mask.dtype).max)
    if not np.issubdtype(mask.dtype, np.floating):
        raise InputError(
            f"A selection of type {mask.dtype} cannot be used.",
            "Pass bool, uint8, uint16 or float.",
        )
    values = mask.astype(np.float32)
    low, high = float(values.min()), float(values.max())
    if not (low >= -1e-3 and high <= 1.0 + 1e-3):  # false for NaN as well
        raise InputError("The selection has values outside 0…1.", "Scale it to 0…1.")
    return np.clip(values, 0.0, 1.0)
