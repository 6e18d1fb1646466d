"""The thread that does the work, one job at a time, and how each job ended."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from maskupe.errors import CancelledError, MaskUPEError, MemoryLimitError, is_memory_error
from maskupe_client.messages import LONGEST_SENTENCE
from maskupe_daemon import memory
from maskupe_daemon.job_runner import SMALLER, Timing, enhance
from maskupe_daemon.models import Models
from maskupe_daemon.queue import Job

log = logging.getLogger("maskupe_daemon.worker")


@dataclass
class Outcome:
    """How a job ended: with a result's fields and planes, or with an error.

    Attributes:
        job: the job.
        fields: of the ``result`` or ``error`` message.
        planes: C-contiguous arrays, in the order that ``fields["planes"]`` names.
        timing: how long it took.
        peak_bytes: the most resident memory seen during the job.
    """

    job: Job
    fields: dict[str, Any]
    planes: list[npt.NDArray[Any]] = field(default_factory=list)
    timing: Timing = field(default_factory=Timing)
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
        self._jobs: queue.SimpleQueue[Job | Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._loop, name="maskupe-worker", daemon=True)
        self._thread.start()

    def start(self, job: Job) -> None:
        """Give the idle worker its next job."""
        self._jobs.put(job)

    def load_ahead(self, done: Callable[[], None]) -> None:
        """Have the default model loaded before the next job; ``done`` is called in the thread."""
        self._jobs.put(done)

    def close(self, timeout: float) -> None:
        """Let the thread end after the job it is at."""
        self._jobs.put(None)
        self._thread.join(timeout)

    def _loop(self) -> None:
        try:
            self._models.library.prepare(self._models.device)
        except Exception:  # the jobs that need it will say the same to their clients
            log.exception("what loading a model needs cannot be imported")
        memory.freeze_gc()
        while (job := self._jobs.get()) is not None:
            if not isinstance(job, Job):
                self._load_ahead()
                job()
                continue
            outcome = self._outcome(job)
            memory.free_in_background(job.planes)
            self._done(outcome)
            # Not kept until the next job comes: it holds a full-size result.
            del outcome, job

    def _load_ahead(self) -> None:
        try:
            self._models.load_ahead()
        except Exception as error:  # the jobs that need it will say the same to their clients
            log.warning("the default model cannot be loaded: %s", error)

    def _outcome(self, job: Job) -> Outcome:
        outcome = Outcome(job, {"type": "error"})

        def progress(fraction: float) -> None:
            # A job that starts again on another device does not go back.
            job.fraction = min(1.0, max(job.fraction, float(fraction)))
            outcome.peak_bytes = max(outcome.peak_bytes, memory.resident_bytes())
            if job.stop:
                raise CancelledError("The job was stopped.")

        try:
            outcome.fields, outcome.planes = enhance(
                self._models, job.fields, job.planes, progress, outcome.timing
            )
        except CancelledError:
            outcome.fields |= {"code": job.stop or "cancelled", "message": "The job was stopped."}
        except MaskUPEError as error:
            # A path in a sentence may be longer than a sentence may be.
            words = {"message": error.message, "hint": error.hint}
            outcome.fields |= {"code": error.code}
            outcome.fields |= {name: text[:LONGEST_SENTENCE] for name, text in words.items()}
        except BaseException as error:  # also a panic in compiled code: it must not end the thread
            outcome.fields |= _fault(error)
        outcome.peak_bytes = max(outcome.peak_bytes, memory.resident_bytes())
        return outcome


def _fault(error: BaseException) -> dict[str, Any]:
    """Return the fields of an ``error`` for what nobody raised on purpose."""
    if is_memory_error(error):
        return {
            "code": MemoryLimitError.code,
            "message": "The computer ran out of memory during the job.",
            "hint": SMALLER,
        }
    log.error("a job failed", exc_info=error)
    return {
        "code": "failed",
        "message": "The job failed because of a fault inside MaskUPE.",
        "hint": "The daemon's log has the details.",
    }
