"""What a training tells: a progress bar or plain lines, TensorBoard, a JSON line per check."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from maskupe_training.validation import Validation

# Without a terminal: seconds between two lines.
_LINE_SECONDS = 30.0
# Steps between two points of the curves.
_CURVE_STEPS = 20


class Telemetry:
    """Reports of one run, on the first process only."""

    def __init__(self, folder: Path, steps: int, start: int) -> None:
        self._log = folder / "log.jsonl"
        self._steps = steps
        _forget_after(self._log, start)
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

    def step(self, step: int, terms: Mapping[str, float], rate: float, batch: int) -> None:
        """After every step that was looked at; ``step`` counts finished ones."""
        seconds = time.monotonic() - self._began
        speed = batch * (step - self._start) / max(seconds, 1e-9)
        if step % _CURVE_STEPS == 0:
            for name, value in terms.items():
                self._board.add_scalar(f"train/{name}", value, step)
            self._board.add_scalar("train/rate", rate, step)
            self._board.add_scalar("train/images_per_second", speed, step)
        if self._console.is_terminal:
            self._bar.update(self._task, completed=step, figures=_figures(terms, speed))
        elif seconds - self._last_line >= _LINE_SECONDS or step == self._steps:
            self._last_line = seconds
            left = (self._steps - step) * batch / max(speed, 1e-9)
            figures = _figures(terms, speed)
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
        self._board.add_image("val/strip", result.strip, step)
        self._board.flush()
        mark = " (best)" if best else ""
        self._console.print(
            f"step {step}: val PSNR in A {result.psnr_a:.2f} dB{mark}, "
            f"the input has {result.input_psnr_a:.2f}"
        )

    def close(self) -> None:
        """Ends the bar and writes what TensorBoard still holds."""
        self._bar.stop()
        self._board.close()


def _figures(terms: Mapping[str, float], speed: float) -> str:
    loss, psnr = terms["total"], terms["psnr_a"]
    return f"loss {loss:.4f}  PSNR in A {psnr:.1f} dB  {speed:.1f} images/s"


def _forget_after(log: Path, step: int) -> None:
    """Drops the lines that a killed run wrote beyond the checkpoint it resumes from."""
    if not log.is_file():
        return
    kept = []
    for line in log.read_text("utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError):
            continue  # the last line may have been cut off by the kill
    log.write_text("".join(kept) if step else "", "utf-8")
