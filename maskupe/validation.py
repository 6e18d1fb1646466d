"""What may be asked of the pipeline: the images, outputs, strengths and so on that it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from maskupe.denoise import Denoise, denoise_scale
from maskupe.errors import InputError

#: What :meth:`maskupe.pipeline.Enhancer.enhance_region` can be asked for.
OUTPUTS = ("image", "weight", "areas", "illumination", "enhanced")
#: Strength runs from the identity to twice the model's proposal (in the exponent).
MAX_STRENGTH = 2.0
#: Warmth of the added light runs from this much cooler to this much warmer.
MAX_WARMTH = 1.0
#: Saturation of what is brightened runs from gray, this far below 0, to twice the chroma.
MAX_SATURATION = 1.0


def check_image(image: npt.NDArray[Any]) -> None:
    """Raise InputError unless the array is an image as :meth:`Enhancer.enhance` takes it."""
    shape_fits = image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (1, 2, 3, 4))
    if not shape_fits or image.size == 0:
        raise InputError(
            f"An array of shape {image.shape} is not an image.",
            "Pass (height, width) or (height, width, 1 to 4 channels).",
        )
    if image.dtype not in (np.uint8, np.uint16, np.float32):
        raise InputError(
            f"Pixels of type {image.dtype} cannot be used.", "Pass uint8, uint16 or float32."
        )


def check_options(
    strength: float,
    outputs: Sequence[str],
    denoise: Denoise = "auto",
    warmth: float = 0.0,
    saturation: float = 0.0,
) -> None:
    """Check the options of the pipeline.

    Raises:
        InputError: for a strength, a noise reduction, a warmth or a saturation out of range, or an
            output that does not exist.
    """
    if not 0.0 <= strength <= MAX_STRENGTH:
        raise InputError(
            f"A strength of {strength} is out of range.", f"Use 0 to {MAX_STRENGTH:.0f}."
        )
    denoise_scale(denoise)
    if not -MAX_WARMTH <= warmth <= MAX_WARMTH:
        raise InputError(
            f"A warmth of {warmth} is out of range.",
            f"Use {-MAX_WARMTH:.0f}, for cooler light, to {MAX_WARMTH:.0f}, for warmer.",
        )
    if not -MAX_SATURATION <= saturation <= MAX_SATURATION:
        raise InputError(
            f"A saturation of {saturation} is out of range.",
            f"Use {-MAX_SATURATION:.0f}, for gray, to {MAX_SATURATION:.0f}, for twice the colour.",
        )
    for name in outputs:
        if name not in OUTPUTS:
            raise InputError(f"The output {name!r} is unknown.", f"Use {', '.join(OUTPUTS)}.")


def shape_text(array: npt.NDArray[Any]) -> str:
    """Return width and height for a sentence."""
    return "×".join(str(n) for n in reversed(array.shape[:2]))
