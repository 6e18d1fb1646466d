"""For the tests of NVIDIA cards: a quicker interpreter."""

from __future__ import annotations

import pytest

from tests.cuda.here import INTERPRETED, quicken_interpreter


@pytest.fixture(scope="session", autouse=True)
def quick_interpreter():
    if INTERPRETED:
        quicken_interpreter()
