"""The thread that does the work: pixels in, planes out, one job at a time."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from maskupe.areas import Transition
from maskupe.errors import CancelledError, MaskUPEError, MemoryLimitError
from maskupe.maps import Window
from maskupe_daemon import memory
from maskupe_daemon.jobs import Job
from maskupe_daemon.models import Models
from maskupe_daemon.wire import PlaneSpec

log = logging.getLogger("maskupe_daemon.worker")

_DTYPES: dict[str, np.dtype[Any]] = {
    "u8": np.dtype("u1"),
    "u16": np.dtype("<u2"),
    "f32": np.dtype("<f4"),
}
_WIRE_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
#: Free memory that must remain for the rest of the machine when a job starts.
_RESERVE = 128 * 1024 * 1024
_SMALLER = "Select a smaller part, work at a lower precision, or close other programs."


@dataclass
class Outcome:
    """How a job ended: with a result's fields and planes, or with an error.

    Attributes:
        job: the job.
        fields: of the ``result`` or ``error`` message.
        planes: C-contiguous arrays, in the order that ``fields["planes"]`` names.
        load_seconds: for loading the model, 0 if it was loaded.
        run_seconds: for the work itself.
        peak_bytes: the most resident memory seen during the job.
    """

    job: Job
    fields: dict[str, Any]
    planes: list[npt.NDArray[Any]] = field(default_factory=list)
    load_seconds: float = 0.0
    run_seconds: float = 0.0
    peak_bytes: int = 0

    @property
    def ok(self) -> bool:
        """Whether there is a result."""
        return bool(self.fields["type"] == "result")


class Worker:
    """Runs jobs one after another in a thread and hands each outcome to ``done``.

    Args:
        models: where models come from.
        done: called in the worker's thread with every outcome.
    """

    def __init__(self, models: Models, done: Callable[[Outcome], None]) -> None:
        self._models = models
        self._done = done
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._loop, name="maskupe-worker", daemon=True)
        self._thread.start()

    def start(self, job: Job) -> None:
        """Gives the idle worker its next job."""
        self._jobs.put(job)

    def close(self, timeout: float) -> None:
        """Lets the thread end after the job it is at."""
        self._jobs.put(None)
        self._thread.join(timeout)

    def _loop(self) -> None:
        while (job := self._jobs.get()) is not None:
            outcome = self._outcome(job)
            job.planes = []
            self._done(outcome)
            # Not kept until the next job comes: it holds a full-size result.
            del outcome, job

    def _outcome(self, job: Job) -> Outcome:
        outcome = Outcome(job, {"type": "error"})
        try:
            self._run(job, outcome)
        except CancelledError:
            outcome.fields |= {"code": job.stop or "cancelled", "message": "The job was stopped."}
        except MaskUPEError as error:
            outcome.fields |= {"code": error.code, "message": error.message, "hint": error.hint}
        except MemoryError:
            outcome.fields |= {
                "code": MemoryLimitError.code,
                "message": "The computer ran out of memory during the job.",
                "hint": _SMALLER,
            }
        except Exception:
            log.exception("a job failed")
            outcome.fields |= {
                "code": "failed",
                "message": "The job failed because of a fault inside MaskUPE.",
                "hint": "The daemon's log has the details.",
            }
        return outcome

    def _run(self, job: Job, outcome: Outcome) -> None:
        fields = job.fields
        planes = iter(job.planes)
        image, selection, context = (
            _array(fields[name], next(planes)) if fields[name] is not None else None
            for name in ("image", "selection", "context")
        )
        assert image is not None
        self._check_memory(fields)

        def progress(fraction: float) -> None:
            job.fraction = min(1.0, max(0.0, float(fraction)))
            outcome.peak_bytes = max(outcome.peak_bytes, memory.resident_bytes())
            if job.stop:
                raise CancelledError("The job was stopped.")

        progress(0.0)
        options: dict[str, Any] = {
            "window": Window(*fields["origin"][::-1], *fields["layer"][::-1]),
            "strength": fields["strength"],
            "transition": Transition(fields["width"], fields["side"]),
            "outputs": fields["outputs"],
            "progress": progress,
        }
        notes: list[str] = []
        began = time.perf_counter()
        try:
            result, device, model = self._enhance(
                fields["model"], None, (image, selection, context), options, outcome
            )
        except Exception as error:
            if not _is_gpu_memory_error(error):
                raise
            log.warning("the graphics card ran out of memory, the processor takes over")
            error.__traceback__ = None  # it holds the tensors that did not fit
            memory.give_back()
            notes.append("The graphics card ran out of memory, so the processor did the work.")
            result, device, model = self._enhance(
                fields["model"], "cpu", (image, selection, context), options, outcome
            )
        outcome.run_seconds = time.perf_counter() - began - outcome.load_seconds
        outcome.peak_bytes = max(outcome.peak_bytes, memory.resident_bytes())
        specs = []
        for name in fields["outputs"]:
            plane = _output(result, name)
            outcome.planes.append(plane)
            spec = PlaneSpec(plane.shape, _WIRE_NAMES[plane.dtype])
            specs.append({"name": name, **spec.as_map()})
        areas = result.areas
        a, b = int(np.count_nonzero(areas.a)), int(np.count_nonzero(areas.b))
        outcome.fields = {
            "type": "result",
            "model": model,
            "device": device,
            "seconds": outcome.load_seconds + outcome.run_seconds,
            "width": float(result.width),
            "counts": {"a": a, "b": b, "c": int(areas.a.size) - a - b},
            "notes": notes,
            "planes": specs,
        }

    def _enhance(
        self,
        name: str,
        device: str | None,
        planes: tuple[Any, Any, Any],
        options: dict[str, Any],
        outcome: Outcome,
    ) -> tuple[Any, str, str]:
        """The result, and on what and by which model it was made."""
        began = time.perf_counter()
        enhancer = self._models.get(name, device)
        outcome.load_seconds += time.perf_counter() - began
        library = self._models.library
        result = enhancer.enhance_region(*planes, **options)
        return result, library.device_of(enhancer), library.resolve(name)

    def _check_memory(self, fields: Any) -> None:
        from maskupe.enhancer import estimate_bytes

        image = fields["image"]
        needed = estimate_bytes(image.shape, _DTYPES[image.dtype], fields["outputs"])
        free = memory.free_bytes() - _RESERVE
        if needed > free:
            raise MemoryLimitError(
                f"The job needs about {needed / 1e9:.1f} GB of memory, "
                f"but only {max(free, 0) / 1e9:.1f} GB are free.",
                _SMALLER,
            )


def _array(spec: PlaneSpec, data: Any) -> npt.NDArray[Any]:
    """A plane's bytes as an array that must not be written to; nothing is copied."""
    flat: npt.NDArray[Any] = np.frombuffer(data, dtype=_DTYPES[spec.dtype])
    array = flat.reshape(spec.shape)
    if not array.flags.aligned:  # a small plane may start anywhere in the socket's buffer
        array = array.copy()
    array.flags.writeable = False
    return array


def _output(result: Any, name: str) -> npt.NDArray[Any]:
    """One plane of a result, as it travels."""
    if name == "areas":
        # 2 = A, 1 = B, 0 = C
        areas = result.areas.a.astype(np.uint8) * np.uint8(2)
        areas[result.areas.b] = 1
        plane: npt.NDArray[Any] = areas
    else:
        plane = getattr(result, name)
    return np.ascontiguousarray(plane)


def _is_gpu_memory_error(error: Exception) -> bool:
    """Whether a device, not the machine, ran out of memory (torch, CUDA and MPS word it alike)."""
    return isinstance(error, RuntimeError) and "out of memory" in str(error).lower()
