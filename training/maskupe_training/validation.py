"""Watches a training: PSNR in A on a fixed list of cases, and a sheet of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from maskupe.inference.build import Network
from maskupe.pixel_layout import GAIN_DELTA
from maskupe_training.data.images import ImageCache
from maskupe_training.data.source_factory import open_source
from maskupe_training.evaluation.cases import Case, draw_cases, evaluation_masks
from maskupe_training.masks.sampler import MaskSampler
from maskupe_training.objective import enhance, psnr_in
from maskupe_training.recipe import Recipe

_BATCH = 8
# The sheet's gain column shows 0 to this many EV.
_SHEET_EV = 5.0


@dataclass(frozen=True)
class Validation:
    """Means over the validation cases.

    Attributes:
        psnr_a: PSNR in A of the network's output, in dB.
        input_psnr_a: PSNR in A of the input, in dB.
        change_c: mean absolute change in C before composition, in 8-bit levels.
        sheet: float32 (3, H, W), rows of input, areas, gain, output, target; for people.
    """

    psnr_a: float
    input_psnr_a: float
    change_c: float
    sheet: Tensor


class Validator:
    """Holds the cases as tensors; the same for every run with the same validation recipe."""

    def __init__(self, recipe: Recipe, data_root: Path) -> None:
        self._batches: list[tuple[Tensor, Tensor, Tensor]] = []
        cases = list(validation_cases(recipe, data_root))
        for start in range(0, len(cases), _BATCH):
            self._batches.append(stack(cases[start : start + _BATCH]))

    @torch.no_grad()
    def __call__(self, network: Network, device: torch.device) -> Validation:
        """Run the network over the cases; it is left in evaluation mode."""
        network.eval()
        scores, before, changes = [], [], []
        sheet = None
        for batch in self._batches:
            image, areas, target = (tensor.to(device) for tensor in batch)
            output = enhance(network, image, areas).image
            scores.append(psnr_in(output, target, areas[:, 0]))
            before.append(psnr_in(image, target, areas[:, 0]))
            outside = (1.0 - areas.sum(1)).unsqueeze(1)
            change = ((output - image).abs() * outside).sum() / (3 * outside.sum()).clamp(min=1)
            changes.append(255.0 * change)
            if sheet is None:
                sheet = comparison_sheet(image[:4], areas[:4], output[:4], target[:4]).cpu()
        assert sheet is not None
        return Validation(
            float(torch.cat(scores).mean()),
            float(torch.cat(before).mean()),
            float(torch.stack(changes).mean()),
            sheet,
        )


def validation_cases(recipe: Recipe, data_root: Path) -> Sequence[Case]:
    """Return the case list that a recipe validates on, at the size that it trains at."""
    wanted = recipe.validation
    size = recipe.augmentation.size
    source = open_source(wanted.source, data_root, ImageCache(max(size, 320)))
    masks = evaluation_masks(recipe.masks.needed_folders)
    sampler = MaskSampler(masks, data_root)
    kinds = wanted.kinds or tuple(masks.kinds)
    return list(draw_cases(source, sampler, kinds, wanted.cases, wanted.seed, size))


def stack(cases: Sequence[Case]) -> tuple[Tensor, Tensor, Tensor]:
    """Return images, areas and truths of equally large cases as float tensors (N, C, H, W)."""

    def planes(pictures: Sequence[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]) -> Tensor:
        stacked = np.stack(pictures).transpose(0, 3, 1, 2)
        return torch.from_numpy(np.ascontiguousarray(stacked)).float() / 255.0

    return (
        planes([case.image for case in cases]),
        torch.from_numpy(np.stack([case.areas.channels() for case in cases])),
        planes([case.truth for case in cases]),
    )


def comparison_sheet(image: Tensor, areas: Tensor, output: Tensor, target: Tensor) -> Tensor:
    """Return rows of input, areas (A white, B grey), gain in EV (white is 5), output, target."""
    levels = (areas[:, :1] + 0.5 * areas[:, 1:]).expand(-1, 3, -1, -1)
    ratio = (output.clamp(0, 1) + GAIN_DELTA) / (image + GAIN_DELTA)
    gain = (torch.log2(ratio) / _SHEET_EV).clamp(0, 1)
    columns = torch.cat([image, levels, gain, output.clamp(0, 1), target], dim=3)
    return torch.cat(list(columns), dim=1)
