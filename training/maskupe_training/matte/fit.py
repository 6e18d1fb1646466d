"""Trains the matting network.

    maskupe-train fit matte --data DATA --out runs/matte
    maskupe-train fit matte --data DATA --out runs/matte --resume
    python -m maskupe_training.matte.fit matte DATA runs/matte --device cuda

The last form needs, besides MaskUPE itself, PyTorch and nothing else of the extra ``train``.

Samples are a pure function of the seed and their number, the learning rate one of the step. So a
resumed training ends with the same bits as one that was never interrupted (on a processor, and
without ``training.minutes``).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import cv2
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from maskupe.errors import InputError
from maskupe.networks.matting import Matting
from maskupe_training import checkpoint
from maskupe_training.data.batches import automatic_workers, batches
from maskupe_training.matte.material import read_material
from maskupe_training.matte.recipe import MatteRecipe, from_tables, load
from maskupe_training.matte.samples import MatteSamples
from maskupe_training.run_options import RunOptions, choose_accelerator
from maskupe_training.source_commit import source_commit

# Steps between two lines of the log: to look at the loss waits for the card.
_LOG_EVERY = 50
_WARM_UP = 50
_LARGEST_NORM = 1.0


def losses(logits: Tensor, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the loss and its terms, scalars.

    The composed effect is what is seen; the matte itself is held to the truth where it decides.

    Args:
        logits: (N, 3, S, S) of :meth:`maskupe.networks.matting.Matting.logits`.
        batch: ``truth`` (N, 4, S, S), ``weight`` (N, 2, S, S), ``planes`` (N, 5, S, S).
    """
    matte, opened, exact = logits.sigmoid().unbind(1)
    true_matte, true_open, true_exact, fade = batch["truth"].unbind(1)
    of_matte, of_all = batch["weight"].unbind(1)
    selection = batch["planes"][:, 3]
    own = exact * selection + (1.0 - exact) * matte
    composed = own * (1.0 - opened * (1.0 - fade))
    wanted = true_matte * (1.0 - true_open * (1.0 - fade))

    def mean(values: Tensor, weight: Tensor) -> Tensor:
        return (values * weight).mean() / weight.mean().clamp(min=0.05)

    entropy = F.binary_cross_entropy_with_logits
    terms = {
        "composed": mean((composed - wanted).abs(), of_all),
        "matte": mean(
            entropy(logits[:, 0], true_matte, reduction="none") + 2.0 * (matte - true_matte).abs(),
            of_matte,
        ),
        "open": mean(entropy(logits[:, 1], true_open, reduction="none"), of_all),
        "exact": mean(entropy(logits[:, 2], true_exact, reduction="none"), of_all),
    }
    total = 4 * terms["composed"] + terms["matte"] + 0.5 * terms["open"] + 0.4 * terms["exact"]
    return {"total": total} | terms


def to_device(batch: dict[str, Tensor], device: str) -> dict[str, Tensor]:
    """Bring samples of :class:`MatteSamples`, stacked, to a device as floats."""
    moved = {n: v.to(device, non_blocking=True).float() / 255.0 for n, v in batch.items()}
    lines = moved["planes"] * 2.0 - 1.0
    selection = lines[:, :1] * 0.5 + 0.5
    planes = torch.cat([moved["image"], selection, lines[:, 1:]], dim=1)
    if planes.is_cuda:
        planes = planes.contiguous(memory_format=torch.channels_last)
    return {"planes": planes, "truth": moved["truth"], "weight": moved["weight"]}


def learning_rate(recipe: MatteRecipe, step: int, minutes: float) -> float:
    """Return the learning rate of a step: linear warm-up, then a cosine down to 1 %.

    Args:
        recipe: says how many steps there are, and how many minutes at most.
        step: how many steps were taken.
        minutes: that they took.
    """
    how = recipe.training
    done = progress(recipe, step, minutes)
    cosine = 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * done))
    return how.rate * min(1.0, (step + 1) / _WARM_UP) * cosine


def progress(recipe: MatteRecipe, step: int, minutes: float) -> float:
    """Return how much of a training is done, 0…1."""
    how = recipe.training
    return min(1.0, max(step / how.steps, minutes / how.minutes if how.minutes else 0.0))


def fit_matte(recipe: MatteRecipe, run: RunOptions) -> Path:
    """Train the matting network.

    Args:
        recipe: what to train with.
        run: how and where.

    Returns:
        The path of the last checkpoint.

    Raises:
        InputError: for data that does not fit the recipe, a run that exists already, a checkpoint
            of another recipe, or a loss that is not finite.
        MaskUPEError: if a checkpoint cannot be written; the last good one survives.
    """
    last = run.out / "last.pt"
    if last.exists() and not run.resume:
        raise InputError(f"{run.out} holds a training.", "Use --resume, or another --out.")
    torch.set_num_threads(run.threads)
    cv2.setNumThreads(0)  # its threads would not survive the forking of loader processes
    training = _Training(recipe, run, last)
    how = recipe.training
    samples = MatteSamples(read_material(recipe, run.data_root), recipe.seed, how.steps * how.batch)
    training.start()
    deadline = time.monotonic() + 60 * run.max_minutes if run.max_minutes else math.inf
    device, workers = torch.device(training.device), how.workers
    if isinstance(workers, str):
        workers = automatic_workers(device, 1)
    numbers = [
        range(step * how.batch, (step + 1) * how.batch) for step in range(training.step, how.steps)
    ]
    with closing(batches(samples, numbers, workers, device)) as fed:
        for batch in fed:
            if training.done >= 1.0 or time.monotonic() > deadline:
                break
            training.advance(batch)
    training.save()
    return last


class _Training:
    """What a training is made of, from its last checkpoint on.

    Attributes:
        step: how many steps were taken.
        device: that trains.
    """

    def __init__(self, recipe: MatteRecipe, run: RunOptions, last: Path) -> None:
        torch.manual_seed(recipe.seed)
        torch.set_float32_matmul_precision("high")
        self.device = choose_accelerator(run.accelerator)
        on_card = self.device == "cuda"
        self._network = Matting().to(self.device)
        if on_card:
            self._network = cast(
                Matting, cast(Any, self._network).to(memory_format=torch.channels_last)
            )
        self._optimizer = torch.optim.AdamW(
            self._network.parameters(), recipe.training.rate, weight_decay=1e-3, fused=on_card
        )
        if recipe.training.start and not run.resume:
            begun = checkpoint.read(Path(recipe.training.start))
            self._network.load_state_dict(begun["network"] | begun["average"])
        self.step, self._before = 0, 0.0
        state = checkpoint.read(last) if run.resume else None
        if state is not None:
            check_same(recipe, state, last)
            self._network.load_state_dict(state["network"])
            self._optimizer.load_state_dict(state["optimizer"])
            self.step, self._before = state["step"], state["minutes"]
        # The same memory throughout: what moves the network moves these.
        self._own = {n: v for n, v in self._network.state_dict().items() if v.is_floating_point()}
        self._average = {name: value.clone() for name, value in self._own.items()}
        if state is not None:
            for name, value in state["average"].items():
                self._average[name].copy_(value)
        self._recipe, self._last = recipe, last
        self._sums: dict[str, Tensor] = {}
        self._began, self._first = time.monotonic(), self.step
        self._log = last.with_name("log.jsonl")
        with checkpoint.writing(self._log):
            run.out.mkdir(parents=True, exist_ok=True)
            checkpoint.forget_after(self._log, self.step)
            text = json.dumps(recipe.to_dict(), indent=1)
            last.with_name("recipe.json").write_text(text, "utf-8")

    def start(self) -> None:
        """Let the clock run: pictures are read, and what comes now is training."""
        self._began = time.monotonic()

    @property
    def minutes(self) -> float:
        """How long the training has taken, over all its parts."""
        return self._before + (time.monotonic() - self._began) / 60

    @property
    def done(self) -> float:
        """How much of it is done, 0…1."""
        return progress(self._recipe, self.step, self.minutes)

    def advance(self, batch: dict[str, Tensor]) -> None:
        """Take one step, without waiting for its end on a card.

        Raises:
            InputError: if the loss is not finite.
        """
        how = self._recipe.training
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(self._recipe, self.step, self.minutes)
        ready = to_device(batch, self.device)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda"):
            logits = self._network.logits(ready["planes"])
        terms = losses(logits.float(), ready)
        self._optimizer.zero_grad()
        torch.autograd.backward(terms["total"])
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), _LARGEST_NORM)
        self._optimizer.step()
        self.step += 1
        self._follow(how.ema if self.step > 1 else 0.0)
        for name, value in terms.items():
            self._sums[name] = self._sums.get(name, 0) + value.detach()
        if self.step % _LOG_EVERY == 0 or self.step == how.steps:
            self._tell()
        if self.step % how.save_every == 0:
            self.save()

    @torch.no_grad()
    def _follow(self, decay: float) -> None:
        """Move the running average; in one launch, or it would take longer than the step."""
        torch._foreach_lerp_(list(self._average.values()), list(self._own.values()), 1.0 - decay)

    def _tell(self) -> None:
        """Print and log the mean terms of the last steps."""
        count = (self.step - self._first - 1) % _LOG_EVERY + 1
        values = dict(
            zip(self._sums, (torch.stack(list(self._sums.values())) / count).tolist(), strict=True)
        )
        self._sums = {}
        if not math.isfinite(values["total"]):
            raise InputError(
                f"The loss is not finite at step {self.step}.",
                "Lower training.rate, then continue with --resume.",
            )
        seconds = time.monotonic() - self._began
        pace = (self.step - self._first) * self._recipe.training.batch / max(seconds, 1e-9)
        entry: dict[str, float] = {name: round(value, 4) for name, value in values.items()}
        entry |= {"step": self.step, "minutes": round(self.minutes, 2), "images_per_s": round(pace)}
        with checkpoint.writing(self._log), self._log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")
        print(self._recipe.name, entry, flush=True)

    def save(self) -> None:
        """Write the checkpoint."""
        state = {
            "network": self._network.state_dict(),
            "average": self._average,
            "optimizer": self._optimizer.state_dict(),
            "step": self.step,
            "minutes": self.minutes,
            "recipe": json.dumps(self._recipe.to_dict()),
            "commit": source_commit(),
        }
        checkpoint.save(self._last, state)


def check_same(recipe: MatteRecipe, state: dict[str, Any], path: Path) -> None:
    """Refuse to continue another training.

    Raises:
        InputError: if the checkpoint's recipe differs in what decides the result.
    """
    before = from_tables(json.loads(state["recipe"]), str(path))
    free = {name: getattr(recipe.training, name) for name in ("save_every", "workers")}
    if replace(before, training=replace(before.training, **free)) != recipe:
        raise InputError(
            f"{path} is the checkpoint of another recipe.",
            "Resume with the same recipe and settings, or give another --out.",
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line that needs no more than PyTorch."""
    import argparse

    parser = argparse.ArgumentParser(description="Train the matting network.")
    parser.add_argument("recipe", help="a recipe's name, or the path of a TOML file")
    parser.add_argument("data", type=Path, help="where the data sets lie")
    parser.add_argument("out", type=Path, help="for checkpoint and log")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args(arguments)
    run = RunOptions(options.data, options.out, options.resume, accelerator=options.device)
    fit_matte(load(options.recipe, options.set), run)


if __name__ == "__main__":
    main()
