"""Trains the matting network.

Standard library, numpy, OpenCV and torch only: it runs where nothing else of the training is installed.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.utils.data import DataLoader

from maskupe.networks.matting import Matting
from maskupe_training.data.images import fit_long_edge, list_images, read_rgb
from maskupe_training.matte import scenes
from maskupe_training.matte.samples import Material, MatteSamples, held_out

_PHOTO_EDGE = 640


@dataclass(frozen=True)
class MatteRecipe:
    """A training of the matting network.

    Attributes:
        name: of the weights.
        licence: of the weights, as the data's licences allow.
        about: one sentence for the model card.
        cutouts: folder of RGBA cut-outs, relative to the data root.
        photos: folder of photographs that serve as backgrounds.
        masked: folders of photographs with masks of their subjects, ``image/`` and ``mask/``.
        masked_share: how often such a photograph is taken.
        steps: optimizer steps.
        batch: samples per step.
        rate: highest learning rate of AdamW, which falls to 1 % along a cosine.
        ema: decay of the running average of the weights, which is exported.
        seed: of weights and samples.
    """

    name: str
    licence: str
    about: str
    cutouts: str = "cutouts"
    photos: str = "cc_photos"
    masked: tuple[str, ...] = ()
    masked_share: float = 0.6
    steps: int = 1500
    batch: int = 64
    rate: float = 2e-3
    ema: float = 0.995
    seed: int = 0


def read_material(recipe: MatteRecipe, data: Path) -> Material:
    """The pictures that a recipe names, without those that are held out."""
    cutouts = [path.stem for path in list_images(data / recipe.cutouts) if not held_out(path.stem)]
    photos = [p for p in list_images(data / recipe.photos) if not held_out(p.stem)]
    masked = []
    for folder in recipe.masked:
        stems = [p.stem for p in list_images(data / folder / "image") if not held_out(p.stem)]
        masked += scenes.read_masked(data / folder, stems)
    return Material(
        scenes.read_cutouts(data / recipe.cutouts, cutouts),
        [fit_long_edge(read_rgb(path), _PHOTO_EDGE) for path in photos],
        masked,
        recipe.masked_share,
    )


def losses(logits: Tensor, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The loss and its terms, scalars.

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
    total = 4 * terms["composed"] + terms["matte"] + 0.5 * terms["open"] + 0.15 * terms["exact"]
    return {"total": total} | terms


def to_device(batch: dict[str, Tensor], device: str) -> dict[str, Tensor]:
    """Samples of :class:`MatteSamples`, stacked, as floats on a device."""
    moved = {n: v.to(device, non_blocking=True).float() / 255.0 for n, v in batch.items()}
    lines = moved["planes"] * 2.0 - 1.0
    selection = lines[:, :1] * 0.5 + 0.5
    planes = torch.cat([moved["image"], selection, lines[:, 1:]], dim=1)
    return {"planes": planes, "truth": moved["truth"], "weight": moved["weight"]}


def fit_matte(
    recipe: MatteRecipe,
    data: Path,
    out: Path,
    *,
    device: str = "cpu",
    workers: int = 0,
    max_minutes: float | None = None,
) -> Path:
    """Trains; returns the path of the checkpoint.

    Args:
        recipe: what to train with.
        data: the folder that the recipe's folders lie in.
        out: where checkpoint and log go.
        device: ``cpu`` or ``cuda``.
        workers: processes that make samples.
        max_minutes: the learning rate falls to its end in this time, if that comes before the last
            step.
    """
    torch.manual_seed(recipe.seed)
    cv2.setNumThreads(0)  # its threads would not survive the forking of loader processes
    torch.set_float32_matmul_precision("high")
    out.mkdir(parents=True, exist_ok=True)
    network = Matting().to(device)
    averaged = torch.optim.swa_utils.AveragedModel(
        network,
        multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(recipe.ema),
        use_buffers=True,
    )
    optimizer = torch.optim.AdamW(network.parameters(), recipe.rate, weight_decay=1e-3)
    samples = MatteSamples(read_material(recipe, data), recipe.seed, recipe.steps * recipe.batch)
    loader: Any = DataLoader(
        samples, recipe.batch, num_workers=workers, pin_memory=device != "cpu",
        worker_init_fn=_one_thread, prefetch_factor=4 if workers else None,
    )  # fmt: skip
    start = time.monotonic()
    log = (out / "log.jsonl").open("w")
    sums: dict[str, Tensor] = {}
    step = 0
    for batch in loader:
        minutes = (time.monotonic() - start) / 60
        done = step / recipe.steps
        if max_minutes:
            done = max(done, minutes / max_minutes)
        if done >= 1.0:
            break
        rate = (
            recipe.rate
            * min(1.0, (step + 1) / 50)
            * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))
        )
        for group in optimizer.param_groups:
            group["lr"] = rate
        ready = to_device(batch, device)
        with torch.autocast(device, torch.bfloat16, enabled=device != "cpu"):
            logits = network.logits(ready["planes"])
        terms = losses(logits.float(), ready)
        optimizer.zero_grad()
        terms["total"].backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        averaged.update_parameters(network)
        step += 1
        for name, value in terms.items():
            sums[name] = sums.get(name, 0) + value.detach()
        if step % 50 == 0:
            entry = {n: round(float(v) / 50, 4) for n, v in sums.items()}
            sums = {}
            entry |= {"step": step, "minutes": round((time.monotonic() - start) / 60, 2),
                      "images_per_s": round(step * recipe.batch / (time.monotonic() - start))}  # fmt: skip
            log.write(json.dumps(entry) + "\n")
            log.flush()
            print(recipe.name, entry, flush=True)
    state = {
        "network": averaged.module.state_dict(),
        "step": step,
        "recipe": json.dumps(asdict(recipe)),
    }
    torch.save(state, out / "last.pt")
    return out / "last.pt"


def _one_thread(_: int) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


RECIPES = {
    "matte": MatteRecipe("matte", "any use", "Cut-outs on photographs, all under free licences."),
    "matte-research": MatteRecipe(
        "matte-research",
        "research use, non-commercial",
        "Portraits with masks, and cut-outs on photographs.",
        masked=("portrait_ccp", "portrait_humanseg", "portrait_matting"),
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    import argparse

    parser = argparse.ArgumentParser()
    parser.add_argument("recipe")
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--batch", type=int)
    found = parser.parse_args(arguments)
    from dataclasses import replace

    recipe = RECIPES[found.recipe]
    changes = {k: getattr(found, k) for k in ("steps", "batch") if getattr(found, k)}
    fit_matte(replace(recipe, **changes), found.data, found.out, device=found.device,
              workers=found.workers, max_minutes=found.minutes)  # fmt: skip


if __name__ == "__main__":
    main()
