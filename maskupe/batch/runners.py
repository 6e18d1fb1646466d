"""Running a batch's jobs on this machine's threads; what is common to all ways of running them.

Threads are enough: decoding, the network and the renderer all leave Python's lock, and threads
share one loaded model.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maskupe.errors import CancelledError, InputError, MaskUPEError, is_memory_error
from maskupe.inference.loading import choose_device
from maskupe.parallel import machine_threads
from maskupe.photo_job import PhotoJob, run_job

if TYPE_CHECKING:
    from maskupe.pipeline import Enhancer


@dataclass(frozen=True)
class Result:
    """What came of one job.

    Attributes:
        job: what was to be done.
        error: empty if it went well, else a sentence.
        notes: sentences worth saying about what was done.
    """

    job: PhotoJob
    error: str = ""
    notes: tuple[str, ...] = ()


class Models:
    """Loaded models by name, each loaded once however many threads ask."""

    def __init__(self, device: str, threads: int | None) -> None:
        self._device = device
        self._threads = threads
        self._loaded: dict[str, Enhancer] = {}
        self._lock = threading.Lock()

    def get(self, name: str) -> Enhancer:
        """Return the model of that name; loading errors are :meth:`Enhancer.load`'s."""
        from maskupe.pipeline import Enhancer

        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = Enhancer.load(name, self._device, threads=self._threads)
            return self._loaded[name]


def is_done(job: PhotoJob) -> bool:
    """Return whether the output is there and newer than photo and mask.

    An output is complete if it is there at all, since it is written in one step. Options are not
    compared: after a change of those, do it again by force.
    """
    try:
        sources = [path.stat().st_mtime for path in (job.photo, job.mask) if path is not None]
        return job.output.stat().st_mtime >= max(sources)
    except OSError:
        return False


def attempt(job: PhotoJob, models: Models, stop: threading.Event | None = None) -> Result:
    """Run one job; a failure becomes the result's sentence, so that the others go on."""

    def check(_done: float) -> None:
        if stop is not None and stop.is_set():
            raise CancelledError("The batch was stopped.")

    try:
        check(0.0)
        outcome = run_job(job, models.get, check)
    except MaskUPEError as error:
        return Result(job, str(error))
    except Exception as error:
        if is_memory_error(error):
            return Result(job, "There was not enough memory. Use fewer workers.")
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Result(job, f"{type(error).__name__}: {error} ({where.name}, line {where.lineno}).")
    return Result(job, notes=outcome.notes)


def default_workers() -> int:
    """Return one worker per two cores: each photo's own stages use more than one thread."""
    return max(1, machine_threads() // 2)


def check_workers(workers: int) -> None:
    """Raise InputError for a number of photos at a time that cannot be."""
    if not 0 <= workers <= 1024:
        raise InputError(f"{workers} workers cannot be.", "Use 1 or more, or 0 for a good number.")


def run_local(jobs: Sequence[PhotoJob], workers: int = 0, device: str = "auto") -> Iterator[Result]:
    """Run the jobs on this machine, yielding results as they come.

    If the caller stops (closes the iterator, Ctrl-C), running jobs end at their next step and
    write nothing.

    Args:
        jobs: what to do.
        workers: photos at a time; 0 for :func:`default_workers`. The cores are shared out.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Raises:
        InputError: for a number of workers that cannot be, or a device that is not here.
    """
    check_workers(workers)
    device = choose_device(device)
    workers = min(workers or default_workers(), len(jobs)) or 1
    models = Models(device, max(1, machine_threads() // workers))
    stop = threading.Event()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="maskupe-batch")
    try:
        futures = [pool.submit(attempt, job, models, stop) for job in jobs]
        for future in as_completed(futures):
            yield future.result()
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
