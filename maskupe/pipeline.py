"""The one pipeline: image and selection in, enhanced image out.

Command line, daemon, evaluation and demo all come through here, so what is measured is what
ships. The full-size work is proportional to the region around the selection, not to the photo.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from maskupe.areas.coverage import Coverage, full_coverage, make_coverage
from maskupe.areas.partition import make_areas
from maskupe.areas.region import region_of
from maskupe.areas.transition import Areas, Transition
from maskupe.blending.weights import BlendCurve, linear, perceptual
from maskupe.denoise import clean_source, denoise_scale
from maskupe.effect import EffectStats, predict_effect
from maskupe.errors import InputError
from maskupe.maps import Maps, Window
from maskupe.matting.full_size import apply_matte
from maskupe.matting.matte import Matte, Predict, make_matte
from maskupe.matting.surroundings import surroundings_of
from maskupe.parallel import cancellable, machine_threads, parallel_rows, rows_of
from maskupe.pixel_layout import colour_channels
from maskupe.preprocess.context import CONTEXT_EDGE, downscale, fingerprint, network_input
from maskupe.rendering import default_backend, render
from maskupe.rendering.illumination import illumination
from maskupe.rendering.pixels import weights
from maskupe.validation import check_image, check_options, shape_text
from maskupe.warmth import warmed

if TYPE_CHECKING:
    from maskupe.inference import Predictor

Float = npt.NDArray[np.float32]
Progress = Callable[[float], None]

# Predictions that are remembered.
_CACHED = 8
# Pixels that a thread copies at a time.
_COPIED_PIXELS = 1 << 20
# Progress when the areas, the matte, the network's input and its maps are there; then comes the
# rendering. Roughly as the time goes on a photograph.
_STAGES = (0.2, 0.35, 0.5, 0.6)


@dataclass(frozen=True)
class RegionResult:
    """What came of one region.

    Attributes:
        image: the enhanced region, of the input's shape and dtype; or the part asked for, and so
            are the others.
        areas: the region's areas.
        weight: float32 (h, w), the weight with which the effect was blended in, where asked for.
        illumination: input divided by result, float32 (h, w[, 3]) in 0…1, where asked for: a layer
            in Divide mode with these values turns the input into the result.
        enhanced: the region with the full effect at every pixel, where asked for, like ``image``:
            blended into the region by ``weight`` it is ``image``.
        renderer: the backend that rendered it, as :func:`maskupe.rendering.render` names them.
    """

    image: npt.NDArray[Any]
    areas: Coverage
    weight: Float | None
    illumination: Float | None
    enhanced: npt.NDArray[Any] | None = None
    renderer: str = ""

    @property
    def width(self) -> float:
        """Width of the transition band that was used, in pixels."""
        return self.areas.width


def _default_matting() -> Predict:
    from maskupe.inference.matting import load_matting

    return load_matting()


class Enhancer:
    """A loaded model. Safe to use from several threads.

    >>> enhancer = Enhancer.load("default")                     # doctest: +SKIP
    >>> result = enhancer.enhance(image, selection)             # doctest: +SKIP
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        threads: int | None = None,
        matting: Callable[[], Predict] | None = None,
    ) -> None:
        self._predictor = predictor
        self._threads = threads
        self._matting = matting or _default_matting
        self._maps: _Remembered[Maps] = _Remembered()
        self._mattes: _Remembered[Matte | None] = _Remembered()
        self._effects: _Remembered[EffectStats] = _Remembered()

    @classmethod
    def load(
        cls,
        model: str | Path = "default",
        device: str = "auto",
        *,
        threads: int | None = None,
        matting: str | Path = "default",
    ) -> Enhancer:
        """Load a model by its registry name, or from a path to a ``.safetensors`` file.

        Args:
            model: a name of ``maskupe models``, or the path of a weight file.
            device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
            threads: how many threads a job may use; all cores if None.
            matting: the network that follows edges: a name of :data:`maskupe.registry.MATTES` or
                the path of a weight file. It is loaded when it is first needed.

        Raises:
            UnknownModelError: for a name that is not in the registry.
            WeightsError: for a weight file that is missing, damaged, or of another network.
        """
        from maskupe.inference import load_predictor

        predictor = load_predictor(model, device=device, threads=threads)

        def load_matting() -> Predict:
            from maskupe.inference.matting import load_matting

            return load_matting(matting, predictor.device, threads)

        return cls(predictor, threads=threads, matting=load_matting)

    @property
    def name(self) -> str:
        """The model's registry name."""
        return self._predictor.name

    @property
    def predictor(self) -> Predictor:
        """What runs the low-resolution network: its backend, device and metadata."""
        return self._predictor

    def areas(self, selection: npt.NDArray[Any], transition: Transition | None = None) -> Areas:
        """Return the areas A, B and C of a selection.

        See :func:`maskupe.areas.partition.make_areas`.
        """
        return make_areas(selection, transition)

    def enhance(
        self,
        image: npt.NDArray[Any],
        selection: npt.NDArray[Any] | None = None,
        *,
        strength: float = 1.0,
        denoise: float | Literal["auto"] = "auto",
        warmth: float = 0.0,
        saturation: float = 0.0,
        transition: Transition | None = None,
        progress: Progress | None = None,
    ) -> npt.NDArray[Any]:
        """Light up the selected part of an image.

        Args:
            image: (H, W), (H, W, 1), (H, W, 2: gray and alpha), (H, W, 3) or (H, W, 4), uint8,
                uint16 or float32 (nominal 0…1, may exceed it), display-encoded.
            selection: (H, W), bool, uint8, uint16 or float 0…1; None for the whole image.
            strength: 0 leaves the image as it is, 1 is the model's proposal, up to 2.
            denoise: how strongly to reduce noise in what is lit up: 0 not at all, 1 as far as
                possible, ``"auto"`` as much as is found.
            warmth: colour of the added light, from -1, cooler, to 1, warmer; 0 is the model's
                proposal. Without effect on gray images.
            saturation: how colourful what is brightened is, from -1, gray, to 1, twice the chroma;
                0 is the model's proposal. It acts in full where a pixel is brightened by a stop or
                more. Without effect on gray images.
            transition: width and side of the transition band; automatic outside if None.
            progress: called with 0…1 as the work goes on; what it raises ends the work.

        Returns:
            An image of the same shape and dtype. Pixels of C and alpha are bit-identical.

        Raises:
            InputError: for arrays or options that cannot be used.
            EmptySelectionError: if nothing is selected.
        """
        found, rows, columns = self._enhance_selected(
            image,
            selection,
            transition,
            strength=strength,
            denoise=denoise,
            warmth=warmth,
            saturation=saturation,
            outputs=("image",),
            progress=progress,
        )
        return self._put(found.image, image, rows, columns)

    def enhance_with_matte(
        self,
        image: npt.NDArray[Any],
        selection: npt.NDArray[Any] | None = None,
        *,
        strength: float = 1.0,
        denoise: float | Literal["auto"] = "auto",
        warmth: float = 0.0,
        saturation: float = 0.0,
        transition: Transition | None = None,
        progress: Progress | None = None,
    ) -> tuple[npt.NDArray[Any], Float]:
        """Light up the selected part of an image, and return the blend weight as well.

        Args:
            image: see :meth:`enhance`.
            selection: see :meth:`enhance`.
            strength: see :meth:`enhance`.
            denoise: see :meth:`enhance`.
            warmth: see :meth:`enhance`.
            saturation: see :meth:`enhance`.
            transition: see :meth:`enhance`.
            progress: see :meth:`enhance`.

        Returns:
            The image that :meth:`enhance` returns, and the matte: float32 (H, W) in 0…1, the
            weight with which the effect was blended in at each pixel, 0 in C.

        Raises:
            InputError: for arrays or options that cannot be used.
            EmptySelectionError: if nothing is selected.
        """
        found, rows, columns = self._enhance_selected(
            image,
            selection,
            transition,
            strength=strength,
            denoise=denoise,
            warmth=warmth,
            saturation=saturation,
            outputs=("image", "weight"),
            progress=progress,
        )
        assert found.weight is not None  # it was asked for
        matte = np.zeros(image.shape[:2], np.float32)
        matte[rows, columns] = found.weight
        return self._put(found.image, image, rows, columns), matte

    def _enhance_selected(
        self,
        image: npt.NDArray[Any],
        selection: npt.NDArray[Any] | None,
        transition: Transition | None,
        **options: Any,
    ) -> tuple[RegionResult, slice, slice]:
        """What came of the region that a selection needs, and the region's rows and columns.

        Args:
            image: see :meth:`enhance`.
            selection: see :meth:`enhance`.
            transition: see :meth:`enhance`.
            options: the others of :meth:`enhance_region`.
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
                    f"The selection is {shape_text(selection)} pixels, "
                    f"the image {shape_text(image)}.",
                    "Both must have the same width and height.",
                )
            rows, columns = region_of(selection, transition)
            part = selection[rows, columns]
        region = image[rows, columns]
        whole = region.shape == image.shape
        found = self.enhance_region(
            region,
            part,
            None if whole else downscale(image, CONTEXT_EDGE, self._threads),
            window=Window(columns.start, rows.start, width, height),
            transition=transition,
            **options,
        )
        return found, rows, columns

    def _put(
        self, part: npt.NDArray[Any], image: npt.NDArray[Any], rows: slice, columns: slice
    ) -> npt.NDArray[Any]:
        """Return a copy of the image with a part of it replaced.

        The part itself if it is all of it.
        """
        if part.shape == image.shape:
            return part
        result = np.empty_like(image)

        def strip(first: int, last: int) -> None:
            result[first:last] = image[first:last]

        height, width = image.shape[:2]
        threads = self._threads or machine_threads()
        parallel_rows(strip, height, rows_of(_COPIED_PIXELS, width), threads, None)
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
        denoise: float | Literal["auto"] = "auto",
        warmth: float = 0.0,
        saturation: float = 0.0,
        transition: Transition | None = None,
        outputs: Sequence[str] = ("image",),
        part: tuple[slice, slice] | None = None,
        strip_pixels: int | None = None,
        backend: str | None = None,
        progress: Progress | None = None,
    ) -> RegionResult:
        """Light up one region of a layer: what the daemon does for each job.

        Args:
            region: (h, w[, c]) the layer's pixels that hold A and B, dtypes as in :meth:`enhance`.
            selection: (h, w), the selection in the region, which holds all of it; None: all is A.
            context: (ch, cw[, c]) the whole layer scaled down, or None if the region is the layer.
            window: where the region lies in the layer.
            strength: see :meth:`enhance`.
            denoise: see :meth:`enhance`.
            warmth: see :meth:`enhance`.
            saturation: see :meth:`enhance`.
            transition: see :meth:`enhance`.
            outputs: of :data:`maskupe.validation.OUTPUTS`; all but image and areas are made only
                where asked for.
            part: rows and columns of the region, with a start, a stop and no step: the result
                holds only these pixels, with the values that they have in the whole result.
            strip_pixels: how many pixels to render at a time, see :func:`maskupe.rendering.render`:
                for a device that has run out of memory.
            backend: what to render with, see :func:`maskupe.rendering.render`.
            progress: see :meth:`enhance`; called after every strip of every stage.

        Raises:
            InputError: for arrays or options that cannot be used.
            EmptySelectionError: if nothing is selected.
        """
        check_image(region)
        check_options(strength, outputs, denoise, warmth, saturation)
        scale = denoise_scale(denoise)
        height, width = region.shape[:2]
        if not (0 <= window.x <= window.layer_width - width) or not (
            0 <= window.y <= window.layer_height - height
        ):
            raise InputError("The region does not lie inside its layer.")
        if selection is not None and selection.shape != (height, width):
            raise InputError(
                f"The selection is {shape_text(selection)} pixels, the region {shape_text(region)}."
            )
        rows, columns = part or (slice(0, height), slice(0, width))
        if not (0 <= rows.start < rows.stop <= height) or not (
            0 <= columns.start < columns.stop <= width
        ):
            raise InputError("The part to render does not lie inside the region.")
        tell = progress or (lambda _: None)
        done = 0.0
        with cancellable(lambda: tell(done)):
            transition = transition or Transition()
            matte = None
            if selection is None:
                areas = full_coverage(height, width)
            else:
                short = min(window.layer_width, window.layer_height)
                areas = make_coverage(
                    selection, transition, short_side=short, threads=self._threads
                )
            tell(done := _STAGES[0])
            if selection is not None and transition.follows_edges and not areas.uniform:
                matte = self._matte(region, selection, context, window, transition)
                tell(done := _STAGES[1])
            if matte is not None and selection is not None:
                areas = apply_matte(
                    matte, areas, region, selection, window, strength, self._threads
                )
            seen = network_input(region, areas, context, window, threads=self._threads)
            tell(done := _STAGES[2])
        if colour_channels(region) == 1:
            warmth = 0.0
        maps = warmed(self._predicted(*seen), warmth, seen[0])
        effect = self._effect(maps, warmth, *seen, matte, window)
        del seen
        tell(_STAGES[3])
        if matte is not None:
            fade = BlendCurve(linear().ramp, effect.bound)
        else:
            fade = linear() if areas.uniform else perceptual(effect.log_gain * strength)
        backend = backend or default_backend()
        with cancellable(lambda: tell(_STAGES[3])):
            clean = clean_source(
                region,
                areas.plane,
                effect.curve,
                strength=scale if strength > 0 else 0.0,
                effect=strength,
                threads=self._threads,
                origin=(window.y, window.x),
                part=part,
            )

        if part is not None:
            region = np.ascontiguousarray(region[rows, columns])
            areas = areas.crop(rows, columns)
            window = replace(window, x=window.x + columns.start, y=window.y + rows.start)

        def brightened(where: Coverage, fade: BlendCurve) -> npt.NDArray[Any]:
            return render(
                maps,
                region,
                where,
                window,
                strength=strength,
                saturation=saturation,
                fade=fade,
                clean=clean,
                threads=self._threads,
                strip_pixels=strip_pixels,
                backend=backend,
                progress=lambda done: tell(_STAGES[-1] + done * (1.0 - _STAGES[-1])),
            )

        image = brightened(areas, fade)
        enhanced = (
            brightened(full_coverage(*areas.shape), linear()) if "enhanced" in outputs else None
        )
        return RegionResult(
            image,
            areas,
            weights(areas, fade, window, region, enhanced) if "weight" in outputs else None,
            illumination(region, image) if "illumination" in outputs else None,
            enhanced,
            backend,
        )

    def _matte(
        self,
        region: npt.NDArray[Any],
        selection: npt.NDArray[Any],
        context: npt.NDArray[Any] | None,
        window: Window,
        transition: Transition,
    ) -> Matte | None:
        """Return the selection's matte; remembered by what the network sees."""
        seen = surroundings_of(region, selection, context, window, transition, self._threads)
        return self._mattes.get(seen.key(), lambda: make_matte(seen, self._matting(), window))

    def _predicted(self, context: Float, shares: Float) -> Maps:
        """Return the network's maps.

        Remembered by content: a slider that moves costs no inference.
        """
        return self._maps.get(
            fingerprint(context, shares), lambda: self._predictor.predict(context, shares)
        )

    def _effect(
        self,
        maps: Maps,
        warmth: float,
        context: Float,
        shares: Float,
        matte: Matte | None,
        window: Window,
    ) -> EffectStats:
        """Return what the maps do, which are those of what the network saw and the warmth."""
        key = fingerprint(context, shares, np.array(warmth)) + (matte.key if matte else b"")
        return self._effects.get(key, lambda: predict_effect(maps, context, shares, matte, window))


_Value = TypeVar("_Value")


class _Remembered(Generic[_Value]):
    """The last few results by what they were made from. Safe to use from several threads."""

    def __init__(self) -> None:
        self._values: OrderedDict[bytes, _Value] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: bytes, make: Callable[[], _Value]) -> _Value:
        """Return the value of a key, made if it is not known."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = make()
        with self._lock:
            self._values[key] = value
            while len(self._values) > _CACHED:
                self._values.popitem(last=False)
        return value
