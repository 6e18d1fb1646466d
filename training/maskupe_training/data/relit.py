"""Subjects that stand in less light than what is behind them: the truth is the scene before.

Brackets and darkened photographs say how a picture looks with more light everywhere. How much light
a *selected* subject lacks is another question, and its surroundings answer it. So subjects with a
known matte, cut-outs on photographs or persons with a mask, lose light through their matte.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from maskupe.errors import InputError
from maskupe.pixel_layout import LUMA
from maskupe_training.data.images import F32, U8, fit_long_edge, read_rgb
from maskupe_training.data.photos import licensed_images
from maskupe_training.data.sources import Exposure, Source
from maskupe_training.data.synthesis import Response, SynthesisRecipe, draw_response, sensor_noise
from maskupe_training.matte import scenes
from maskupe_training.matte.samples import Material, MatteSamples

_SIDE = 192
_PHOTO_EDGE = 512
# What a subject's mean luma must be, of 255, for its own look to be a truth.
_WELL_EXPOSED = (62.0, 195.0)
_ATTEMPTS = 40


class RelitSource(Source):
    """Scenes whose subject lost light; as many as asked for, each drawn by the generator.

    Args:
        cutouts: folder of RGBA pictures.
        photos: folder of the backgrounds, of which those under ``licences`` are taken.
        masked: folders of photographs with masks of their own subjects.
        recipe: what cameras are drawn from, and how dark the subjects are (``local_exposure``).
        licences: see :class:`~maskupe_training.data.photos.PhotoSource`.
    """

    def __init__(
        self,
        cutouts: Path,
        photos: Path,
        masked: Sequence[Path],
        recipe: SynthesisRecipe,
        licences: Sequence[str],
    ) -> None:
        chosen = licensed_images(photos, licences)
        if not chosen:
            raise InputError(f"No photograph of {photos} is under the wanted licences.")
        own = [pair for folder in masked for pair in scenes.read_masked(folder)]
        material = Material(
            scenes.read_cutouts(cutouts),
            [fit_long_edge(read_rgb(path), _PHOTO_EDGE) for path in chosen],
            own,
        )
        #: The photographs behind the subjects.
        self.scenes = tuple(path.stem for path in chosen)
        self._samples = MatteSamples(material, seed=0, length=0, side=_SIDE)
        self._length = len(material.cutouts) + len(own)
        self._recipe = recipe

    def __len__(self) -> int:
        return self._length

    def draw(self, rng: np.random.Generator) -> Exposure:
        """See :class:`~maskupe_training.data.sources.Source`."""
        for _ in range(_ATTEMPTS):
            found = self._samples.compose(rng, rng.uniform(0.25, 0.85))
            if found is None:
                continue
            picture, alpha = found
            core = alpha > 0.95
            if not core.mean() > 0.01:
                continue
            mean = float((picture[core].astype(np.float32) @ LUMA).mean())
            if _WELL_EXPOSED[0] < mean < _WELL_EXPOSED[1]:
                dark = relight(rng, picture, alpha, self._recipe)
                matte = np.rint(alpha * 255.0).astype(np.uint8)
                return Exposure("relit", dark, (picture,), fixed=True, alpha=matte)
        raise InputError("No scene with a well-exposed subject could be drawn.")

    def nth(self, scene: int, rng: np.random.Generator) -> Exposure:
        """See :class:`~maskupe_training.data.sources.Source`; every scene is a random one."""
        return self.draw(rng)


def relight(rng: np.random.Generator, picture: U8, alpha: F32, recipe: SynthesisRecipe) -> U8:
    """Take light away from a subject, and now and then a little from everything.

    Args:
        rng: the generator.
        picture: uint8 (H, W, 3), well exposed.
        alpha: float32 (H, W), the subject's matte.
        recipe: the ranges of exposures, noise and cameras.
    """
    response: Response = draw_response(rng, recipe)
    exposure = rng.uniform(*recipe.local_exposure) * alpha
    if rng.random() < 0.3:
        exposure = exposure + rng.uniform(-2.0, 0.0)
    cast = rng.normal(0.0, recipe.colour_cast, 3).astype(np.float32)
    light = response.light(picture) * np.exp2(exposure[..., None] + cast * alpha[..., None])
    return response.encode(light + sensor_noise(rng, light, recipe, response))
