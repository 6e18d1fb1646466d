"""Generic transformations that turn a global network g() into a mask-conditioned f().

>>> f = mconcat(g)                   # the mask as further channels of the image
>>> f = mnorm(g, where=...)          # the mask modulates the normalization layers
>>> enhanced = f(image, areas)       # areas: float (N, 2, H, W), the areas A and B

Both work on any ``torch.nn.Module``; g itself is left as it is, and f starts as g.
"""

from maskupe.conditioning.local import ConditionedModule, ConditionedNetwork
from maskupe.conditioning.mask_context import mask_scope
from maskupe.conditioning.mconcat import MConcatConv2d, mconcat
from maskupe.conditioning.mnorm import MNorm, mnorm

__all__ = [
    "ConditionedModule",
    "ConditionedNetwork",
    "MConcatConv2d",
    "MNorm",
    "mask_scope",
    "mconcat",
    "mnorm",
]
