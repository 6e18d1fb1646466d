"""What the plug-in uses of GEGL 0.4, in which GIMP keeps pixels."""

from collections.abc import Sequence

from gi.repository import GObject

class AbyssPolicy(GObject.GEnum):
    NONE = 0
    CLAMP = 1

class Rectangle:
    x: int
    y: int
    width: int
    height: int
    @staticmethod
    def new(x: int, y: int, width: int, height: int) -> Rectangle: ...

class Buffer(GObject.Object):
    @staticmethod
    def new(format_name: str, x: int, y: int, width: int, height: int) -> Buffer: ...
    def copy(
        self,
        src_rect: Rectangle,
        repeat_mode: AbyssPolicy,
        dst: Buffer,
        dst_rect: Rectangle,
    ) -> None: ...
    def flush(self) -> None: ...
    def get(
        self, rect: Rectangle, scale: float, format_name: str | None, repeat_mode: AbyssPolicy
    ) -> bytes: ...
    def get_extent(self) -> Rectangle: ...
    def set(self, rect: Rectangle, format_name: str, src: bytes) -> None: ...

def init(argv: Sequence[str] | None) -> None: ...
