"""Underexposure made from well-exposed photographs, the way a camera makes it.

The photograph is taken back to linear light, less light is let in (everywhere, and less still in
one soft region, as with light from behind), the sensor adds shot and read noise, the light may be
coloured, and the result is encoded to 8 bits again. The truth is the photograph itself at the
exposure that suits the mask, so candidates at a few exposures are offered, as in a bracket.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from maskupe.errors import InputError
from maskupe_training.data.images import F32, U8, ImageCache, list_images
from maskupe_training.data.sources import Exposure, split_names


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
    """

    exposure: tuple[float, float] = (-5.0, -0.5)
    local: float = 0.3
    local_exposure: tuple[float, float] = (-2.5, -0.5)
    read_noise: tuple[float, float] = (0.0002, 0.002)
    full_well: tuple[float, float] = (2000.0, 40000.0)
    colour_cast: float = 0.08
    bracket: tuple[float, ...] = (-1.0, -0.5, 0.0, 0.5, 1.0)

    def __post_init__(self) -> None:
        for name in ("exposure", "local_exposure", "read_noise", "full_well"):
            low, high = getattr(self, name)
            if not low <= high:
                raise InputError(f"synthesis.{name} runs from {low} to {high}.", "Swap the two.")
        if not self.bracket:
            raise InputError("synthesis.bracket is empty.", "Give at least the exposure 0.")


def decode_srgb(encoded: U8) -> F32:
    """Linear light, float32 0…1, of sRGB-encoded uint8 (IEC 61966-2-1)."""
    return _DECODE[encoded]


def encode_srgb(linear: F32) -> U8:
    """sRGB-encoded uint8 of linear light, clipped to 0…1 and rounded."""
    x = np.clip(linear, 0.0, 1.0)
    encoded = np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.power(x, 1 / 2.4) - 0.055)
    return np.rint(encoded * 255.0).astype(np.uint8)


_LEVELS = np.arange(256, dtype=np.float64) / 255.0
_DECODE: F32 = np.where(
    _LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4
).astype(np.float32)


def underexpose(rng: np.random.Generator, photo: U8, recipe: SynthesisRecipe) -> U8:
    """A photograph as a camera would have taken it with too little light.

    Args:
        rng: the generator.
        photo: uint8 (H, W, 3), sRGB, well exposed.
        recipe: the ranges to draw from.

    Returns:
        uint8 (H, W, 3), sRGB.
    """
    height, width = photo.shape[:2]
    exposure = np.full((height, width), rng.uniform(*recipe.exposure), np.float32)
    if rng.random() < recipe.local:
        exposure += rng.uniform(*recipe.local_exposure) * _soft_region(rng, height, width)
    cast = rng.normal(0.0, recipe.colour_cast, 3).astype(np.float32)
    cast -= cast.mean()
    light = decode_srgb(photo) * np.exp2(exposure[..., None] + cast)
    full_well = np.exp(rng.uniform(*np.log(recipe.full_well)))
    read = rng.uniform(*recipe.read_noise)
    # Poisson shot noise by its normal approximation, plus Gaussian read noise.
    deviation = np.sqrt(light / np.float32(full_well) + np.float32(read * read))
    noise = rng.standard_normal(light.shape, np.float32) * deviation
    return encode_srgb(light + noise)


def bracket(photo: U8, exposures: Sequence[float]) -> tuple[U8, ...]:
    """The photograph at several exposures in EV, noiseless, highlights clipped."""
    light = decode_srgb(photo)
    return tuple(photo if ev == 0 else encode_srgb(light * np.float32(2.0**ev)) for ev in exposures)


def _soft_region(rng: np.random.Generator, height: int, width: int) -> F32:
    """A smooth random region, 0…1: low-frequency noise, raised to soft plateaus."""
    coarse = rng.standard_normal((5, 5)).astype(np.float32)
    field = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
    steepness = rng.uniform(2.0, 8.0)
    return np.asarray(1.0 / (1.0 + np.exp(-steepness * field)), np.float32)


class PhotoSource:
    """A folder of well-exposed photographs, underexposed as they are drawn.

    ``index.csv`` (``file,source,licence,…``), if there, gives each photograph's licence, and only
    those whose licence contains one of ``licences`` are used; ``split.json`` divides them.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        cache: ImageCache,
        recipe: SynthesisRecipe,
        licences: Sequence[str] = (),
    ) -> None:
        names = {path.name: path for path in list_images(folder)}
        if licences:
            names = {name: names[name] for name in licensed(folder, licences) if name in names}
        if (folder / "split.json").is_file():
            chosen = set(split_names(folder, split))
            names = {name: path for name, path in names.items() if name in chosen}
        if not names:
            raise InputError(
                f"No photograph of {folder} is in the split {split!r} under the wanted licences.",
                "Check data.licences in the recipe, index.csv and split.json.",
            )
        self._paths = [names[name] for name in sorted(names)]
        self._cache = cache
        self._recipe = recipe

    def __len__(self) -> int:
        return len(self._paths)

    def draw(self, rng: np.random.Generator) -> Exposure:
        """See :class:`Source`."""
        return self.nth(int(rng.integers(len(self._paths))), rng)

    def nth(self, scene: int, rng: np.random.Generator) -> Exposure:
        """See :class:`~maskupe_training.data.sources.Source`."""
        path = self._paths[scene % len(self._paths)]
        photo = self._cache.get(path)
        image = underexpose(rng, photo, self._recipe)
        return Exposure(path.stem, image, bracket(photo, self._recipe.bracket), fixed=False)


def licensed(folder: Path, licences: Sequence[str]) -> list[str]:
    """File names in ``folder/index.csv`` whose licence contains one of ``licences``.

    Raises:
        InputError: if there is no index, or it has no columns ``file`` and ``licence``.
    """
    path = folder / "index.csv"
    if not path.is_file():
        raise InputError(
            f"There is no {path}, so the photographs' licences are unknown.",
            "Write one with the columns file,source,licence, or leave data.licences out.",
        )
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        if not {"file", "licence"} <= set(reader.fieldnames or ()):
            raise InputError(f"{path} lacks the columns file and licence.")
        return [row["file"] for row in reader if any(kind in row["licence"] for kind in licences)]
