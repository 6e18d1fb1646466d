"""The demo's subject: the official portrait of Eileen Collins (NASA, public domain) in the shade.

Inside her silhouette, light is taken away as a camera would have seen it, in linear light. The
background stays as it was.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from maskupe.preprocess.srgb import decode_srgb, encode_srgb

PORTRAIT = Path(__file__).parent / "data" / "portrait.jpg"
#: How much light the shade takes from the portrait, in stops.
SHADE = 2.5

# The outline of the person and her helmet in the portrait, (x, y) in pixels, clockwise.
# fmt: off
_OUTLINE = (
    (18, 520), (22, 400), (28, 340), (45, 280), (70, 240), (105, 212), (114, 190), (130, 165),
    (155, 152), (178, 150), (180, 130), (160, 108), (153, 75), (165, 45), (190, 25), (222, 15),
    (260, 20), (287, 40), (301, 70), (298, 100), (282, 120), (268, 140), (260, 172), (288, 198),
    (304, 228), (308, 242), (332, 256), (350, 285), (360, 338), (376, 350), (405, 343),
    (440, 352), (470, 375), (490, 410), (497, 455), (510, 490), (515, 520),
)
# fmt: on


def silhouette(height: int, width: int) -> npt.NDArray[np.uint8]:
    """Return the portrait's mask, (height, width) uint8: a drawn outline with rounded corners."""
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.array(_OUTLINE, np.int32)], 255)
    rounded = cv2.threshold(cv2.GaussianBlur(mask, (0, 0), 4), 127, 255, 0)[1]
    # The outline runs a little outside the hair, where brightened background would be a rim.
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
    return np.asarray(cv2.erode(rounded, disc), np.uint8)


def shaded(
    original: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8], stops: float
) -> npt.NDArray[np.uint8]:
    """Return the picture with that many stops less light inside the mask.

    Args:
        original: (H, W, 3) uint8, sRGB.
        mask: (H, W) uint8; its edge is softened by a pixel or two, as a shadow's is.
        stops: each halves the linear light (IEC 61966-2-1).
    """
    encoded = original.astype(np.float32) / np.float32(255)
    amount = cv2.GaussianBlur(mask, (0, 0), 2.0)[..., None].astype(np.float32) / np.float32(255)
    dark = encode_srgb(decode_srgb(encoded) * 2.0 ** (-stops * amount))
    return np.asarray(np.rint(dark * 255), np.uint8)
