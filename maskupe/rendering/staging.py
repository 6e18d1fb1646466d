"""Pinned memory, card memory and streams of the renderer for cards, reused from job to job.

Memory that a card can read and write by itself ("pinned") takes milliseconds to make, far longer
than a strip takes: a few pieces are made once, taken by turns, and given back when nobody has
wanted them for a while or memory has run out.
"""

from __future__ import annotations

import functools
import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import triton
from torch import Tensor

from maskupe.rendering import cuda_kernels
from maskupe.rendering.choice import MOST_SLOTS
from maskupe.rendering.native_backend import RenderingError
from maskupe.rendering.packing import ALIGNMENT, pack

#: Seconds after which memory that nobody used is given back.
IDLE_SECONDS = 60.0
#: Pixels of one program, and its warps: one pixel for each thread. Anything else has the compiler
#: exchange values between threads for every array that lies in memory in another way.
BLOCK, WARPS = 128, 4
#: Whether Triton's interpreter takes the card's part (environment variable TRITON_INTERPRET).
INTERPRETED = not isinstance(cuda_kernels.render_rows, triton.runtime.JITFunction)

# Integers by their size: pixels are moved as such, whatever they mean.
_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32}
# The interpreter keeps its state in one place, and nobody gains from compiling a thing twice.
_one_at_a_time = threading.Lock()
_compiled: set[tuple[Any, ...]] = set()


@functools.cache
def staging_for(device: str) -> Staging:
    """Return the one staging of a device.

    Raises:
        RenderingError: if there is no such card.
    """
    if INTERPRETED:
        return Staging(torch.device("cpu"))
    try:
        there = torch.cuda.is_available() and torch.cuda.get_device_capability(device) >= (7, 0)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise RenderingError(f"There is no device {device}: {error}.") from error
    if not there:
        raise RenderingError(
            "There is no NVIDIA card here that the renderer can use.",
            "Leave the choice of the renderer to MaskUPE.",
        )
    chosen = torch.device(device)
    number = torch.cuda.current_device() if chosen.index is None else chosen.index
    return Staging(torch.device("cuda", number))


def release() -> None:
    """Give back what no strip is using at the moment, on all devices."""
    for staging in tuple(_stagings):
        staging.release()


_stagings: list[Staging] = []


class Launch:
    """A kernel with all that stays the same during a job.

    Args:
        arrays: on the device, by the names of the kernel's arguments.
        numbers: its numbers.
        compiled_in: those that are compiled in, but the ones that depend on the strip.
    """

    def __init__(
        self,
        arrays: Mapping[str, Tensor],
        numbers: Mapping[str, float],
        compiled_in: Mapping[str, int],
    ) -> None:
        width = int(numbers["width"])
        # The interpreter's time is that of programs, whatever their size.
        self._block = min(8192, triton.next_power_of_2(width)) if INTERPRETED else BLOCK
        self._blocks = triton.cdiv(width, self._block)
        self._always = {**arrays, **numbers, **compiled_in}
        self._variant = tuple(compiled_in.values())

    def __call__(self, views: _Views, first: int, rows: int) -> None:
        """Start the kernel for some rows in the current stream."""
        variant = (*self._variant, views.arguments["CLEAN"])
        is_compiled = variant in _compiled and not INTERPRETED
        with nullcontext() if is_compiled else _one_at_a_time:
            cuda_kernels.render_rows[(self._blocks, rows)](
                first=first,
                BLOCK=self._block,
                num_warps=WARPS,
                # Products that are rounded before they are added: what the interpreter and the
                # other backends compute. The kernel waits for memory, not for arithmetic.
                enable_fp_fusion=False,
                **views.arguments,
                **self._always,
            )
        _compiled.add(variant)


@dataclass(frozen=True)
class _Views:
    """A slot's memory as a strip of one shape sees it.

    Attributes:
        host_in: what travels to the device.
        device_in: where it arrives.
        host_out: where the result arrives.
        device_out: what travels back.
        planes: arrays of the pinned memory: ``image``, ``out`` and, where there are such,
            ``coverage`` and ``clean``.
        arguments: the kernel's that depend on the strip's shape: the planes on the device, which
            are anything where there is none, and whether there are ``coverage`` and ``clean``.
    """

    host_in: Tensor
    device_in: Tensor
    host_out: Tensor
    device_out: Tensor
    planes: Mapping[str, npt.NDArray[Any]]
    arguments: Mapping[str, Any]


class Slot:
    """What one strip at a time needs: pinned memory, memory on the device, and a stream."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._on_card = device.type == "cuda"
        self._stream: Any = None
        self._done: Any = None
        if self._on_card:
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            # Threads sleep while they wait: their processor has pixels to copy for others.
            self._done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        self.free()

    def free(self) -> None:
        """Drop all memory."""
        self._sizes = (0, 0)
        self._memory: tuple[Tensor, ...] = ()
        self._views: dict[tuple[Any, ...], _Views] = {}

    def render(
        self,
        launch: Launch,
        first: int,
        image: npt.NDArray[Any],
        coverage: npt.NDArray[np.uint16] | None,
        clean: npt.NDArray[np.float32] | None,
        out: npt.NDArray[Any],
    ) -> None:
        """Render some rows, and wait until they are in ``out``.

        Args:
            launch: the job's kernel.
            first: the region's row at which the strip begins.
            image: (n, w, channels) uint8, uint16 or float32.
            coverage: uint16 (n, w); None if all pixels take the full effect.
            clean: float32 (n, w, 4), 0…1, of :class:`maskupe.denoise.CleanRows`: what is enhanced
                in place of the image's colours, and the share of the effect it gets; None
                where that is the image.
            out: like ``image``; may be ``image`` itself.
        """
        with nullcontext() if self._stream is None else torch.cuda.stream(self._stream):
            views = self._seen_as(image, coverage is not None, clean is not None)
            for name, plane in (("image", image), ("coverage", coverage), ("clean", clean)):
                if plane is not None:
                    np.copyto(views.planes[name], plane)
            views.device_in.copy_(views.host_in, non_blocking=True)
            launch(views, first, image.shape[0])
            views.host_out.copy_(views.device_out, non_blocking=True)
            if self._done is not None:
                self._done.record(self._stream)
                self._done.synchronize()
        np.copyto(out, views.planes["out"])

    def _seen_as(self, image: npt.NDArray[Any], has_coverage: bool, has_clean: bool) -> _Views:
        key = (image.shape, image.dtype, has_coverage, has_clean)
        if key in self._views:
            return self._views[key]
        rows, columns = image.shape[:2]
        sent: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {
            "image": (image.shape, image.dtype)
        }
        if has_coverage:
            sent["coverage"] = ((rows, columns), np.dtype(np.uint16))
        if has_clean:
            sent["clean"] = ((rows, columns, 4), np.dtype(np.float32))
        places, end = pack({n: math.prod(shape) * d.itemsize for n, (shape, d) in sent.items()})
        self._reserve(end, image.nbytes)
        host_in, device_in, host_out, device_out = self._memory
        out = slice(0, image.nbytes)
        planes = {"out": host_out[out].numpy().view(image.dtype).reshape(image.shape)}
        integers = _INTEGERS[image.dtype.itemsize]
        types = {"image": integers, "coverage": torch.int16, "clean": torch.float32}
        # What there is not still has its type: the kernel is compiled for types.
        arguments: dict[str, Any] = {
            name: device_in[:ALIGNMENT].view(dtype) for name, dtype in types.items()
        }
        for name, (shape, dtype) in sent.items():
            planes[name] = host_in[places[name]].numpy().view(dtype).reshape(shape)
            arguments[name] = device_in[places[name]].view(types[name])
        arguments |= {
            "out": device_out[out].view(integers),
            "masked": int(has_coverage),
            "CLEAN": int(has_clean),
        }
        views = _Views(
            host_in[:end], device_in[:end], host_out[out], device_out[out], planes, arguments
        )
        if len(self._views) >= 4:
            self._views.clear()
        self._views[key] = views
        return views

    def _reserve(self, bytes_in: int, bytes_out: int) -> None:
        """Have memory for so many bytes in and out."""
        if bytes_in <= self._sizes[0] and bytes_out <= self._sizes[1]:
            return
        sizes = max(bytes_in, self._sizes[0]), max(bytes_out, self._sizes[1])
        self.free()
        self._memory = tuple(
            memory
            for size in sizes
            for memory in (
                torch.empty(size, dtype=torch.uint8, pin_memory=self._on_card),
                torch.empty(size, dtype=torch.uint8, device=self._device),
            )
        )
        self._sizes = sizes


class Staging:
    """The slots of one device. Safe to use from several threads."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._condition = threading.Condition()
        self._idle: list[Slot] = []
        self._made = 0
        self._used = time.monotonic()
        self._watch: threading.Timer | None = None
        self._parameters = threading.Lock()
        self._packed: Tensor | None = None
        _stagings.append(self)

    @contextmanager
    def slot(self) -> Iterator[Slot]:
        """A slot for one strip; waits until there is one."""
        slot = self._take()
        try:
            yield slot
        except BaseException:
            # Perhaps memory ran out. Who tries again with smaller strips finds room.
            slot.free()
            self.release()
            raise
        finally:
            self._put(slot)

    def _take(self) -> Slot:
        with self._condition:
            while not self._idle and self._made >= MOST_SLOTS:
                self._condition.wait()
            if self._idle:
                return self._idle.pop()
            self._made += 1
        try:
            return Slot(self._device)
        except BaseException:
            with self._condition:
                self._made -= 1
                self._condition.notify()
            raise

    def _put(self, slot: Slot) -> None:
        with self._condition:
            self._idle.append(slot)
            self._used = time.monotonic()
            self._condition.notify()
            if self._watch is None:
                self._watch_for(IDLE_SECONDS)

    def _watch_for(self, seconds: float) -> None:
        self._watch = threading.Timer(seconds, self._look)
        self._watch.daemon = True
        self._watch.start()

    def _look(self) -> None:
        with self._condition:
            left = self._used + IDLE_SECONDS - time.monotonic()
            if left > 0 or len(self._idle) < self._made:
                self._watch_for(max(left, 1.0))
                return
            self._watch = None
        self.release()

    def release(self) -> None:
        """Give back the memory of slots that nobody uses."""
        with self._condition:
            self._made -= len(self._idle)
            self._idle.clear()
            self._packed = None
            self._condition.notify_all()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
            _empty_pinned_cache()

    def take_parameters(self, arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Tensor]:
        """Bring arrays to the device in one copy, by name."""
        places, size = pack({name: array.nbytes for name, array in arrays.items()})
        with self._parameters:
            host = self._packed
            if host is None or host.numel() < size:
                on_card = self._device.type == "cuda"
                host = torch.empty(size, dtype=torch.uint8, pin_memory=on_card)
            memory = host.numpy()
            for name, array in arrays.items():
                flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
                memory[places[name]] = flat
            # It waits for the copy, so the memory may be written to again, and read by any stream.
            block = host[:size].to(self._device, copy=True)
            self._packed = host
        types = {np.dtype(np.float32): torch.float32, np.dtype(np.int32): torch.int32}
        return {
            name: block[place].view(types[arrays[name].dtype]) for name, place in places.items()
        }


def _empty_pinned_cache() -> None:
    """Have PyTorch give back pinned memory that it holds for later; its name has changed."""
    for module, name in (
        (getattr(torch, "accelerator", None), "empty_host_cache"),
        (torch._C, "_host_emptyCache"),
    ):
        empty = getattr(module, name, None)
        if empty is not None:
            empty()
            return
