"""The training loop, on Lightning Fabric: the same command on a CPU, a GPU, or many machines.

    maskupe-train fit star-dce-mconcat --data DATA --out runs/star
    maskupe-train fit star-dce-mconcat --data DATA --out runs/star --resume
    torchrun --standalone --nproc-per-node 4 -m maskupe_training fit RECIPE --data … --out …

Samples are a pure function of the seed and their number (:mod:`maskupe_training.data.samples`), the
learning rate one of the step. So a checkpoint needs only weights, optimizer, running average,
gradient scaler and step, and a resumed training ends with the same bits as one that was never
interrupted.

A step is a batch. Of a mixed-precision training the gradient scaler skips a few: where gradients
overflow, weights, optimizer and running average stay, and the next batch is tried at a smaller
scale.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from maskupe.errors import InputError
from maskupe.inference.build import Network, build
from maskupe.registry import resolve
from maskupe_training import checkpoint
from maskupe_training.data.batches import Packed, automatic_workers, batches, compose
from maskupe_training.data.images import ImageCache, list_images, memory_for
from maskupe_training.data.samples import SampleSet
from maskupe_training.data.source_factory import SourceRecipe, open_source
from maskupe_training.fabric_setup import local_processes, start_fabric
from maskupe_training.masks.sampler import MaskSampler
from maskupe_training.objective import Objective
from maskupe_training.recipe import OptimizerRecipe, Recipe, from_tables
from maskupe_training.run_logger import Pace, RunLogger
from maskupe_training.run_options import RunOptions
from maskupe_training.source_commit import source_commit
from maskupe_training.starting import start_from
from maskupe_training.synchronised import synchronise_norms
from maskupe_training.validation import Validator

# A card computes ahead of the processor. To look at the loss waits for it, so it is looked at every
# so many steps; on a processor, where that costs nothing, at every step.
_LOOK_EVERY = 20
# The scaler starts too high by design and is right after a few steps.
_SKIPS_IN_A_ROW = 40
#: Random crops are taken from pictures of this many times the training size.
_CACHE_FACTOR = 1.25


@dataclass(frozen=True)
class Run(RunOptions):
    """How and where a recipe is run.

    Attributes:
        devices: how many processes on this machine, without torchrun.
        start: the weights to start from; see :mod:`maskupe_training.starting`.
    """

    devices: int = 1
    start: str | None = None


def fit(recipe: Recipe, run: Run) -> Path:
    """Train; returns the path of the last checkpoint.

    Raises:
        InputError: for data that does not fit the recipe, a run that exists already, or a
            checkpoint of another recipe.
        MaskUPEError: if a checkpoint cannot be written; the last good one survives.
    """
    torch.set_num_threads(run.threads)
    last = run.out / "last.pt"
    if last.exists() and not run.resume:
        raise InputError(f"{run.out} holds a training.", "Use --resume, or another --out.")
    fabric = start_fabric(recipe.training, run.accelerator, run.devices)
    training = _Training(recipe, run, last, fabric)
    how = recipe.training
    processes = local_processes(fabric)
    workers = how.workers
    if isinstance(workers, str):
        workers = automatic_workers(fabric.device, processes)
    # Who decodes pictures: the loader processes, or else the training ones.
    readers = processes * max(1, workers)
    decoded = run.out / "decoded" if readers > 1 else None
    samples = _samples(recipe, run.data_root, readers, decoded)
    deadline = time.monotonic() + 60 * run.max_minutes if run.max_minutes else math.inf
    look_every = 1 if fabric.device.type == "cpu" else _LOOK_EVERY
    with ExitStack() as stack:
        if decoded is not None and fabric.is_global_zero:
            stack.callback(shutil.rmtree, decoded, ignore_errors=True)
        stack.callback(training.close)
        if training.step == 0:
            training.check({})
        numbers = _numbers(fabric, recipe, training.step)
        fed = stack.enter_context(closing(batches(samples, numbers, workers, fabric.device)))
        for batch in training.pace.watched(fed):
            training.advance(batch)
            check = training.step % how.validate_every == 0 or training.step == how.steps
            if not check and training.step % look_every:
                continue
            terms = training.look()
            # Every process must stop at the same step: the first one's clock decides.
            stop = fabric.broadcast(time.monotonic() > deadline)
            if stop or check:
                with training.pace.paused():
                    training.check(terms)
            if stop:
                break
        training.finish()
    return last


class _Training:
    """What a training is made of, from its last checkpoint on; validates in the first process.

    Attributes:
        step: how many steps were taken.
        pace: how fast they are.
    """

    def __init__(self, recipe: Recipe, run: Run, last: Path, fabric: Fabric) -> None:
        torch.manual_seed(recipe.seed)
        config = resolve(recipe.model)
        self._started: dict[str, Any] | None = None
        # What a run saw before it was resumed.
        earlier: dict[str, dict[str, list[str]]] = {}
        if run.start and not run.resume:
            network, start = start_from(run.start, config, recipe.licence)
            self._started = asdict(start)
            if fabric.is_global_zero:
                print(
                    f"Started from {start.name}: {start.tensors} of {start.of} tensors, "
                    f"licence: {start.licence}."
                )
        else:
            network = build(config)
        objective = Objective(network, recipe.loss, recipe.training.stride)
        if fabric.world_size > 1:
            synchronise_norms(objective)
        how = recipe.optimizer
        optimizer = torch.optim.Adam(
            objective.parameters(), how.rate, weight_decay=how.weight_decay
        )
        self.step = 0
        self._best = -math.inf
        self._average: dict[str, Tensor] = {}
        self._figures: dict[str, Tensor] = {}
        self._skipped = 0
        self.pace = Pace(recipe.training.batch)
        # The scaler decides on the card whether it takes a step. This is called if it does.
        optimizer.register_step_post_hook(lambda *_: self._follow())
        if run.resume:
            state = checkpoint.read(last)
            _check_same(recipe, state["recipe"], last)
            objective.network.load_state_dict(state["network"])
            optimizer.load_state_dict(state["optimizer"])
            self.step, self._best = state["step"], state["best"]
            self._started = state["started_from"]
            earlier = state["scenes"]
            self._average = {n: value.to(fabric.device) for n, value in state["average"].items()}
            if state.get("scaler"):
                fabric.strategy.precision.load_state_dict(state["scaler"])
        self._recipe, self._fabric, self._last = recipe, fabric, last
        self._network = objective.network
        self._objective, self._optimizer = fabric.setup(objective, optimizer)
        self._validator: Validator | None = None
        self._telemetry: RunLogger | None = None
        if fabric.is_global_zero:
            self._validator = Validator(recipe, run.data_root)
            self._scenes = _seen(recipe, run.data_root)
            if earlier:
                self._scenes = {key: _union(own, earlier[key]) for key, own in self._scenes.items()}
            with checkpoint.writing(run.out / "recipe.json"):
                run.out.mkdir(parents=True, exist_ok=True)
                text = json.dumps(recipe.to_dict(), indent=1)
                (run.out / "recipe.json").write_text(text, "utf-8")
                self._telemetry = RunLogger(run.out, recipe.training.steps, self.step)

    def advance(self, batch: Packed) -> None:
        """Take one step, without waiting for its end on a device that computes by itself.

        Raises:
            InputError: if the gradients overflow at any scale.
        """
        recipe, fabric, how = self._recipe, self._fabric, self._recipe.optimizer
        self._rate = learning_rate(how, self.step, recipe.training.steps)
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate
        self._objective.train()
        if self.step >= recipe.training.freeze_norms * recipe.training.steps:
            freeze_norms(self._network)
        own = self._objective(*compose(batch))
        fabric.backward(own["total"])
        if how.clip:
            # What is not finite is the scaler's business; without one, the loss will tell.
            fabric.clip_gradients(
                self._objective, self._optimizer, max_norm=how.clip, error_if_nonfinite=False
            )
        self.step += 1
        self._skipped += 1
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._figures = {name: value.detach() for name, value in own.items()}
        if self._skipped >= _SKIPS_IN_A_ROW:
            raise InputError(
                f"The gradients were not finite in the last {self._skipped} steps.",
                "Set training.precision to 32-true, then continue with --resume.",
            )

    def _follow(self) -> None:
        """What goes with a step that moved the weights."""
        self._skipped = 0
        update_average(self._average, self._network, warmed(self._recipe.training.ema, self.step))

    def look(self) -> dict[str, float]:
        """The last step's loss and its terms, averaged over the processes, which all must ask.

        Raises:
            InputError: if the loss is not finite.
        """
        means = cast(Tensor, self._fabric.all_reduce(torch.stack(list(self._figures.values()))))
        terms = dict(zip(self._figures, means.tolist(), strict=True))
        if not math.isfinite(terms["total"]):
            raise self._not_finite("loss")
        if self._telemetry:
            self._telemetry.step(self.step, terms, self._rate, self.pace)
        return terms

    def _not_finite(self, what: str) -> InputError:
        return InputError(
            f"The {what} is not finite at step {self.step}.",
            "Lower optimizer.rate or set optimizer.clip, then continue with --resume.",
        )

    def check(self, terms: dict[str, float]) -> None:
        """Validate and write the checkpoints (first process only).

        Raises:
            InputError: if the network's answers are not finite; the last checkpoint is kept.
        """
        if self._validator is None or self._telemetry is None:
            return
        network = self._network
        own = {name: value.clone() for name, value in network.state_dict().items()}
        network.load_state_dict(own | self._average)
        result = self._validator(network, self._fabric.device)
        network.load_state_dict(own)
        if not math.isfinite(result.psnr_a):
            raise self._not_finite("network's output")
        better = result.psnr_a > self._best
        self._best = max(self._best, result.psnr_a)
        with checkpoint.writing(self._last.with_name("log.jsonl")):
            self._telemetry.check(self.step, result, terms, better)
        state = {
            "network": own,
            "average": self._average,
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._fabric.strategy.precision.state_dict(),
            "step": self.step,
            "best": self._best,
            "recipe": json.dumps(self._recipe.to_dict()),
            "val": {"psnr_a": result.psnr_a, "input_psnr_a": result.input_psnr_a},
            "commit": source_commit(),
            "scenes": self._scenes,
            "started_from": self._started,
        }
        checkpoint.save(self._last, state)
        if better:
            checkpoint.save(self._last.with_name("best.pt"), state)

    def finish(self) -> None:
        """Say how fast it was."""
        if self._telemetry:
            self._telemetry.finish(self.pace)

    def close(self) -> None:
        """End the logs."""
        if self._telemetry:
            self._telemetry.close()


def learning_rate(how: OptimizerRecipe, step: int, steps: int) -> float:
    """Return the learning rate of a step: linear warm-up, then constant or cosine down to 1 %."""
    warm = min(1.0, (step + 1) / how.warmup) if how.warmup else 1.0
    if how.schedule == "constant":
        return how.rate * warm
    done = min(1.0, step / steps)
    return how.rate * warm * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * done)))


def warmed(decay: float, step: int) -> float:
    """The running average's decay at a step: short at first, so that it forgets the start."""
    return min(decay, (1.0 + step) / (10.0 + step))


@torch.no_grad()
def update_average(average: dict[str, Tensor], network: Network, decay: float) -> None:
    """Move the running average of the parameters towards them; buffers are not averaged."""
    if decay == 0:
        return
    for name, value in network.named_parameters():
        if name in average:
            average[name].lerp_(value, 1.0 - decay)
        else:
            average[name] = value.detach().clone()


def freeze_norms(network: nn.Module) -> None:
    """Let batch norms use their running statistics, and keep them, until the next ``train()``.

    A batch's own statistics hide how dark a picture is against the others of the batch, which
    decides how much it must be brightened.
    """
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def _samples(
    recipe: Recipe, data_root: Path, readers: int = 1, decoded: Path | None = None
) -> SampleSet:
    long_edge = round(_CACHE_FACTOR * recipe.augmentation.size)
    cache = ImageCache(long_edge, memory_for(readers), decoded)
    sources = [(open_source(each, data_root, cache), each.share) for each in recipe.sources]
    masks = MaskSampler(recipe.masks, data_root)
    length = recipe.training.steps * recipe.training.batch
    return SampleSet(sources, masks, recipe.augmentation, recipe.seed, length)


def _seen(recipe: Recipe, data_root: Path) -> dict[str, dict[str, list[str]]]:
    """Return the scenes that a recipe trains on, and those that its checkpoints are chosen by."""
    return {
        "trained": _scenes(recipe.sources, data_root),
        "watched": _scenes([recipe.validation.source], data_root),
    }


def _union(one: dict[str, list[str]], other: dict[str, list[str]]) -> dict[str, list[str]]:
    folders = sorted({*one, *other})
    return {name: sorted({*one.get(name, ()), *other.get(name, ())}) for name in folders}


def _scenes(sources: Sequence[SourceRecipe], data_root: Path) -> dict[str, list[str]]:
    """Return the names of the scenes of data sets, by folder."""
    found: dict[str, set[str]] = {}
    for source in sources:
        if source.kind == "relit":  # its backgrounds are photographs, and to open it takes long
            names = [path.stem for path in list_images(data_root / source.backgrounds)]
            found.setdefault(source.backgrounds, set()).update(names)
        else:
            opened = open_source(source, data_root, ImageCache(1))
            found.setdefault(source.folder, set()).update(opened.scenes)
    return {folder: sorted(names) for folder, names in found.items()}


def _numbers(fabric: Fabric, recipe: Recipe, start: int) -> list[range]:
    """Return the samples of this process's part of every batch from step ``start`` on."""
    batch = recipe.training.batch
    share = batch // fabric.world_size
    first = fabric.global_rank * share
    steps = range(start, recipe.training.steps)
    return [range(step * batch + first, step * batch + first + share) for step in steps]


def _check_same(recipe: Recipe, stored: str, path: Path) -> None:
    """A resumed run must go on with its own recipe; only its length and texts may differ."""
    # Through the recipe and back: keys that are newer than the checkpoint take their defaults.
    ours, theirs = recipe.to_dict(), from_tables(json.loads(stored), str(path)).to_dict()
    for tables in (ours, theirs):
        for text in ("description", "deviations"):
            tables.pop(text)
        for free in ("steps", "validate_every", "workers"):
            tables["training"].pop(free)
    if ours != theirs:
        keys = [key for key in ours if ours[key] != theirs.get(key)]
        raise InputError(
            f"{path} was trained with another recipe: {', '.join(keys)} differ.",
            "Give the same recipe and settings, or another --out.",
        )
