"""How pixels are encoded: which profiles are for display, and the way there and back for others.

Everything that follows, networks, noise, the fade, expects values as they are displayed: even steps
look even. Profiles for editing in linear light store something else, so their pixels are encoded by
sRGB's curve when they are read and stored by the profile's own when they are written. Curves are
read by LittleCMS, whatever form a profile gives them (a number, a table, a formula).
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt

from maskupe.errors import InputError

# A curve is for display if it gives half of full range so much of full light: gamma 1.65 to 2.7,
# sRGB 0.214, Rec. 709 0.26, L* 0.184.
_DISPLAY = (0.154, 0.32)
# Curves of HDR give much less; their white is not 1.
_HDR = 0.1
_SAMPLES = 4097
# Values that are worked on at a time.
_BLOCK = 1 << 20

_SPACES = {b"RGB ": "rgb", b"GRAY": "gray"}
_D65 = (0.3127, 0.3290)
_SRGB_PRIMARIES = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
# ITU-T H.273, table 2: chromaticities of red, green and blue, and white.
_PRIMARIES = {
    1: (_SRGB_PRIMARIES, _D65),
    4: ((0.67, 0.33, 0.21, 0.71, 0.14, 0.08), (0.310, 0.316)),
    5: ((0.64, 0.33, 0.29, 0.60, 0.15, 0.06), _D65),
    6: ((0.630, 0.340, 0.310, 0.595, 0.155, 0.070), _D65),
    7: ((0.630, 0.340, 0.310, 0.595, 0.155, 0.070), _D65),
    9: ((0.708, 0.292, 0.170, 0.797, 0.131, 0.046), _D65),
    11: ((0.680, 0.320, 0.265, 0.690, 0.150, 0.060), (0.314, 0.351)),
    12: ((0.680, 0.320, 0.265, 0.690, 0.150, 0.060), _D65),
}
# Table 3: exponents of the curves that have one; video's curves are shown on screens of 2.4.
_EXPONENTS = {1: 2.4, 4: 2.2, 5: 2.8, 6: 2.4, 8: 1.0, 14: 2.4, 15: 2.4}
_SRGB_CURVE = 13
_HDR_CURVES = {16: "PQ", 18: "HLG"}


@dataclass(frozen=True, eq=False)
class Transfer:
    """A curve that is not for display.

    Attributes:
        linear: linear light, 0…1, of stored values at even steps of 0…1; rises everywhere. None
            for stored values that are linear light themselves.
    """

    linear: npt.NDArray[np.float64] | None

    def display(self, pixels: npt.NDArray[Any], alpha: bool) -> npt.NDArray[np.float32]:
        """Return stored pixels as displayed, float32; values beyond 0…1 stay beyond.

        Args:
            pixels: (H, W) or (H, W, C), uint8, uint16 or float32.
            alpha: whether the last channel is transparency, which has no curve.
        """
        return _by_rows(pixels, alpha, lambda stored: _encode(self._curved(stored)))

    def stored(self, pixels: npt.NDArray[np.float32], alpha: bool) -> npt.NDArray[np.float32]:
        """Return displayed pixels as they are stored, float32: the inverse of :meth:`display`."""
        return _by_rows(pixels, alpha, lambda shown: self._curved(_decode(shown), inverse=True))

    def _curved(
        self, values: npt.NDArray[np.float64], *, inverse: bool = False
    ) -> npt.NDArray[np.float64]:
        """Return linear light of stored values, or the inverse; beyond 0…1 with slope 1."""
        if self.linear is None:
            return values
        even = np.linspace(0.0, 1.0, len(self.linear))
        source, target = (self.linear, even) if inverse else (even, self.linear)
        return np.interp(values, source, target) + (values - np.clip(values, 0.0, 1.0))


def _by_rows(pixels: npt.NDArray[Any], alpha: bool, curve: Any) -> npt.NDArray[np.float32]:
    """Apply a curve to the colours, a few rows at a time so that float64 takes no memory."""
    scale = 1.0 if pixels.dtype == np.float32 else float(np.iinfo(pixels.dtype).max)
    result = np.empty(pixels.shape, np.float32)
    rows = max(1, _BLOCK // max(1, pixels[0].size))
    for top in range(0, len(pixels), rows):
        block = pixels[top : top + rows] / np.float64(scale)
        result[top : top + rows] = curve(block)
        if alpha:
            result[top : top + rows, :, -1] = block[..., -1]
    return result


def _encode(light: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return sRGB's curve without its ends: continued above 1, mirrored below 0."""
    size = np.abs(light)
    encoded = np.where(
        size <= 0.0031308,
        12.92 * size,
        1.055 * np.power(size, 1 / 2.4, where=size > 0, out=size.copy()) - 0.055,
    )
    return np.copysign(encoded, light)


def _decode(shown: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    size = np.abs(shown)
    light = np.where(size <= 0.04045, size / 12.92, ((size + 0.055) / 1.055) ** 2.4)
    return np.copysign(light, shown)


def transfer_of(name: str, profile: bytes) -> Transfer | None:
    """Return the way to values for display, None where a profile's pixels are that already.

    A damaged profile, and one of other colours than RGB and gray, counts as one for display.

    Raises:
        InputError: for a profile of HDR, whose white is not full range.
    """
    if not profile:
        return None
    linear = _curve(profile)
    if linear is None:
        return None
    middle = float(np.interp(0.5, np.linspace(0.0, 1.0, _SAMPLES), linear))
    if middle < _HDR:
        raise _hdr(name, "a curve for HDR")
    if _DISPLAY[0] <= middle <= _DISPLAY[1]:
        return None
    even = np.linspace(0.0, 1.0, _SAMPLES)
    return Transfer(None if np.abs(linear - even).max() < 2e-3 else linear)


def is_srgb(profile: bytes) -> bool:
    """Return whether a profile shows every colour as sRGB does, to a level of 8 bits.

    So does none.
    """
    if not profile:
        return True
    space = _SPACES.get(profile[16:20])
    if space is None:
        return False
    steps = np.linspace(0, 255, 9).astype(np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    sample = colours if space == "rgb" else np.arange(256, dtype=np.uint8)[None]
    try:
        shown = imagecodecs.cms_transform(
            np.ascontiguousarray(sample),
            profile,
            imagecodecs.cms_profile("srgb"),
            colorspace=space,
            outcolorspace="rgb",
        )
    except (imagecodecs.CmsError, ValueError, RuntimeError):
        return False
    expected = sample if space == "rgb" else np.repeat(sample[..., None], 3, axis=2)
    return bool(np.abs(shown.astype(int) - expected).max() <= 1)


@functools.lru_cache(maxsize=8)
def _curve(profile: bytes) -> npt.NDArray[np.float64] | None:
    """Linear light of grays at even steps, None if LittleCMS can make nothing of the profile."""
    space = _SPACES.get(profile[16:20])
    if space is None:
        return None
    steps = np.linspace(0.0, 1.0, _SAMPLES, dtype=np.float32)[None]
    grays = steps if space == "gray" else np.repeat(steps[..., None], 3, axis=2)
    try:
        xyz = imagecodecs.cms_transform(
            grays,
            profile,
            imagecodecs.cms_profile("xyz"),
            colorspace=space,
            outcolorspace="xyz",
            outdtype="f4",
        )
    except (imagecodecs.CmsError, ValueError, RuntimeError):
        return None
    light = np.asarray(xyz, np.float64)[0, :, 1]
    # The ends are what the file's own black and white are; what falls between is no curve.
    if not np.isfinite(light).all() or light[-1] - light[0] < 1e-3:
        return None
    light = np.maximum.accumulate((light - light[0]) / (light[-1] - light[0]))
    return light if light[-1] <= 1.0 + 1e-6 else None


def profile_of_codes(name: str, codes: bytes) -> bytes:
    """Return a profile for what PNG's cICP chunk says, empty for sRGB and unknown codes.

    Raises:
        InputError: for HDR.
    """
    primaries, curve = codes[0], codes[1]
    if curve in _HDR_CURVES:
        raise _hdr(name, _HDR_CURVES[curve])
    if primaries not in _PRIMARIES or (primaries == 1 and curve == _SRGB_CURVE):
        return b""
    chromaticities, white = _PRIMARIES[primaries]
    if curve == _SRGB_CURVE:
        return _profile(chromaticities, white, None)
    exponent = _EXPONENTS.get(curve)
    return b"" if exponent is None else _profile(chromaticities, white, exponent)


def profile_of_chromaticities(
    chromaticities: Sequence[float] | None, white: Sequence[float] | None, exponent: float | None
) -> bytes:
    """Return a profile for primaries and a curve, empty where they are sRGB's or make no sense.

    Args:
        chromaticities: x and y of red, green and blue; None for sRGB's.
        white: x and y; None for D65.
        exponent: of the curve from stored values to light; None for sRGB's curve.
    """
    chromaticities = tuple(chromaticities or _SRGB_PRIMARIES)
    white = tuple(white or _D65)
    pairs = [*zip(chromaticities[::2], chromaticities[1::2], strict=True), white]
    if not all(0 <= x <= 1 and 0 < y <= 1 and x + y <= 1.001 for x, y in pairs):
        return b""
    if exponent is not None and not 0.1 <= exponent <= 10:
        return b""
    usual = all(
        abs(a - b) < 0.002
        for a, b in zip((*chromaticities, *white), (*_SRGB_PRIMARIES, *_D65), strict=True)
    )
    if usual and (exponent is None or abs(exponent - 2.2) < 0.05):
        return b""
    return _profile(chromaticities, white, exponent)


def _profile(
    chromaticities: Sequence[float], white: Sequence[float], exponent: float | None
) -> bytes:
    curve: dict[str, Any] = {"gamma": exponent}
    if exponent is None:
        even = np.linspace(0.0, 1.0, 1024)
        curve = {"transferfunction": np.rint(_decode(even) * 65535).astype(np.uint16)}
    try:
        made = bytearray(
            imagecodecs.cms_profile(
                "rgb", primaries=list(chromaticities), whitepoint=list(white), **curve
            )
        )
    except (imagecodecs.CmsError, ValueError, RuntimeError):
        return b""
    made[24:36] = struct.pack(">6H", 2026, 1, 1, 0, 0, 0)  # the same file gives the same bytes
    return bytes(made)


def _hdr(name: str, what: str) -> InputError:
    return InputError(
        f"{name} is an HDR picture ({what}).",
        "Convert it to sRGB or another display profile first.",
    )
