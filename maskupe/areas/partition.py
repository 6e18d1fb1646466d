"""How a selection becomes the areas: the formulas of ``make_areas``, by strips.

A band is worked out once from the whole selection, in planes of one or two bytes a pixel, and then
drawn some rows at a time, so that nothing of the photograph's size is ever held as float.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from maskupe.areas.feathered_transition import feathered_transition
from maskupe.areas.hard_transition import HardTransition
from maskupe.areas.rows import AreaRows
from maskupe.areas.selection import SelectionAnalysis, is_one
from maskupe.areas.transition import Areas, Transition, auto_width
from maskupe.errors import EmptySelectionError
from maskupe.parallel import STRIP_PIXELS, machine_threads, parallel_rows, rows_of


class TransitionShape(Protocol):
    """A selection's areas, ready to be drawn.

    Attributes:
        shape: (height, width) of the selection.
        width: of the transition, see :class:`maskupe.areas.transition.Areas`.
        uniform: whether every pixel belongs to A.
    """

    shape: tuple[int, int]
    width: float
    uniform: bool

    def rows(self, first: int, last: int) -> AreaRows:
        """Return the areas of some rows."""


def draw_areas(
    band: TransitionShape, keep: Callable[[slice, AreaRows], None], threads: int | None = None
) -> None:
    """Hand the areas of all rows to ``keep``, strip by strip, on several threads.

    Raises:
        EmptySelectionError: if there is no pixel in A.
    """
    height, width = band.shape
    any_full = threading.Event()

    def strip(first: int, last: int) -> None:
        drawn = band.rows(first, last)
        if not any_full.is_set() and drawn.a.any():
            any_full.set()
        keep(slice(first, last), drawn)

    threads = machine_threads() if threads is None else threads
    parallel_rows(strip, height, rows_of(STRIP_PIXELS, width), threads, None)
    check_any_selected(any_full.is_set(), band.width)


def check_any_selected(any_full: bool, width: float) -> None:
    """Raise EmptySelectionError unless some pixel is in A."""
    if not any_full:
        raise EmptySelectionError(
            f"A transition of {width:.0f} px inside the selection leaves nothing to light up.",
            "Use a smaller width, or put the transition outside.",
        )


def transition_shape(
    selection: npt.NDArray[Any],
    transition: Transition,
    short_side: int | None = None,
    threads: int | None = None,
) -> TransitionShape:
    """Work out the band of a selection; arguments and errors of :func:`make_areas`."""
    threads = machine_threads() if threads is None else threads
    marks = SelectionAnalysis(selection, threads)
    count = selection.size if is_one(marks.selected) else int(np.count_nonzero(marks.selected))
    if count == 0:
        raise EmptySelectionError(
            "The selection is empty: no pixel is selected by at least one half.",
            "Select the part to light up, or select none for the whole layer.",
        )
    automatic = isinstance(transition.width, str)
    side_length = short_side if short_side is not None else min(selection.shape)
    width = auto_width(count, side_length) if automatic else float(transition.width)
    if marks.soft:
        return feathered_transition(marks, width, automatic, transition.side, threads)
    return HardTransition(marks.selected, width, transition.side, threads)


def make_areas(
    selection: npt.NDArray[Any],
    transition: Transition | None = None,
    *,
    short_side: int | None = None,
) -> Areas:
    """Divide an image into the areas A, B and C.

    A hard selection (antialiasing counts as hard) is split by distance from its edge. A soft one
    carries its own transition: A is where it is full, and its ramp belongs to B; an explicit width,
    or an automatic one that is wider than the ramp, then widens (outside) or narrows (inside) what
    the ramp does.

    Args:
        selection: (H, W), bool, uint8, uint16 or float 0…1.
        transition: width and side of the band; ``Transition()`` if left out.
        short_side: short side of the whole image in pixels, where ``selection`` is only a window
            of it; it bounds the automatic width.

    Returns:
        The areas, of the selection's height and width.

    Raises:
        EmptySelectionError: if no pixel is selected, or erosion leaves no pixel in A.
        InputError: for a selection that is not (H, W) or has values outside 0…1.
    """
    from maskupe.areas.partition import draw_areas, transition_shape

    band = transition_shape(selection, transition or Transition(), short_side)
    a, b = np.empty(band.shape, bool), np.empty(band.shape, bool)
    weight = np.empty(band.shape, np.float32)

    def keep(rows: slice, strip: AreaRows) -> None:
        a[rows], b[rows], weight[rows] = strip.a, strip.b, strip.a
        weight[rows][strip.b] = strip.weight

    draw_areas(band, keep)
    return Areas(a, b, weight, band.width)
