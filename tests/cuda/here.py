"""What of NVIDIA's cards there is here: one, Triton's interpreter in its place, or neither."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

_HAS_TORCH = find_spec("torch") is not None
_HAS_TRITON = find_spec("triton") is not None
#: Whether the kernels run on the processor, which :mod:`tests.conftest` sees to without a card.
INTERPRETED = _HAS_TORCH and _HAS_TRITON and os.environ.get("TRITON_INTERPRET") == "1"


def _has_card() -> bool:
    if not _HAS_TORCH:
        return False
    import torch

    return torch.cuda.is_available() and torch.version.cuda is not None


CARD = not INTERPRETED and _has_card()

needs_card = pytest.mark.skipif(not CARD, reason="there is no NVIDIA card here")
needs_kernels = pytest.mark.skipif(
    not (INTERPRETED or (CARD and _HAS_TRITON)),
    reason="there is neither an NVIDIA card here nor Triton's interpreter (TRITON_INTERPRET=1)",
)


def quicken_interpreter() -> None:
    """Leaves out the check of every sum for an overflow, which takes longer than the sums.

    Its name may change; then the interpreter is slow.
    """
    from triton.runtime import interpreter

    try:
        options = interpreter.InterpreterOptions(sanitize_overflow=False)
        interpreter.interpreter_builder.options = options
    except (AttributeError, TypeError):
        pass
