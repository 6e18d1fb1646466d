"""Batches: prepared ahead by other processes as bytes, composed on the device that trains."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple, cast

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from maskupe.errors import MaskUPEError
from maskupe.parallel import limit_threads, machine_threads

#: A batch as it travels: what :class:`~maskupe_training.data.samples.Sample` holds, stacked.
Packed = dict[str, Tensor]


class Planes(NamedTuple):
    """A batch as the loss takes it.

    Attributes:
        image: float (N, 3, H, W), display-encoded, 0…1.
        areas: float (N, 2, H, W), 0 or 1: A and B.
        target: float (N, 3, H, W): the truth in A, the input in C, blended in B by the weight.
    """

    image: Tensor
    areas: Tensor
    target: Tensor


def compose(batch: Packed) -> Planes:
    """Put the truth into A and leaves the input in C; in B the two are blended by the weight."""
    before, after = (_planes(batch[name]) for name in ("image", "truth"))
    target = before + batch["weight"].unsqueeze(1) * (after - before)
    return Planes(before, batch["areas"].float(), target)


def _planes(pictures: Tensor) -> Tensor:
    # The channels last in memory too would choose other convolutions, which round otherwise.
    return pictures.permute(0, 3, 1, 2).contiguous().float() / 255.0


def automatic_workers(device: torch.device, processes: int) -> int:
    """Return how many loader processes ``auto`` stands for, beside each of the training processes.

    On a card the processor's cores have nothing else to do; on a processor they train.
    """
    if device.type != "cuda":
        return 0
    return max(0, machine_threads() // processes - 1)


def batches(
    samples: Any, numbers: Sequence[range], workers: int, device: torch.device
) -> Generator[Packed, None, None]:
    """Yield batches of samples on a device, in order.

    Args:
        samples: a map-style data set of dictionaries of arrays.
        numbers: which of them make each batch.
        workers: processes that prepare them; 0 prepares them here. The samples are the same.
        device: where they go.
    """
    on_card = device.type == "cuda"
    loader: Any = DataLoader(
        samples,
        batch_sampler=cast(Any, numbers),
        num_workers=workers,
        pin_memory=on_card,
        worker_init_fn=_one_thread if workers else None,
    )
    try:
        with _opencv_in_one_thread() if workers else nullcontext():
            started = iter(loader)
        if on_card:
            yield from _ahead(started, device)
        else:
            for batch in started:
                yield {name: value.to(device) for name, value in batch.items()}
    except MaskUPEError as error:
        if not workers:
            raise
        # A worker process hands over its traceback as the message; the sentence is its last line.
        *_, last = str(error).strip().splitlines()
        raise type(error)(last.partition(f"{type(error).__name__}: ")[2] or last) from None


def _one_thread(worker: int) -> None:
    """Keep a worker to one core: there is a worker for each."""
    limit_threads(1)


@contextmanager
def _opencv_in_one_thread() -> Iterator[None]:
    """For processes that are started meanwhile, which inherit it.

    They cannot set it themselves: OpenCV would wait for the threads of a pool that only their
    parent has.
    """
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _ahead(loader: Iterator[Packed], device: torch.device) -> Iterator[Packed]:
    """Copy each batch to the card while the one before is computed with."""
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    waiting: tuple[Packed, torch.cuda.Event] | None = None
    for batch in loader:
        with torch.cuda.stream(stream):
            copied = {name: value.to(device, non_blocking=True) for name, value in batch.items()}
            following = (copied, stream.record_event())
        if waiting is not None:
            yield _arrived(*waiting)
        waiting = following
    if waiting is not None:
        yield _arrived(*waiting)


def _arrived(batch: Packed, copied: torch.cuda.Event) -> Packed:
    """Let the computing stream wait for the copy, and the memory for the computing stream."""
    stream = torch.cuda.current_stream()
    stream.wait_event(copied)
    for value in batch.values():
        value.record_stream(stream)
    return batch
