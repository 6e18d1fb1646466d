"""The kernel's job structure as ctypes sees it: the same fields as ``job.h``, in order."""

from __future__ import annotations

import ctypes
from typing import ClassVar

_POINTER, _LONG, _INT, _FLOAT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32, ctypes.c_float


class NativeJob(ctypes.Structure):
    """``Job`` of ``job.h``; pointers are addresses of arrays that the caller keeps alive."""

    _fields_: ClassVar = [
        *((name, _POINTER) for name in ("image", "out", "coverage", "clean")),
        *((f"{name}_stride", _LONG) for name in ("image", "out", "coverage")),
        *((name, _POINTER) for name in ("row_low", "row_high", "row_part")),
        *((name, _POINTER) for name in ("column_low", "column_high", "column_end")),
        *(
            (name, _POINTER)
            for name in (
                *("column_part", "column_part3", "map", "table", "guide", "ramp", "bound"),
                *("bound_row_low", "bound_row_high", "bound_row_part"),
                *("bound_low", "bound_high", "bound_part"),
            )
        ),
        *((name, _INT) for name in ("width", "channels", "depth", "kind", "map_rows")),
        *((name, _INT) for name in ("map_columns", "count", "knots", "stream", "bound_columns")),
        *((name, _FLOAT) for name in ("strength", "saturation")),
    ]


class NativeMatte(ctypes.Structure):
    """``MatteJob`` of ``matte.c``; pointers are addresses of arrays that the caller keeps alive."""

    _fields_: ClassVar = [
        *((name, _POINTER) for name in ("image", "coverage", "selection")),
        *((f"{name}_stride", _LONG) for name in ("image", "coverage", "selection")),
        *((name, _POINTER) for name in ("row_low", "row_high", "row_part")),
        *((name, _POINTER) for name in ("column_low", "column_high", "column_end")),
        *((name, _POINTER) for name in ("column_part", "maps", "state", "fade")),
        *((name, _INT) for name in ("width", "channels", "depth", "selection_depth")),
        *((name, _INT) for name in ("map_rows", "map_columns")),
        ("selection_scale", _FLOAT),
    ]
