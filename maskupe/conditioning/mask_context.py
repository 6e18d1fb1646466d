"""Carries the mask to the layers that consume it, past forward methods that know nothing of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

# A context variable is private to each thread and task, so jobs side by side cannot mix masks.
_AREAS: ContextVar[Tensor | None] = ContextVar("maskupe_areas", default=None)


@contextmanager
def mask_scope(areas: Tensor) -> Iterator[None]:
    """While this is open, conditioned layers called in this thread see these areas.

    Args:
        areas: float (N, k, H, W), the mask M at any size; N may be 1.
    """
    token = _AREAS.set(areas)
    try:
        yield
    finally:
        _AREAS.reset(token)


def mask_at(height: int, width: int, like: Tensor) -> Tensor:
    """Return the carried areas, averaged to a layer's size, with the batch and dtype of ``like``.

    Raises:
        RuntimeError: if no areas are carried: the network was called without its mask.
    """
    areas = _AREAS.get()
    if areas is None:
        raise RuntimeError(
            "A mask-conditioned layer was called without a mask. "
            "Call the conditioned network itself, f(image, areas), not the one inside it."
        )
    areas = areas.to(device=like.device, dtype=like.dtype)
    if tuple(areas.shape[-2:]) != (height, width):
        areas = F.interpolate(areas, (height, width), mode="area")
    return areas.expand(like.shape[0], -1, -1, -1)
