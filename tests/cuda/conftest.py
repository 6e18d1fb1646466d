"""For the tests of NVIDIA cards: a quicker interpreter."""

from __future__ import annotations

import pytest

from tests.cuda.here import INTERPRETED


@pytest.fixture(scope="session", autouse=True)
def quick_interpreter():
    """Leaves out the interpreter's check of every sum for an overflow, which takes ten times as
    long as the sums. Its name may change; then the tests are slow."""
    if not INTERPRETED:
        return
    from triton.runtime import interpreter

    try:
        options = interpreter.InterpreterOptions(sanitize_overflow=False)
        interpreter.interpreter_builder.options = options
    except (AttributeError, TypeError):
        pass
