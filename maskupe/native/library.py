"""Finds the compiled kernel for this machine and loads it."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import sys
from pathlib import Path

from maskupe.native.structure import NativeJob

#: Where the build puts the libraries, one per processor level.
FOLDER = Path(__file__).parent / "lib"

SUFFIX = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")

#: Set to anything to keep the compiled kernel from being loaded.
DISABLE_VARIABLE = "MASKUPE_NO_NATIVE"

# What x86-64-v3 (AVX2 and FMA) is in the names of /proc/cpuinfo; lzcnt is called abm there.
_V3_FLAGS = frozenset(["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"])
_WINDOWS_AVX2 = 40  # PF_AVX2_INSTRUCTIONS_AVAILABLE of IsProcessorFeaturePresent


def machine() -> str:
    """The processor family as the library files are called: ``x86_64`` or ``aarch64``."""
    name = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name, name)


def has_v3() -> bool:
    """Whether this is an x86 processor with AVX2 and FMA, of which the fast build makes use."""
    if machine() != "x86_64":
        return False
    if sys.platform == "win32":
        # Windows does not name FMA: every processor with AVX2 that it runs on has it.
        return bool(ctypes.windll.kernel32.IsProcessorFeaturePresent(_WINDOWS_AVX2))
    if sys.platform == "darwin":
        # Rosetta runs x86 programs without AVX2, and says so here.
        libc = ctypes.CDLL(None)
        value, size = ctypes.c_int(0), ctypes.c_size_t(4)
        libc.sysctlbyname(
            b"hw.optional.avx2_0", ctypes.byref(value), ctypes.byref(size), None, ctypes.c_size_t(0)
        )
        return value.value == 1
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return set(flags.partition(":")[2].split()) >= _V3_FLAGS


def candidates() -> list[Path]:
    """The library files that could serve this machine, best first."""
    names = [f"kernel-{machine()}"]
    if has_v3():
        names.insert(0, f"kernel-{machine()}_v3")
    return [FOLDER / f"{name}{SUFFIX}" for name in names]


def open_library(path: Path) -> ctypes.CDLL:
    """Loads one library and checks that it was built from the same job structure.

    Raises:
        OSError: if it does not load, or is another version's.
    """
    library = ctypes.CDLL(str(path))
    library.maskupe_job_size.restype = ctypes.c_int
    library.maskupe_job_size.argtypes = []
    if library.maskupe_job_size() != ctypes.sizeof(NativeJob):
        raise OSError(f"{path.name} was built from other sources than this installation's.")
    library.maskupe_scratch_size.restype = ctypes.c_int64
    library.maskupe_scratch_size.argtypes = [ctypes.POINTER(NativeJob)]
    library.maskupe_render.restype = None
    library.maskupe_render.argtypes = [
        ctypes.POINTER(NativeJob),
        ctypes.c_int32,
        ctypes.c_int32,
        ctypes.c_void_p,
    ]
    return library


@functools.cache
def load() -> ctypes.CDLL | None:
    """The best library that loads on this machine, or None."""
    if os.environ.get(DISABLE_VARIABLE):
        return None
    for path in candidates():
        if path.is_file():
            try:
                return open_library(path)
            except (OSError, AttributeError):
                continue
    return None
