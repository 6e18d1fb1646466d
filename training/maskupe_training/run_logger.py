"""What a training tells: a progress bar or plain lines, TensorBoard, a JSON line per check."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from maskupe_training import checkpoint
from maskupe_training.validation import Validation

T = TypeVar("T")

# Without a terminal: seconds between two lines.
_LINE_SECONDS = 30.0
# Steps between two points of the curves.
_CURVE_STEPS = 20


class Pace:
    """Images per second, and the share of the time in which the training waited for data.

    The first step, with the start of the loader processes and of the device, does not count, nor
    does what is done while it is paused.

    Args:
        batch: images of a step, of all processes.
    """

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._steps = -1
        self._began = self._waited = self._paused = 0.0

    def watched(self, batches: Iterable[T]) -> Iterator[T]:
        """Yield the batches; counts them, and how long each keeps the training waiting."""
        source = iter(batches)
        while True:
            if self._steps == 0:
                self._began, self._waited, self._paused = time.monotonic(), 0.0, 0.0
            asked = time.monotonic()
            try:
                batch = next(source)
            except StopIteration:
                return
            self._waited += time.monotonic() - asked
            self._steps += 1
            yield batch

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Meanwhile time does not count."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._paused += time.monotonic() - began

    def speed(self) -> float:
        """Return images per second; 0 before the second step."""
        return self._batch * max(0, self._steps) / self._seconds()

    def waiting(self) -> float:
        """Return the share of the time in which the training waited for data, 0…1."""
        return self._waited / self._seconds() if self._steps > 0 else 0.0

    def _seconds(self) -> float:
        return max(time.monotonic() - self._began - self._paused, 1e-9)


class RunLogger:
    """Reports of one run, on the first process only."""

    def __init__(self, folder: Path, steps: int, start: int) -> None:
        self._log = folder / "log.jsonl"
        self._steps = steps
        checkpoint.forget_after(self._log, start)
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=start)
        self._console = Console(file=sys.stderr)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=steps, completed=start, figures="")
        self._bar.start()
        self._start, self._began, self._last_line = start, time.monotonic(), 0.0

    def step(self, step: int, terms: Mapping[str, float], rate: float, pace: Pace) -> None:
        """After every step that was looked at; ``step`` counts finished ones."""
        seconds = time.monotonic() - self._began
        if step % _CURVE_STEPS == 0:
            for name, value in terms.items():
                self._board.add_scalar(f"train/{name}", value, step)
            self._board.add_scalar("train/rate", rate, step)
            self._board.add_scalar("train/images_per_second", pace.speed(), step)
            self._board.add_scalar("train/waiting_for_data", pace.waiting(), step)
        if self._console.is_terminal:
            self._bar.update(self._task, completed=step, figures=_figures(terms, pace))
        elif seconds - self._last_line >= _LINE_SECONDS or step == self._steps:
            self._last_line = seconds
            left = (self._steps - step) * seconds / max(1, step - self._start)
            figures = _figures(terms, pace)
            self._console.print(
                f"step {step}/{self._steps}  {figures}  {left / 60:.1f} min left", soft_wrap=True
            )

    def check(self, step: int, result: Validation, terms: Mapping[str, float], best: bool) -> None:
        """After every validation."""
        values: dict[str, Any] = {
            "step": step,
            "val_psnr_a": round(result.psnr_a, 4),
            "val_input_psnr_a": round(result.input_psnr_a, 4),
            "val_change_c": round(result.change_c, 4),
            "best": best,
            "loss": round(terms["total"], 6) if terms else None,
            "seconds": round(time.monotonic() - self._began, 1),
        }
        with self._log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(values) + "\n")
        self._board.add_scalar("val/psnr_a", result.psnr_a, step)
        self._board.add_scalar("val/change_c", result.change_c, step)
        self._board.add_image("val/sheet", result.sheet, step)
        self._board.flush()
        mark = " (best)" if best else ""
        self._console.print(
            f"step {step}: val PSNR in A {result.psnr_a:.2f} dB{mark}, "
            f"the input has {result.input_psnr_a:.2f}"
        )

    def finish(self, pace: Pace) -> None:
        """After the last step, if nothing went wrong."""
        self._console.print(_pace(pace), soft_wrap=True)

    def close(self) -> None:
        """End the bar and write what TensorBoard still holds."""
        self._bar.stop()
        self._board.close()


def _figures(terms: Mapping[str, float], pace: Pace) -> str:
    loss, psnr = terms["total"], terms["psnr_a"]
    return f"loss {loss:.4f}  PSNR in A {psnr:.1f} dB  {_pace(pace)}"


def _pace(pace: Pace) -> str:
    return f"{pace.speed():,.1f} images/s, {pace.waiting():.0%} of the time waiting for data"
