"""One job's pixels through a model: bytes in, planes out, and what to do when memory runs out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from maskupe.areas.transition import Transition
from maskupe.errors import MemoryLimitError
from maskupe.maps import Window
from maskupe_client.framing import ITEM_SIZES, PlaneSpec
from maskupe_daemon import memory
from maskupe_daemon.hardware import hardware_name
from maskupe_daemon.models import Models

log = logging.getLogger("maskupe_daemon.job_runner")

_DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(f"<{name[0]}{size}") for name, size in ITEM_SIZES.items()
}
_WIRE_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
#: Free memory that must remain for the rest of the machine when a job starts.
_RESERVE = 128 * 1024 * 1024
#: What a person can do about too little memory.
SMALLER = "Select a smaller part, work at a lower precision, or close other programs."
#: Pixels rendered at a time after a graphics card ran out of memory: a few megabytes of it.
SMALL_STRIP = 1 << 14


@dataclass(frozen=True)
class _Fallback:
    """A way to do a job: the device for the network, what to render with, and a note about it.

    None stands for the usual.
    """

    device: str | None = None
    strip_pixels: int | None = None
    backend: str | None = None
    note: str = ""


@dataclass
class Timing:
    """Seconds that a job spent loading its model (0 if that was loaded), and on the work itself."""

    load: float = 0.0
    run: float = 0.0


def enhance(
    models: Models,
    fields: Mapping[str, Any],
    frames: list[Any],
    progress: Callable[[float], None],
    timing: Timing,
) -> tuple[dict[str, Any], list[npt.NDArray[Any]]]:
    """Do one job.

    Args:
        models: where models come from.
        fields: the checked fields of an ``enhance`` message.
        frames: bytes-like objects, the planes that the fields announce.
        progress: called with 0…1 as the work goes on; what it raises ends the work.
        timing: filled in, also when the job fails.

    Returns:
        The fields of the ``result`` message, and its planes, C-contiguous.

    Raises:
        MemoryLimitError: if the estimated memory is not free.
        MaskUPEError: what the library refuses.
    """
    rest = iter(frames)
    planes = tuple(
        _array(fields[name], next(rest)) if fields[name] is not None else None
        for name in ("image", "selection", "context")
    )
    _check_memory(fields)
    progress(0.0)
    options: dict[str, Any] = {
        "window": Window(*fields["origin"][::-1], *fields["layer"][::-1]),
        "strength": fields["strength"],
        "denoise": fields["denoise"],
        "warmth": fields["warmth"],
        "saturation": fields["saturation"],
        "transition": Transition(fields["width"], fields["side"], fields["edges"]),
        "outputs": fields["outputs"],
        "part": _slices(fields["part"]),
        "progress": progress,
    }
    began = time.perf_counter()
    try:
        result, model, device, engine, note = _with_fallbacks(
            models, fields["model"], planes, options, timing
        )
    finally:
        timing.run = time.perf_counter() - began - timing.load
    outputs = {name: _output(result, name) for name in fields["outputs"]}
    specs = {n: PlaneSpec(plane.shape, _WIRE_NAMES[plane.dtype]) for n, plane in outputs.items()}
    areas = result.areas
    a, b = areas.counts()
    models.provenance = _provenance(device, engine, result.renderer)
    answer = {
        "type": "result",
        "model": model,
        "device": device,
        **models.provenance,
        "seconds": timing.load + timing.run,
        "width": float(result.width),
        "counts": {"a": a, "b": b, "c": areas.plane.size - a - b},
        "notes": [note] if note else [],
        "planes": [{"name": name, **spec.as_map()} for name, spec in specs.items()],
    }
    return answer, list(outputs.values())


def _with_fallbacks(
    models: Models,
    name: str,
    planes: tuple[Any, ...],
    options: dict[str, Any],
    timing: Timing,
) -> tuple[Any, str, str, str, str]:
    """Return the result, the model's own name, the network's device and engine, and a note.

    They are those of the first way that has room.
    """
    ways = _fallbacks()
    for way in ways:
        try:
            began = time.perf_counter()
            enhancer = models.get(name, way.device)
            timing.load += time.perf_counter() - began
            result = enhancer.enhance_region(
                *planes, strip_pixels=way.strip_pixels, backend=way.backend, **options
            )
        except RuntimeError as error:
            if way is ways[-1] or not is_gpu_memory_error(error):
                raise
            log.warning("the graphics card ran out of memory")
        else:
            used = enhancer.predictor
            return result, models.library.resolve(name), used.device, used.backend, way.note
        # Only now, when the error is gone: its traceback holds the tensors that did not fit.
        memory.give_back()
    raise AssertionError("the last way returns or raises")


def _provenance(device: str, engine: str, renderer: str) -> dict[str, str]:
    """Return the fields of a ``result`` that say what did the work."""
    return {
        "network": f"{engine}:{device}",
        "renderer": renderer,
        "hardware": hardware_name([device, renderer.partition(":")[2]]),
    }


def _fallbacks() -> tuple[_Fallback, ...]:
    from maskupe.rendering import processor_backend

    full = "The graphics card ran out of memory, so"
    return (
        _Fallback(),
        _Fallback(strip_pixels=SMALL_STRIP, note=f"{full} the work was done in smaller strips."),
        _Fallback("cpu", None, processor_backend(), f"{full} the processor did the work."),
    )


def _check_memory(fields: Mapping[str, Any]) -> None:
    from maskupe.areas.region import estimate_bytes

    image = fields["image"]
    needed = estimate_bytes(image.shape, _DTYPES[image.dtype], fields["outputs"])
    free = memory.free_bytes() - _RESERVE
    if needed > free:
        raise MemoryLimitError(
            f"The job needs about {needed / 1e9:.1f} GB of memory, "
            f"but only {max(free, 0) / 1e9:.1f} GB are free.",
            SMALLER,
        )


def _array(spec: PlaneSpec, data: Any) -> npt.NDArray[Any]:
    """Return a plane's bytes as an array that must not be written to; nothing is copied."""
    flat: npt.NDArray[Any] = np.frombuffer(data, dtype=_DTYPES[spec.dtype])
    array = flat.reshape(spec.shape)
    if not array.flags.aligned:  # a small plane may start anywhere in the socket's buffer
        array = array.copy()
    array.flags.writeable = False
    return array


def _slices(part: tuple[int, int, int, int] | None) -> tuple[slice, slice] | None:
    """Return a part of the region as its rows and columns."""
    if part is None:
        return None
    row, column, height, width = part
    return slice(row, row + height), slice(column, column + width)


def _output(result: Any, name: str) -> npt.NDArray[Any]:
    """Return one plane of a result, as it travels."""
    if name == "areas":
        # 2 = A, 1 = B, 0 = C
        areas = result.areas.a.astype(np.uint8) * np.uint8(2)
        areas[result.areas.b] = 1
        plane: npt.NDArray[Any] = areas
    else:
        plane = getattr(result, name)
    return np.ascontiguousarray(plane)


def is_gpu_memory_error(error: BaseException) -> bool:
    """Whether a device, not the machine, ran out of memory (torch, CUDA and MPS word it alike)."""
    return isinstance(error, RuntimeError) and "out of memory" in str(error).lower()
