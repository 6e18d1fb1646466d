"""The one pipeline: image and selection in, enhanced image out.

Command line, daemon, evaluation and demo all come through here, so what is measured is what
ships. The full-size work is proportional to the region around the selection, not to the photo.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from maskupe.areas import Areas, Transition, make_areas
from maskupe.checks import check_image, check_options, words
from maskupe.context import CONTEXT_EDGE, network_input, shrink
from maskupe.coverage import Coverage, cover, everything
from maskupe.denoise import Denoise, clean_source, denoise_scale
from maskupe.errors import InputError
from maskupe.fade import Fade, even, plain
from maskupe.highlights import Effect, foresee
from maskupe.illumination import illumination
from maskupe.maps import Maps, Window
from maskupe.region import region_of
from maskupe.rendering import render
from maskupe.rendering.pixels import weights
from maskupe.strips import machine_threads, rows_of, run_strips, stoppable
from maskupe.subject import find_subject

if TYPE_CHECKING:
    from maskupe.inference import Predictor

Float = npt.NDArray[np.float32]
Progress = Callable[[float], None]

_CACHED_MAPS = 8
# Pixels that a thread copies at a time.
_COPIED_PIXELS = 1 << 20
# Progress when the areas, the network's input and its maps are there; then comes the rendering.
# Roughly as the time goes on a photograph.
_STAGES = (0.3, 0.5, 0.6)


@dataclass(frozen=True)
class RegionResult:
    """What came of one region.

    Attributes:
        image: the enhanced region, of the input's shape and dtype.
        areas: the region's areas.
        weight: float32 (h, w), the weight with which the effect was blended in, where asked for.
        illumination: input divided by result, float32 (h, w[, 3]) in 0…1, where asked for: a layer
            in Divide mode with these values turns the input into the result.
        enhanced: the region with the full effect at every pixel, where asked for, like ``image``:
            blended into the region by ``weight`` it is ``image``.
    """

    image: npt.NDArray[Any]
    areas: Coverage
    weight: Float | None
    illumination: Float | None
    enhanced: npt.NDArray[Any] | None = None

    @property
    def width(self) -> float:
        """Width of the transition band that was used, in pixels."""
        return self.areas.width


class Enhancer:
    """A loaded model. Safe to use from several threads.

    >>> enhancer = Enhancer.load("default")                     # doctest: +SKIP
    >>> result = enhancer.enhance(image, selection)             # doctest: +SKIP
    """

    def __init__(self, predictor: Predictor, *, threads: int | None = None) -> None:
        self._predictor = predictor
        self._threads = threads
        self._cache: OrderedDict[bytes, tuple[Maps, Effect]] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def load(
        cls, model: str | Path = "default", device: str = "auto", *, threads: int | None = None
    ) -> Enhancer:
        """Loads a model by its registry name, or from a path to a ``.safetensors`` file.

        Args:
            model: a name of ``maskupe models``, or the path of a weight file.
            device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
            threads: how many threads a job may use; all cores if None.

        Raises:
            UnknownModelError: for a name that is not in the registry.
            WeightsError: for a weight file that is missing, damaged, or of another network.
        """
        from maskupe.inference import load_predictor

        return cls(load_predictor(model, device=device, threads=threads), threads=threads)

    @property
    def name(self) -> str:
        """The model's registry name."""
        return self._predictor.name

    @property
    def predictor(self) -> Predictor:
        """What runs the low-resolution network: its backend, device and metadata."""
        return self._predictor

    def areas(self, selection: npt.NDArray[Any], transition: Transition | None = None) -> Areas:
        """The areas A, B and C of a selection; see :func:`maskupe.areas.make_areas`."""
        return make_areas(selection, transition)

    def enhance(
        self,
        image: npt.NDArray[Any],
        selection: npt.NDArray[Any] | None = None,
        *,
        strength: float = 1.0,
        transition: Transition | None = None,
        denoise: Denoise = "auto",
        progress: Progress | None = None,
    ) -> npt.NDArray[Any]:
        """Lights up the selected part of an image.

        Args:
            image: (H, W), (H, W, 1), (H, W, 2: gray and alpha), (H, W, 3) or (H, W, 4), uint8,
                uint16 or float32 (nominal 0…1, may exceed it), display-encoded.
            selection: (H, W), bool, uint8, uint16 or float 0…1; None for the whole image.
            strength: 0 leaves the image as it is, 1 is the model's proposal, up to 2.
            transition: width and side of the transition band; automatic outside if None.
            denoise: how much of the estimated noise to remove from dark pixels before they are
                brightened: ``"auto"`` is 1; 0 leaves them as they are, at most 2.
            progress: called with 0…1 as the work goes on; what it raises ends the work.

        Returns:
            An image of the same shape and dtype. Pixels of C and alpha are bit-identical.

        Raises:
            InputError: for arrays or options that cannot be used.
            EmptySelectionError: if nothing is selected.
        """
        check_image(image)
        transition = transition or Transition()
        height, width = image.shape[:2]
        if selection is None:
            rows, columns = slice(0, height), slice(0, width)
            part = None
        else:
            if selection.shape != (height, width):
                raise InputError(
                    f"The selection is {words(selection)} pixels, the image {words(image)}.",
                    "Both must have the same width and height.",
                )
            rows, columns = region_of(selection, transition)
            part = selection[rows, columns]
        region = image[rows, columns]
        whole = region.shape == image.shape
        found = self.enhance_region(
            region,
            part,
            None if whole else shrink(image, CONTEXT_EDGE, self._threads),
            window=Window(columns.start, rows.start, width, height),
            strength=strength,
            transition=transition,
            denoise=denoise,
            progress=progress,
        )
        if whole:
            return found.image
        return self._put(found.image, image, rows, columns)

    def _put(
        self, part: npt.NDArray[Any], image: npt.NDArray[Any], rows: slice, columns: slice
    ) -> npt.NDArray[Any]:
        """A copy of the image with a part of it replaced."""
        result = np.empty_like(image)

        def strip(first: int, last: int) -> None:
            result[first:last] = image[first:last]

        height, width = image.shape[:2]
        threads = self._threads or machine_threads()
        run_strips(strip, height, rows_of(_COPIED_PIXELS, width), threads, None)
        result[rows, columns] = part
        return result

    def enhance_region(
        self,
        region: npt.NDArray[Any],
        selection: npt.NDArray[Any] | None,
        context: npt.NDArray[Any] | None,
        *,
        window: Window,
        strength: float = 1.0,
        transition: Transition | None = None,
        denoise: Denoise = "auto",
        outputs: Sequence[str] = ("image",),
        strip_pixels: int | None = None,
        backend: str | None = None,
        progress: Progress | None = None,
    ) -> RegionResult:
        """Lights up one region of a layer: what the daemon does for each job.

        Args:
            region: (h, w[, c]) the layer's pixels that hold A and B, dtypes as in :meth:`enhance`.
            selection: (h, w), the selection in the region, which holds all of it; None: all is A.
            context: (ch, cw[, c]) the whole layer scaled down, or None if the region is the layer.
            window: where the region lies in the layer.
            strength: see :meth:`enhance`.
            transition: see :meth:`enhance`.
            denoise: see :meth:`enhance`.
            outputs: of :data:`maskupe.checks.OUTPUTS`; all but image and areas are made only
                where asked for.
            strip_pixels: how many pixels to render at a time, see :func:`maskupe.rendering.render`:
                for a device that has run out of memory.
            backend: what to render with, see :func:`maskupe.rendering.render`.
            progress: see :meth:`enhance`; called after every strip of every stage.

        Raises:
            InputError: for arrays or options that cannot be used.
            EmptySelectionError: if nothing is selected.
        """
        check_image(region)
        check_options(strength, outputs)
        scale = denoise_scale(denoise)
        height, width = region.shape[:2]
        if not (0 <= window.x <= window.layer_width - width) or not (
            0 <= window.y <= window.layer_height - height
        ):
            raise InputError("The region does not lie inside its layer.")
        if selection is not None and selection.shape != (height, width):
            raise InputError(
                f"The selection is {words(selection)} pixels, the region {words(region)}."
            )
        tell = progress or (lambda _: None)
        done = 0.0
        with stoppable(lambda: tell(done)):
            if selection is None:
                areas = everything(height, width)
            else:
                short = min(window.layer_width, window.layer_height)
                areas = cover(selection, transition, short_side=short, threads=self._threads)
            tell(done := _STAGES[0])
            seen = network_input(region, areas, context, window, threads=self._threads)
            tell(done := _STAGES[1])
        maps, effect = self._maps(*seen)
        tell(_STAGES[2])
        fade = self._fade(areas, effect, strength)
        with stoppable(lambda: tell(_STAGES[2])):
            clean = clean_source(
                region,
                areas.plane,
                effect.curve,
                strength=scale if strength > 0 else 0.0,
                effect=strength,
                threads=self._threads,
            )

        def lit(where: Coverage, fade: Fade) -> npt.NDArray[Any]:
            return render(
                maps,
                region,
                where,
                window,
                strength=strength,
                fade=fade,
                clean=clean,
                threads=self._threads,
                strip_pixels=strip_pixels,
                backend=backend,
                progress=lambda done: tell(_STAGES[-1] + done * (1.0 - _STAGES[-1])),
            )

        image = lit(areas, fade)
        enhanced = lit(everything(height, width), plain()) if "enhanced" in outputs else None
        return RegionResult(
            image,
            areas,
            weights(areas, region, fade) if "weight" in outputs else None,
            illumination(region, image) if "illumination" in outputs else None,
            enhanced,
        )

    @staticmethod
    def _fade(areas: Coverage, effect: Effect, strength: float) -> Fade:
        """From coverage to weight."""
        if areas.uniform and effect.inside == 0.0:
            return plain()
        return even(effect.log_gain * strength, effect.allowed, effect.inside)

    def _maps(self, context: Float, shares: Float) -> tuple[Maps, Effect]:
        """The network's maps for the subject in A, and what they will do there and around it.

        Remembered by content: a slider that moves costs no inference.
        """
        key = context.tobytes() + shares.tobytes()
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        subject = find_subject(context, shares)
        maps = self._predictor.predict(context, subject.shares)
        found = maps, foresee(maps, context, subject)
        with self._lock:
            self._cache[key] = found
            while len(self._cache) > _CACHED_MAPS:
                self._cache.popitem(last=False)
        return found
