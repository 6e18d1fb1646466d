"""LIME, the classical Retinex method that the paper cites (Guo, Li and Ling, TIP 2017).

The illumination is the largest channel, refined under a structure-aware prior, raised to 0.8, and
divided out. The refinement here is the paper's "sped-up solver", Eq. (19): the minimiser of

    ‖T - T̂‖² + α Σ_x Σ_d W_d(x) (∂_d T(x))² / (|∂_d T̂(x)| + ε)

which is one sparse symmetric linear system. W_d is the paper's strategy III, Eq. (22) and (23):
the inverse of the absolute Gaussian-weighted mean of the initial map's derivative, whose texture
cancels and whose edges do not.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix, diags, identity
from scipy.sparse.linalg import cg

from maskupe_training.data.images import F32

# The paper's settings: α = 0.15, γ = 0.8, σ = 2 (Sec. IV), and its small constant.
_ALPHA = 0.15
_GAMMA = 0.8
_SIGMA = 2.0
_EPSILON = 1e-3
# The least illumination, so that black stays finite.
_FLOOR = 0.01

Plane = npt.NDArray[np.float64]


def lime(image: F32) -> F32:
    """Return the enhanced image, float32 (H, W, 3) in 0…1, without LIME's optional denoising.

    Args:
        image: float32 (H, W, 3), display-encoded, 0…1.
    """
    illumination = refine(image.max(axis=2).astype(np.float64))
    divisor = np.maximum(illumination, _FLOOR) ** _GAMMA
    return np.clip(image / divisor[..., None], 0.0, 1.0).astype(np.float32)


def refine(initial: Plane) -> Plane:
    """Return the refined illumination map T of the initial one T̂, Eq. (19), both (H, W)."""
    height, width = initial.shape
    # Forward differences to the right and downwards; 0 in the last column and row.
    right = np.diff(initial, axis=1, append=initial[:, -1:])
    below = np.diff(initial, axis=0, append=initial[-1:])
    weight_right = _weight(right) / (np.abs(right) + _EPSILON)
    weight_below = _weight(below) / (np.abs(below) + _EPSILON)
    # Differences across the border do not exist.
    weight_right[:, -1] = 0.0
    weight_below[-1, :] = 0.0
    count = height * width
    here = np.arange(count).reshape(height, width)
    rows, columns, values = [], [], []
    for weight, shift in ((weight_right, 1), (weight_below, width)):
        edges = weight.ravel() > 0
        one, other = here.ravel()[edges], here.ravel()[edges] + shift
        strength = _ALPHA * weight.ravel()[edges]
        rows += [one, other, one, other]
        columns += [one, other, other, one]
        values += [strength, strength, -strength, -strength]
    smoothness = coo_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))),
        shape=(count, count),
    ).tocsr()
    system = smoothness + identity(count, format="csr")
    solution, _ = cg(
        system,
        initial.ravel(),
        x0=initial.ravel(),
        rtol=1e-3,
        maxiter=300,
        M=diags(1.0 / system.diagonal()),  # Jacobi's preconditioner
    )
    return np.asarray(np.clip(solution.reshape(height, width), 0.0, 1.0))


def _weight(derivative: Plane) -> Plane:
    """Return w_d of strategy III: 1 / (|G_σ ∗ ∂_d T̂| + ε), over a 15×15 window as σ = 2 needs."""
    smooth = cv2.GaussianBlur(derivative, (15, 15), _SIGMA)
    return np.asarray(1.0 / (np.abs(smooth) + _EPSILON))
