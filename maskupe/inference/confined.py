"""Running a stranger's graph in a process of its own, which may take so much memory and time.

A graph without loops can still ask for any amount of memory in one operator, or spend hours in one,
where ONNX Runtime cannot be interrupted. A process can be ended at any time.

The process (:func:`serve`) reads inputs from stdin and writes outputs to stdout: a line of JSON,
then the arrays' bytes, all float32.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Mapping
from concurrent import futures
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import psutil

from maskupe import memory
from maskupe.child_process import start
from maskupe.errors import WeightsError, is_memory_error
from maskupe.inference.predictor import Float
from maskupe.inference.session import EXPORT_AGAIN, Session, StaleGraphError

#: Seconds after which a run is ended; our slowest network takes a second on an old processor.
LONGEST = 60.0
#: Bytes of memory that the process may take; our largest network takes a third of that.
MOST_MEMORY = 1 << 30

# How often memory and time are looked at, in seconds.
_GLANCE = 0.02
_LONGEST_LINE = 64 << 10
_MOST_ANSWER = 64 << 20
# What reading something that is no answer raises.
_NO_ANSWER = (ValueError, KeyError, TypeError, AttributeError)


class ConfinedSession:
    """A :class:`Session` in another process. Safe to use from several threads, which take turns.

    Args:
        graph: the ``.onnx`` file.
        weights: the weight file beside it.
        threads: how many threads one run may use; up to four if ``None``.

    Attributes:
        about: the graph's own metadata.
        inputs: names of what it takes.
        outputs: names of what it gives.

    Raises:
        StaleGraphError: as for :class:`Session`, and if loading takes too much memory or time.
    """

    def __init__(self, graph: Path, weights: Path, threads: int | None) -> None:
        self._graph = graph
        self._arguments = [str(graph.absolute()), str(weights.absolute()), str(threads or 0)]
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        with self._lock:
            about = self._ask({})[0]
        self.about: dict[str, str] = about["about"]
        self.inputs: list[str] = about["inputs"]
        self.outputs: list[str] = about["outputs"]

    def run(self, inputs: dict[str, Float]) -> dict[str, npt.NDArray[Any]]:
        """Return the outputs by name.

        Raises:
            WeightsError: if it fails, or takes more memory or time than any network of ours does.
        """
        with self._lock:
            return self._ask(inputs)[1]

    def _ask(self, inputs: Mapping[str, Float]) -> tuple[dict[str, Any], dict[str, Float]]:
        """Send inputs (none: only load) and return the answer; the process ends if there is none.

        Any exception ends it too, Ctrl-C for example.
        """
        process = self._process
        if process is None or process.poll() is not None:
            process = self._process = start(__name__, *self._arguments)
            weakref.finalize(self, _end, process)
        try:
            with futures.ThreadPoolExecutor(1, "maskupe-graph") as pool:
                answer = pool.submit(_exchange, process, inputs)
                try:
                    self._watch(process, answer)
                except BaseException:
                    process.kill()  # so that the thread's waiting ends
                    raise
            head, arrays = answer.result()
        except BaseException as error:
            _end(process)
            if isinstance(error, (OSError, EOFError, *_NO_ANSWER)):
                ended = StaleGraphError(f"{self._graph} ended the process it ran in.", EXPORT_AGAIN)
                raise ended from error
            raise
        if "message" in head:
            raise StaleGraphError(str(head["message"]), str(head.get("hint", "")))
        return head, arrays

    def _watch(self, process: subprocess.Popen[bytes], answer: futures.Future[Any]) -> None:
        """Wait for an answer as long as memory and time are within the limits."""
        end = time.monotonic() + LONGEST
        most = min(MOST_MEMORY, memory.free_bytes())
        with contextlib.suppress(psutil.NoSuchProcess):
            child = psutil.Process(process.pid)
            while not futures.wait([answer], _GLANCE).done:
                if time.monotonic() > end:
                    too_long = f"{self._graph} took longer than {LONGEST:g} s."
                    raise StaleGraphError(too_long, EXPORT_AGAIN)
                if child.memory_info().rss > most:
                    raise too_much_memory(self._graph)


def open_session(
    graph: Path, weights: Path, threads: int | None, confined: bool
) -> Session | ConfinedSession:
    """Load a graph, in this process or, ``confined``, in one of its own.

    Raises:
        StaleGraphError: see :class:`Session` and :class:`ConfinedSession`.
    """
    if confined:
        return ConfinedSession(graph, weights, threads)
    return Session(graph, weights, threads, shipped=True)


def too_much_memory(graph: Path | str) -> StaleGraphError:
    """Return the error for a graph that wants more memory than it may have."""
    return StaleGraphError(f"{graph} needs more memory than a network may take.", EXPORT_AGAIN)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def _exchange(
    process: subprocess.Popen[bytes], inputs: Mapping[str, Float]
) -> tuple[dict[str, Any], dict[str, Float]]:
    assert process.stdin is not None and process.stdout is not None
    _write(process.stdin, {}, inputs)
    return _read(process.stdout)


def _write(pipe: IO[bytes], head: Mapping[str, Any], arrays: Mapping[str, Float]) -> None:
    shapes = {name: array.shape for name, array in arrays.items()}
    pipe.write(json.dumps({**head, "shapes": shapes}).encode() + b"\n")
    for array in arrays.values():
        pipe.write(np.ascontiguousarray(array, np.float32).tobytes())
    pipe.flush()


def _read(pipe: IO[bytes]) -> tuple[dict[str, Any], dict[str, Float]]:
    """Read what :func:`_write` writes; nothing is taken in that is larger than an answer can be.

    Raises:
        EOFError: if the other side has ended.
        ValueError, KeyError, TypeError, AttributeError: for anything else.
    """
    line = pipe.readline(_LONGEST_LINE)
    if not line.endswith(b"\n"):
        raise EOFError
    head = json.loads(line)
    sizes = {name: 4 * math.prod(shape) for name, shape in head["shapes"].items()}
    if sum(sizes.values()) > _MOST_ANSWER or min(sizes.values(), default=0) < 0:
        raise ValueError("The answer is too large.")
    arrays = {}
    for name, size in sizes.items():
        content = pipe.read(size)
        if len(content) != size:
            raise EOFError
        arrays[name] = np.frombuffer(content, np.float32).reshape(head["shapes"][name])
    return head, arrays


def serve(graph: Path, weights: Path, threads: int | None) -> None:
    """Load a graph and answer on stdout what comes on stdin, until that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the other process's matter
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    _limit_address_space()
    session: Session | None = None
    while True:
        try:
            _, inputs = _read(requests)
        except EOFError:
            return
        # Nobody may be left to end this process.
        alarm = threading.Timer(2 * LONGEST, os._exit, [1])
        alarm.daemon = True
        alarm.start()
        try:
            session = session or Session(graph, weights, threads)
            about = {
                "about": session.about,
                "inputs": session.inputs,
                "outputs": session.outputs,
            }
            _write(answers, about, session.run(inputs) if inputs else {})
        except WeightsError as error:
            _write(answers, {"message": error.message, "hint": error.hint}, {})
        except Exception as error:  # ONNX Runtime has no common base for its errors
            told = StaleGraphError(f"{graph} cannot be run ({error}).", EXPORT_AGAIN)
            if is_memory_error(error):
                told = too_much_memory(graph)
            _write(answers, {"message": told.message, "hint": told.hint}, {})
        finally:
            alarm.cancel()


def _limit_address_space() -> None:
    """Let the system refuse what is far beyond the limit, before anything of it is taken."""
    if sys.platform != "linux":  # elsewhere there is no such limit, or it is not kept
        return
    import resource

    # Threads and allocators reserve addresses that they never use.
    most = psutil.Process().memory_info().vms + 2 * MOST_MEMORY
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))


if __name__ == "__main__":
    serve(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) or None)
