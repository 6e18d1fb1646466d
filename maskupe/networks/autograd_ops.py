"""Two pointwise functions of training with their own backward passes: less memory, fewer passes."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor


class _PiecewiseLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, shifts: Tensor, slopes: Tensor) -> Tensor:
        knots, order = shifts.sort(dim=1)
        steps = slopes.gather(1, order)
        # Between two knots the sum is one line: its slope and offset are running sums.
        none = torch.zeros_like(steps[:, :1])
        slope = torch.cat([none, steps.cumsum(1)], 1)
        offset = torch.cat([none, -(steps * knots).cumsum(1)], 1)
        piece = torch.empty_like(x, dtype=torch.int32)
        out = torch.empty_like(x)
        for c in range(x.shape[1]):
            piece[:, c] = torch.bucketize(x[:, c].contiguous(), knots[c], out_int32=True)
            out[:, c] = slope[c][piece[:, c]] * x[:, c] + offset[c][piece[:, c]]
        ctx.save_for_backward(x, piece, knots, order, steps, slope)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, piece, knots, order, steps, slope = ctx.saved_tensors
        (grad,) = grads
        to_x = torch.empty_like(x)
        to_knots = torch.empty_like(knots)
        to_steps = torch.empty_like(steps)
        count = knots.shape[1] + 1
        for c in range(x.shape[1]):
            to_x[:, c] = grad[:, c] * slope[c][piece[:, c]]
            bins = piece[:, c].flatten()
            weights = grad[:, c].flatten()
            # Knot k acts on all pieces above it: suffix sums over the pieces.
            total = torch.bincount(bins, weights, count).flip(0).cumsum(0).flip(0)[1:]
            moment = torch.bincount(bins, weights * x[:, c].flatten(), count)
            moment = moment.flip(0).cumsum(0).flip(0)[1:]
            to_knots[c] = -steps[c] * total
            to_steps[c] = moment - knots[c] * total
        to_shifts = torch.empty_like(knots).scatter_(1, order, to_knots)
        to_slopes = torch.empty_like(steps).scatter_(1, order, to_steps)
        return to_x, to_shifts, to_slopes


def piecewise_linear(x: Tensor, shifts: Tensor, slopes: Tensor) -> Tensor:
    """sum_k slopes[c, k] · relu(x[:, c] - shifts[c, k]) of x (N, C, H, W), with (C, K) knots."""
    return cast(Tensor, _PiecewiseLinear.apply(x, shifts, slopes))  # type: ignore[no-untyped-call]


class _QuadraticCurves(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, rates: Tensor) -> Tensor:
        states = [image]
        for rate in rates.unbind(1):
            x = states[-1]
            states.append(torch.addcmul(x, rate, (x * x).sub_(x)))
        ctx.save_for_backward(rates, *states[:-1])
        return states[-1]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        rates, *states = ctx.saved_tensors
        (grad,) = grads
        to_rates = torch.empty_like(rates)
        for i in reversed(range(len(states))):
            x = states[i]
            torch.mul(grad, (x * x).sub_(x), out=to_rates[:, i])
            # d/dx of x + r (x² - x) = 1 + r (2x - 1)
            grad = torch.addcmul(grad, grad, (2.0 * x).sub_(1.0).mul_(rates[:, i]))
        return grad, to_rates


def quadratic_curves(image: Tensor, rates: Tensor) -> Tensor:
    """Return x ← x + r_i (x² - x) over i: Zero-DCE (Guo et al. 2020), Eq. 3.

    Args:
        image: float (N, 3, H, W), x_0.
        rates: float (N, n, 3, H, W).
    """
    return cast(Tensor, _QuadraticCurves.apply(image, rates))  # type: ignore[no-untyped-call]
