"""Underexposure made from well-exposed photographs, the way a camera makes it.

The photograph is taken back to the light that reached the sensor, less light is let in
(everywhere, and less still in one soft region, as with light from behind), the sensor adds shot
and read noise, the light may be coloured, and the result is encoded to 8 bits again. The truth is
the photograph itself at the exposure that suits the mask, so candidates at a few exposures are
offered, as in a bracket.

Cameras do not encode as sRGB says: they darken the toe and roll off the highlights, each its own
way. A response y^g = a·E / (E + a - 1), with g and a drawn per picture, explains exposure brackets
within 0.5 dB of the best free curve per channel, where sRGB alone stays 4 dB below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from maskupe.blending.weights import inverse_smoothstep
from maskupe.errors import InputError
from maskupe.pixel_layout import LUMA
from maskupe_training.data.images import F32, U8

# Entries of the table that encodes light by its square root.
_ROOTS = 8192

_SHARES = ("local", "published", "linear")


@dataclass(frozen=True)
class SynthesisRecipe:
    """How photographs are underexposed.

    Attributes:
        exposure: darkest and lightest global exposure in EV.
        local: share of pictures with a region that is darker still.
        local_exposure: darkest and lightest further exposure of that region in EV.
        read_noise: smallest and largest standard deviation of the read noise, of full scale.
        full_well: smallest and largest number of photons at full scale; fewer are noisier.
        colour_cast: standard deviation of the channels' gains in EV.
        bracket: exposures in EV at which the photograph itself is offered as the truth.
        bracket_shift: the bracket is moved by up to this many EV, as real brackets do not hit the
            best exposure either.
        published: share of pictures whose truth is the photograph as it was published, only a
            little underexposed, whatever its brightness: a model that never meets them learns to
            brighten everything.
        published_exposure: darkest and lightest global exposure of those in EV.
        published_flatness: least and most contrast that is taken from those first, see
            :func:`undeveloped`: a retoucher gave it to them, together with the light.
        published_colour: least and most share of their saturation that is kept.
        exponent: smallest and largest g of the camera's response.
        shoulder: smallest and largest a - 1 of the camera's response; small is a long shoulder.
        linear: share of pictures that lose light as sRGB encodes it, without a camera's tone
            curve, as when a raw file is developed plainly.
    """

    exposure: tuple[float, float] = (-5.0, -0.5)
    local: float = 0.3
    local_exposure: tuple[float, float] = (-2.5, -0.5)
    read_noise: tuple[float, float] = (0.0002, 0.002)
    full_well: tuple[float, float] = (2000.0, 40000.0)
    colour_cast: float = 0.08
    bracket: tuple[float, ...] = (-1.0, -0.5, 0.0, 0.5, 1.0)
    bracket_shift: float = 0.0
    published: float = 0.0
    published_exposure: tuple[float, float] = (-2.0, 0.0)
    published_flatness: tuple[float, float] = (0.0, 0.0)
    published_colour: tuple[float, float] = (1.0, 1.0)
    exponent: tuple[float, float] = (0.7, 1.6)
    shoulder: tuple[float, float] = (0.01, 0.2)
    linear: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, tuple) and name != "bracket" and not value[0] <= value[1]:
                low, high = value
                raise InputError(f"synthesis.{name} runs from {low} to {high}.", "Swap the two.")
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(
                    f"synthesis.{name} is {getattr(self, name)}.", "Give a share, 0 … 1."
                )
        if not self.bracket:
            raise InputError("synthesis.bracket is empty.", "Give at least the exposure 0.")


@dataclass(frozen=True)
class Response:
    """A camera's response: encoded y of light E, y^g = a·E / (E + a - 1), with y(1) = 1.

    Attributes:
        exponent: g.
        shoulder: a, above 1.
    """

    exponent: float
    shoulder: float

    def light(self, encoded: U8) -> F32:
        """Light, float32 from 0 to 1, that gives these uint8 values."""
        power = (np.arange(256, dtype=np.float64) / 255.0) ** self.exponent
        table = (self.shoulder - 1.0) * power / (self.shoulder - power)
        return table.astype(np.float32)[encoded]

    def encode(self, light: F32) -> U8:
        """Return uint8 values of light, clipped to 0…1 and rounded."""
        # A power per pixel is slow. In the root of light, steps this fine are within one level.
        roots = np.sqrt(np.clip(light, 0.0, 1.0)) * np.float32(_ROOTS - 1)
        return self._by_root[np.rint(roots).astype(np.uint16)]

    @cached_property
    def _by_root(self) -> U8:
        light = np.linspace(0.0, 1.0, _ROOTS) ** 2
        power = self.shoulder * light / (light + (self.shoulder - 1.0))
        return np.rint(power ** (1.0 / self.exponent) * 255.0).astype(np.uint8)

    @property
    def middle_gray(self) -> float:
        """The light that is encoded as one half."""
        power = 0.5**self.exponent
        return float((self.shoulder - 1.0) * power / (self.shoulder - power))


#: Close to sRGB's transfer curve: a power, and next to no shoulder.
SRGB_RESPONSE = Response(2.2, 1000.0)


def draw_response(rng: np.random.Generator, recipe: SynthesisRecipe) -> Response:
    """Return a response with g uniform and a - 1 log-uniform in the recipe's ranges, or sRGB's."""
    if recipe.linear and rng.random() < recipe.linear:
        return SRGB_RESPONSE
    shoulder = np.exp(rng.uniform(*np.log(recipe.shoulder)))
    return Response(float(rng.uniform(*recipe.exponent)), 1.0 + float(shoulder))


def underexpose(
    rng: np.random.Generator,
    photo: U8,
    recipe: SynthesisRecipe,
    response: Response,
    published: bool = False,
) -> U8:
    """Return a photograph as a camera would have taken it with too little light.

    Args:
        rng: the generator.
        photo: uint8 (H, W, 3), well exposed.
        recipe: the ranges to draw from.
        response: the camera's.
        published: whether to underexpose only a little, and everywhere alike, and to take back
            what a retoucher did.

    Returns:
        uint8 (H, W, 3), encoded by the same response.
    """
    height, width = photo.shape[:2]
    if published:
        flatness = rng.uniform(*recipe.published_flatness)
        photo = undeveloped(photo, flatness, rng.uniform(*recipe.published_colour))
    between = recipe.published_exposure if published else recipe.exposure
    exposure = np.full((height, width), rng.uniform(*between), np.float32)
    if not published and rng.random() < recipe.local:
        exposure += rng.uniform(*recipe.local_exposure) * _soft_region(rng, height, width)
    cast = rng.normal(0.0, recipe.colour_cast, 3).astype(np.float32)
    cast -= cast.mean()
    light = response.light(photo) * np.exp2(exposure[..., None] + cast)
    return response.encode(light + sensor_noise(rng, light, recipe, response))


def sensor_noise(
    rng: np.random.Generator, light: F32, recipe: SynthesisRecipe, response: Response
) -> F32:
    """Return the shot and read noise of light, float32 of its shape."""
    full_well = np.exp(rng.uniform(*np.log(recipe.full_well)))
    read = rng.uniform(*recipe.read_noise)
    # Sensors are metered on middle gray: noise is counted relative to light of 18 % of full scale.
    metered = np.float32(response.middle_gray / 0.18)
    # Poisson shot noise by its normal approximation, plus Gaussian read noise.
    shot = light * metered / np.float32(full_well)
    deviation = np.sqrt(shot + np.float32((read * metered) ** 2))
    noise: F32 = rng.standard_normal(light.shape, np.float32) * deviation
    return noise


def undeveloped(photo: U8, flatness: float, colour: float) -> U8:
    """Return a published photograph before its retouching: with less contrast and paler colours.

    Retouchers put an S-curve over what comes out of the camera, and saturation. The curve is taken
    as the smoothstep 3x² - 2x³ of the display-encoded values, of which this is the inverse.

    Args:
        photo: uint8 (H, W, 3).
        flatness: 0 changes nothing, 1 takes a whole smoothstep back.
        colour: share of the saturation that stays, about luma.

    Returns:
        uint8 (H, W, 3).
    """
    values = np.arange(256, dtype=np.float32) / np.float32(255.0)
    flat = (values + np.float32(flatness) * (inverse_smoothstep(values) - values))[photo]
    gray = (flat @ LUMA)[..., None]
    return np.asarray(np.rint(255.0 * np.clip(gray + colour * (flat - gray), 0.0, 1.0)), np.uint8)


def bracket(photo: U8, exposures: Sequence[float], response: Response) -> tuple[U8, ...]:
    """Return the photograph at several exposures in EV, noiseless, highlights clipped."""
    light = response.light(np.arange(256, dtype=np.uint8))
    return tuple(
        photo
        if ev == 0
        else np.asarray(cv2.LUT(photo, response.encode(light * np.float32(2.0**ev))))
        for ev in exposures
    )


def _soft_region(rng: np.random.Generator, height: int, width: int) -> F32:
    """Return a smooth random region, 0…1: low-frequency noise, raised to soft plateaus."""
    coarse = rng.standard_normal((5, 5)).astype(np.float32)
    field = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
    steepness = rng.uniform(2.0, 8.0)
    return np.asarray(1.0 / (1.0 + np.exp(-steepness * field)), np.float32)
