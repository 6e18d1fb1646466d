"""Which of the builds for x86 processors this one can run."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from pathlib import Path

from maskupe.errors import InputError

#: Set to a name of :data:`LEVELS` to keep the builds for later processors from being loaded.
LEVEL_VARIABLE = "MASKUPE_PROCESSOR_LEVEL"

#: The levels of x86-64 for which there are builds, the oldest processors' first: any, those with
#: AVX2 and FMA, those with AVX-512.
LEVELS = ("x86_64", "x86_64_v3", "x86_64_v4")

# What a level asks for beyond the one before it, in the words of each system.
# In /proc/cpuinfo lzcnt is called abm.
_LINUX = {
    "x86_64_v3": ("avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"),
    "x86_64_v4": ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
}
# Names of sysctl. Rosetta runs x86 programs without AVX2, and says so there.
_MACOS = {
    "x86_64_v3": ("avx2_0", "fma", "bmi1", "bmi2"),
    "x86_64_v4": ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
}
# Numbers of IsProcessorFeaturePresent for AVX2 and AVX512F. Windows names no more than these: all
# processors with AVX2 that it runs on have FMA, all with AVX-512F have the rest of the level.
_WINDOWS = {"x86_64_v3": 40, "x86_64_v4": 41}


def machine() -> str:
    """Return the processor family as the library files are called: ``x86_64`` or ``aarch64``."""
    name = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name, name)


def levels() -> list[str]:
    """Return the builds that can run here, best first; for other families than x86 just its name.

    Raises:
        InputError: if the environment variable names none.
    """
    if machine() != "x86_64":
        return [machine()]
    most = os.environ.get(LEVEL_VARIABLE) or LEVELS[-1]
    if most not in LEVELS:
        raise InputError(
            f"The environment variable {LEVEL_VARIABLE} is {most!r}.",
            f"Set it to one of {', '.join(LEVELS)}, or not at all.",
        )
    found = [LEVELS[0]]
    for level in LEVELS[1 : LEVELS.index(most) + 1]:
        if not _has(level):
            break
        found.insert(0, level)
    return found


def _has(level: str) -> bool:
    """Return whether the processor, and the system, have what a level adds to the one before it."""
    if sys.platform == "win32":
        return bool(ctypes.windll.kernel32.IsProcessorFeaturePresent(_WINDOWS[level]))
    if sys.platform == "darwin":
        return all(_macos(f"hw.optional.{name}") for name in _MACOS[level])
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return set(flags.partition(":")[2].split()) >= set(_LINUX[level])


def _macos(name: str) -> bool:
    value, size = ctypes.c_int(0), ctypes.c_size_t(4)
    ctypes.CDLL(None).sysctlbyname(
        name.encode(), ctypes.byref(value), ctypes.byref(size), None, ctypes.c_size_t(0)
    )
    return value.value == 1
