"""Where the light went: along a subject's outline, and along the line that was drawn.

All in log gain, g = log((out + 4/255) / (in + 4/255)) of luma. A result's g is scaled so that its
mean in the subject's core is the truth's: how much light there is counts elsewhere.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from maskupe.pixel_layout import GAIN_DELTA, LUMA
from maskupe_training.data.images import F32, U8

#: What is called near, as a share of the root of the picture's area; far is up to four times.
NEAR = 0.03
#: A subject that gets less than one part in this of the gain that it lacks is underlit.
UNDERLIT = 2.0

# A pixel of the matte below this is background, above one minus this subject, else edge.
_EDGE = 0.02
_LEAST_CORE = 200
_LEAST_GAIN = 0.05
# Texture is the mean distance from a blurred copy in such a window, in levels of 255.
_TEXTURE_SIGMA, _TEXTURE_WINDOW = 1.5, (9, 9)
_TEXTURED, _GONE = 1.2, 0.4
_LINE = 0.04


def outline_quality(image: U8, output: U8, truth: U8, alpha: U8) -> dict[str, float]:
    """Measure one result on a subject whose truth is known everywhere.

    Args:
        image: uint8 (H, W, 3), the darkened picture.
        output: what came of it.
        truth: as it was before.
        alpha: uint8 (H, W), the subject's matte.

    Returns:
        Mean errors of the gain in units of the truth's mean gain: ``leak`` in the background near
        the subject, ``miss`` in the subject near its outline, ``edge`` on mixed pixels, ``far`` in
        the background farther off; ``ring``, the PSNR in dB of the picture near the outline once
        the gain is scaled; ``scale``, by how much that was: the truth's gain over the result's.
    """
    dark, bright, wanted = (
        picture.astype(np.float32) / 255.0 for picture in (image, output, truth)
    )
    matte = alpha.astype(np.float32) / 255.0
    near = max(3, round(NEAR * matte.size**0.5))
    inside, outside = _distances(matte > 0.5)
    gain, true_gain = _log_gain(bright, dark), _log_gain(wanted, dark)
    subject, background = matte > 1.0 - _EDGE, matte < _EDGE
    core = subject & (inside > near)
    if np.count_nonzero(core) <= _LEAST_CORE:
        core = subject
    level = float(true_gain[core].mean())
    scale = level / max(float(gain[core].mean()), _LEAST_GAIN)
    gain = gain * np.float32(scale)

    def error(where: npt.NDArray[np.bool_]) -> float:
        return float(np.abs(gain - true_gain)[where].mean() / level) if where.any() else 0.0

    ring = np.where(matte > 0.5, inside, outside) <= near
    aligned = np.clip((dark + GAIN_DELTA) * np.exp(gain)[..., None] - GAIN_DELTA, 0.0, 1.0)
    square = float(np.square(aligned - wanted)[ring].mean())
    return {
        "leak": error(background & (outside <= near)),
        "miss": error(subject & (inside <= near)),
        "edge": error(~subject & ~background),
        "far": error((outside > near) & (outside < 4 * near)),
        "ring": -10.0 * float(np.log10(square + 1e-10)),
        "scale": scale,
    }


def wiped(image: U8, output: U8, selection: U8) -> float:
    """Return the share of textured pixels near a drawn line whose texture is gone: flat patches.

    Args:
        image: uint8 (H, W, 3).
        output: what came of it.
        selection: uint8 (H, W).
    """
    before, after = (_texture(picture.astype(np.float32) @ LUMA) for picture in (image, output))
    line = np.abs(signed(selection)) < _LINE * selection.size**0.5
    textured = line & (before > _TEXTURED)
    gone = textured & (after < _GONE * before)
    return float(gone.sum()) / max(float(textured.sum()), 1.0)


def steepest(image: U8, output: U8, selection: U8, width: float) -> float:
    """Return the steepest step of the mean gain across a drawn line, in steps of an even ramp.

    For lines where the photograph has no edge: 1 is an even ramp over the whole width, a cut at
    the line is about the width in pixels.

    Args:
        image: uint8 (H, W, 3).
        output: what came of it.
        selection: uint8 (H, W).
        width: of the even ramp, in pixels.
    """
    distance = signed(selection)
    dark, bright = (picture.astype(np.float32) / 255.0 for picture in (image, output))
    gain = _log_gain(bright, dark)
    whole = float(gain[distance > 0.4 * distance.max()].mean())
    near = np.abs(distance) < 1.5 * width
    # Distances count from pixel to pixel, so that the line lies half-way between -1 and 1.
    step = np.floor(distance[near] - 0.5 * np.sign(distance[near])).astype(int)
    step -= step.min()
    profile = np.bincount(step, gain[near]) / np.maximum(np.bincount(step), 1)
    # The ends hold few pixels.
    return float(np.abs(np.diff(profile[2:-2])).max() * width / max(whole, _LEAST_GAIN))


def signed(selection: U8) -> F32:
    """Return distances to the line in pixels, positive inside: float32 (H, W)."""
    inside, outside = _distances(selection > 127)
    return inside - outside


def _distances(inside: npt.NDArray[np.bool_]) -> tuple[F32, F32]:
    """Return how far pixels lie inside a shape, and how far outside of it."""
    shape = inside.astype(np.uint8)
    within, beyond = (cv2.distanceTransform(each, cv2.DIST_L2, 5) for each in (shape, 1 - shape))
    return np.asarray(within, np.float32), np.asarray(beyond, np.float32)


def _log_gain(after: F32, before: F32) -> npt.NDArray[Any]:
    delta = np.float32(GAIN_DELTA)
    return np.asarray(np.log((after @ LUMA + delta) / (before @ LUMA + delta)))


def _texture(plane: F32) -> F32:
    detail = np.abs(plane - cv2.GaussianBlur(plane, (0, 0), _TEXTURE_SIGMA))
    return np.asarray(cv2.blur(detail, _TEXTURE_WINDOW), np.float32)
