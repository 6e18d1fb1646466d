"""What each of two processes does with its half of a batch; imports little, as they start anew."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn

from maskupe.conditioning import MNorm, mask_scope
from maskupe_training.synchronised import SynchronisedBatchNorm2d, synchronise_norms

KINDS = ("batch", "mnorm")


def main(rank: int, folder: str) -> None:
    """Put half of the batch through synchronised norms of each kind, each written to a file."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    for kind in KINDS:
        norm, batch, weights, areas = norm_and_batch(kind)
        model = nn.Sequential(norm)
        synchronise_norms(model)
        assert any(isinstance(each, SynchronisedBatchNorm2d) for each in model.modules())
        half = slice(3 * rank, 3 * rank + 3)
        torch.save(run(model, batch[half], weights[half], areas), f"{folder}/{kind}-{rank}.pt")
    dist.destroy_process_group()


def norm_and_batch(kind: str) -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """Return a norm of a kind, a batch, weights of its output, and areas, in float64."""
    torch.manual_seed(1)
    norm: nn.Module = nn.BatchNorm2d(4)
    if kind == "mnorm":
        norm = MNorm(norm)
    tensors = (2 + torch.randn(6, 4, 5, 7), torch.randn(6, 4, 5, 7), torch.rand(1, 2, 5, 7))
    batch, weights, areas = (each.double() for each in tensors)
    return norm.double(), batch, weights, areas


def run(model: nn.Module, batch: Tensor, weights: Tensor, areas: Tensor) -> dict[str, Tensor]:
    """Return the output of a pass, its gradients and the norm's statistics, by name."""
    batch = batch.clone().requires_grad_()
    with mask_scope(areas):
        out = model.train()(batch)
    (out * weights).square().sum().backward()
    assert batch.grad is not None
    found = {"out": out.detach(), "grad": batch.grad}
    for name, value in model.named_parameters():
        assert value.grad is not None
        found[f"parameter {name}"] = value.grad
    return found | {f"buffer {name}": value for name, value in model.named_buffers()}
