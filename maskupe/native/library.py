"""Finds the compiled kernel for this machine and loads it."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from pathlib import Path
from typing import Any

from maskupe.native import sources
from maskupe.native.processor import levels
from maskupe.native.structure import NativeJob, NativeMatte
from maskupe.pixel_layout import PIXEL_TYPES

#: Where the build puts the libraries, one per processor level.
FOLDER = Path(__file__).parent / "lib"

SUFFIX = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")

#: The compiled code's numbers for the kinds of pixel (``job.h``).
DEPTHS = {dtype: number for number, dtype in enumerate(PIXEL_TYPES)}

#: Set to anything to keep the compiled kernel from being loaded.
DISABLE_VARIABLE = "MASKUPE_NO_NATIVE"

_POINTER, _LONG, _INT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32
#: The functions of the library: what they return, then their arguments; see the C sources.
_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "maskupe_job_size": (ctypes.c_int,),
    "maskupe_sources": (ctypes.c_uint64,),
    "maskupe_scratch_size": (_LONG, ctypes.POINTER(NativeJob)),
    "maskupe_render": (None, ctypes.POINTER(NativeJob), _INT, _INT, _POINTER),
    "maskupe_column_distances": (None, _POINTER, _LONG, _POINTER, _LONG, _INT, _INT, _INT, _INT),
    "maskupe_row_distances": (None, _POINTER, _LONG, _INT, _INT, _INT, _POINTER, _POINTER),
    "maskupe_matte_size": (ctypes.c_int,),
    "maskupe_apply_matte": (None, ctypes.POINTER(NativeMatte), _INT, _INT),
    "maskupe_cleaning_size": (ctypes.c_int,),
    "maskupe_cleaning_scratch": (_LONG,),
    "maskupe_clean_coarse": (None, _POINTER, _INT, _INT, _POINTER),
    "maskupe_clean_correct": (None, _POINTER, _INT, _INT, _POINTER),
    "maskupe_clean": (_INT, _POINTER, _INT, _INT, _POINTER, _POINTER),
    "maskupe_average": (
        *(None, _POINTER, _LONG, _INT, _INT, _INT, _INT, _POINTER, _POINTER, _POINTER),
        *(_INT, _POINTER, _POINTER, ctypes.c_float, _POINTER, _POINTER),
    ),
}


def candidates() -> list[Path]:
    """Return the library files that could serve this machine, best first."""
    return [FOLDER / f"kernel-{level}{SUFFIX}" for level in levels()]


def open_library(path: Path) -> ctypes.CDLL:
    """Load one library and check that it was built from these sources.

    Raises:
        AttributeError: if it lacks a function.
        OSError: if it does not load, or was built from other sources.
    """
    library = ctypes.CDLL(str(path))
    for name, (result, *arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    same_job = library.maskupe_job_size() == ctypes.sizeof(NativeJob)
    same_job &= library.maskupe_matte_size() == ctypes.sizeof(NativeMatte)
    # Where no sources are installed with the package, none can have changed since.
    if not same_job or sources.digest(FOLDER.parent) not in (None, library.maskupe_sources()):
        raise OSError(f"{path.name} was built from other sources than this installation's.")
    return library


@functools.cache
def load() -> ctypes.CDLL | None:
    """Return the best library that loads on this machine, or None."""
    if os.environ.get(DISABLE_VARIABLE):
        return None
    for path in candidates():
        if path.is_file():
            try:
                return open_library(path)
            except (OSError, AttributeError):
                continue
    return None
