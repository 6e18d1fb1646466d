"""For all tests: the same examples every time, one thread for tensors, skips without ``train``.

On a Python without that extra, the tests that need it are skipped, not failed. So one command runs
all that a user's installation can do on every Python, also where PyTorch has no wheel
(`make test-pythons`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Which examples are tried follows from the test alone; how long one takes depends on the machine.
settings.register_profile("maskupe", derandomize=True, deadline=None)
settings.load_profile("maskupe")

# Before PyTorch is imported, and for daemons that tests start: their tensors are so small that
# handing them to a second thread takes longer than the work, above all beside other workers.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Without a card, Triton interprets the kernels for one; it wants to know before it is imported.
if not any(Path(node).exists() for node in ("/dev/nvidiactl", "/dev/dxg")):
    os.environ.setdefault("TRITON_INTERPRET", "1")

#: What the extra brings and some tests import at their top.
EXTRA = ("torch", "lightning_fabric", "tensorboard", "matplotlib", "onnx", "scipy")
MISSING = [name for name in EXTRA if find_spec(name) is None]


def pytest_report_header() -> list[str]:
    """Says what is left out."""
    return [f"skipping what needs {', '.join(MISSING)}"] if MISSING else []


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, None]:
    """Turns a module that cannot import the extra into a skipped one."""
    outcome = yield
    report = outcome.get_result()
    found = report.failed and re.search(r"No module named '(\w+)", str(report.longrepr))
    if found and found[1] in MISSING:
        report.outcome = "skipped"
        report.longrepr = (str(collector.path), 1, f"Skipped: needs {found[1]}")
