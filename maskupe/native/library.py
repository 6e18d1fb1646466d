"""Finds the compiled kernel for this machine and loads it."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np

from maskupe.native.structure import NativeJob

#: Where the build puts the libraries, one per processor level.
FOLDER = Path(__file__).parent / "lib"

SUFFIX = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")

#: The compiled code's numbers for the kinds of pixel (``job.h``).
DEPTHS = {np.dtype(np.uint8): 0, np.dtype(np.uint16): 1, np.dtype(np.float32): 2}

#: Set to anything to keep the compiled kernel from being loaded.
DISABLE_VARIABLE = "MASKUPE_NO_NATIVE"

# What x86-64-v3 (AVX2 and FMA) is in the names of /proc/cpuinfo; lzcnt is called abm there.
_V3_FLAGS = frozenset(["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"])
_WINDOWS_AVX2 = 40  # PF_AVX2_INSTRUCTIONS_AVAILABLE of IsProcessorFeaturePresent

_POINTER, _LONG, _INT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32
#: The functions of the library: what they return, then their arguments; see the C sources.
_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "maskupe_job_size": (ctypes.c_int,),
    "maskupe_scratch_size": (_LONG, ctypes.POINTER(NativeJob)),
    "maskupe_render": (None, ctypes.POINTER(NativeJob), _INT, _INT, _POINTER),
    "maskupe_column_distances": (None, _POINTER, _LONG, _POINTER, _LONG, _INT, _INT, _INT, _INT),
    "maskupe_row_distances": (None, _POINTER, _LONG, _INT, _INT, _INT, _POINTER, _POINTER),
    "maskupe_row_values": (
        *(None, _POINTER, _LONG, _INT, _INT, _INT),
        *(_POINTER, _INT, _INT, _POINTER, _POINTER),
    ),
    "maskupe_average": (
        *(None, _POINTER, _LONG, _INT, _INT, _INT, _INT, _POINTER, _POINTER, _POINTER),
        *(_INT, _POINTER, _POINTER, ctypes.c_float, _POINTER, _POINTER),
    ),
}


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
    for name, (result, *arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    if library.maskupe_job_size() != ctypes.sizeof(NativeJob):
        raise OSError(f"{path.name} was built from other sources than this installation's.")
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
