"""Recipes: everything that decides a training; read by :mod:`maskupe_training.recipe_files`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from maskupe.errors import InputError
from maskupe_training.config import build, current_names, to_tables
from maskupe_training.data.source_factory import SourceRecipe
from maskupe_training.data.views import Augmentation
from maskupe_training.masks.sampler import KINDS, MaskRecipe

#: The losses that L_A may be, and what L_B may smooth.
LOSS_BASES = ("deepupe", "l1", "l1-cosine", "mse", "psnr")
SMOOTH_TARGETS = ("illumination", "image", "gain")
#: How exactly a training may compute.
PRECISIONS = ("auto", "32-true", "16-mixed", "bf16-mixed")

# The smallest picture that a loss is taken on: its second derivatives need neighbours.
_LEAST_SIZE = 16


@dataclass(frozen=True)
class LossRecipe:
    """The area losses, Eq. (2) of the paper: α L_A/r_a + β L_B/r_b + γ L_C/r_c.

    Attributes:
        base: L_A, the backbone's own loss. ``deepupe``: MSE + 2 · smoothness + (1 - cos), as in its
            released graph; ``l1``: STAR-DCE's on FiveK; ``l1-cosine``: with STAR's optional
            100 · (1 - cos); ``mse``; ``psnr``: minus the PSNR in A in dB, so that what is averaged
            over images is what the evaluation averages.
        alpha: weight of L_A.
        beta: weight of L_B.
        gamma: weight of L_C.
        smooth_target: what L_B smooths: the ``illumination`` (Retinex models), the predicted
            ``image`` (others, the paper's footnote 2), or the ``gain``
            log((Ŷ + 4/255) / (I + 4/255)), which every model has and which leaves texture alone.
        two_areas: the paper's ablation: no transition, B counts as part of C.
    """

    base: str
    alpha: float = 1.0
    beta: float = 0.001
    gamma: float = 1.0
    smooth_target: str = "gain"
    two_areas: bool = False

    def __post_init__(self) -> None:
        for name, known in (("base", LOSS_BASES), ("smooth_target", SMOOTH_TARGETS)):
            value = getattr(self, name)
            if value not in known:
                raise InputError(f"loss.{name} is {value!r}.", f"Use one of {', '.join(known)}.")
        for name in ("alpha", "beta", "gamma"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise InputError(f"loss.{name} is {getattr(self, name)}.", "Give 0 or more.")


@dataclass(frozen=True)
class OptimizerRecipe:
    """Adam and its learning rate.

    Attributes:
        rate: the highest learning rate.
        weight_decay: L2 penalty, as in Adam (not AdamW), as the references use it.
        clip: largest norm of the gradient; 0 does not clip.
        warmup: steps over which the rate rises from 0.
        schedule: ``constant``, or ``cosine`` down to 1 % of the rate at the last step.
    """

    rate: float = 1e-4
    weight_decay: float = 0.0
    clip: float = 0.0
    warmup: int = 0
    schedule: str = "constant"

    def __post_init__(self) -> None:
        if self.schedule not in ("constant", "cosine"):
            raise InputError(
                f"optimizer.schedule is {self.schedule!r}.", "Use 'constant' or 'cosine'."
            )
        if not self.rate > 0:
            raise InputError(f"optimizer.rate is {self.rate}.", "Give a number above 0.")


@dataclass(frozen=True)
class Steps:
    """What every training has: how many steps, of how much, prepared by whom.

    Attributes:
        steps: optimizer steps.
        batch: samples per step, over all processes together.
        workers: processes that prepare samples, beside each that trains; 0 prepares them in the
            training process. ``auto`` is a process for each further core where there is a CUDA
            card, else 0. The samples are the same.
        ema: decay of the running average of the weights, which is validated and exported; 0 for
            none.
    """

    steps: int
    batch: int = 16
    workers: int | str = "auto"
    ema: float = 0.0

    def __post_init__(self) -> None:
        self._check_counts("steps", "batch")
        if self.workers != "auto" and (isinstance(self.workers, str) or self.workers < 0):
            raise InputError(f"training.workers is {self.workers}.", "Give 0 or more, or 'auto'.")
        if not 0 <= self.ema < 1:
            raise InputError(f"training.ema is {self.ema}.", "Give a decay in 0 … 1, below 1.")

    def _check_counts(self, *names: str) -> None:
        for name in names:
            if getattr(self, name) < 1:
                raise InputError(f"training.{name} is {getattr(self, name)}.", "Give 1 or more.")


@dataclass(frozen=True)
class TrainingRecipe(Steps):
    """How long and how.

    Attributes:
        stride: the loss is taken on the picture averaged over this many pixels by as many; 1 for
            the picture itself.
        freeze_norms: share of the steps after which batch norms keep their statistics, so that
            the rest is trained on what will be served; 1 never freezes them.
        validate_every: steps between validations, each of which also writes a checkpoint.
        precision: one of :data:`PRECISIONS`; ``auto`` is bfloat16 where the card has it, float16
            on other CUDA cards, else 32 bits.
    """

    stride: int = 1
    freeze_norms: float = 1.0
    validate_every: int = 500
    precision: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_counts("stride", "validate_every")
        if not 0 < self.freeze_norms <= 1:
            raise InputError(
                f"training.freeze_norms is {self.freeze_norms}.", "Give a share above 0, up to 1."
            )
        if self.precision not in PRECISIONS:
            raise InputError(
                f"training.precision is {self.precision!r}.", f"Use one of {', '.join(PRECISIONS)}."
            )


@dataclass(frozen=True)
class ValidationRecipe:
    """What the training is watched with.

    Attributes:
        source: the data; never trained on.
        cases: how many cases.
        seed: of the case list.
        kinds: the kinds of selection, as ``paper_circle``; empty for all of an evaluation.
    """

    source: SourceRecipe
    cases: int = 48
    seed: int = 1
    kinds: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in KINDS:
                raise InputError(
                    f"validation.kinds has no {kind!r}.", f"Use some of {', '.join(KINDS)}."
                )
        if self.cases < 1:
            raise InputError(f"validation.cases is {self.cases}.", "Give 1 or more.")


@dataclass(frozen=True)
class Recipe:
    """A whole training.

    Attributes:
        model: a name in the registry.
        description: one sentence for the model card.
        deviations: where this differs from the paper and from the references' code.
        licence: of the weights, as the data's licences allow.
        seed: decides initial weights and samples.
    """

    model: str
    description: str
    licence: str
    sources: tuple[SourceRecipe, ...]
    validation: ValidationRecipe
    loss: LossRecipe
    training: TrainingRecipe
    deviations: str = ""
    seed: int = 0
    masks: MaskRecipe = field(default_factory=MaskRecipe)
    augmentation: Augmentation = field(default_factory=Augmentation)
    optimizer: OptimizerRecipe = field(default_factory=OptimizerRecipe)

    def __post_init__(self) -> None:
        if not self.sources:
            raise InputError("The recipe has no sources.", "Give at least one table [[sources]].")
        size, stride = self.augmentation.size, self.training.stride
        if size < _LEAST_SIZE * stride:
            raise InputError(
                f"augmentation.size is {size}, training.stride is {stride}.",
                f"The loss needs pictures of {_LEAST_SIZE} pixels: enlarge the size.",
            )
        if not 0 < self.augmentation.crop <= 1:
            raise InputError(
                f"augmentation.crop is {self.augmentation.crop}.", "Give a share above 0, up to 1."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, which :func:`from_tables` takes back."""
        return to_tables(self)


def from_tables(tables: Mapping[str, Any], where: str) -> Recipe:
    """Return a recipe from its tables; ``where`` names them in errors."""
    return build(Recipe, current_names(tables), where)
