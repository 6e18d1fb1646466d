"""A stand-in for ``gi``: images, layers and a selection in memory, as far as the plug-in's logic
asks for them. What GIMP does to pixels is left to the tests in ``tests/gimp``.

Enumerations come from the descriptions in ``gimp_plugin/typings``, and so do the arguments that
each method must have; those descriptions are compared with the real libraries.
"""

from __future__ import annotations

import ast
import enum
import functools
import inspect
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from maskupe_gimp import source

TYPINGS = source().parent / "typings" / "gi" / "repository"
NUMBERS = {"u8": np.uint8, "u16": np.uint16, "float": np.float32}


class Object:
    """GObject's properties."""

    def __init__(self, **properties: Any) -> None:
        self.properties = properties

    def get_property(self, name: str) -> Any:
        return self.properties[name]

    def set_property(self, name: str, value: Any) -> None:
        assert name in self.properties
        self.properties[name] = value


class Rectangle(SimpleNamespace):
    @staticmethod
    def new(x: int, y: int, width: int, height: int) -> Rectangle:
        return Rectangle(x=x, y=y, width=width, height=height)

    def slices(self) -> tuple[slice, slice]:
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)


class Buffer(Object):
    """Pixels. Numbers are converted between their types, but no colours and no curves."""

    def __init__(self, pixels: np.ndarray) -> None:
        super().__init__()
        self.pixels = pixels

    def get(self, rect: Rectangle, scale: float, format_name: str, repeat_mode: int) -> bytes:
        assert scale == 1
        return as_type(self.pixels[rect.slices()], number_type(format_name)).tobytes()

    def set(self, rect: Rectangle, format_name: str, src: bytes) -> None:
        place = self.pixels[rect.slices()]
        found = np.frombuffer(src, number_type(format_name)).reshape(place.shape)
        place[:] = as_type(found, place.dtype)

    def copy(self, src_rect: Rectangle, repeat_mode: int, dst: Buffer, dst_rect: Rectangle) -> None:
        dst.pixels[dst_rect.slices()] = self.pixels[src_rect.slices()]

    def flush(self) -> None:
        pass


def number_type(format_name: str) -> Any:
    return np.dtype(NUMBERS[format_name.rsplit(" ", 1)[1]])


def as_type(pixels: np.ndarray, wanted: Any) -> np.ndarray:
    if pixels.dtype == wanted:
        return pixels
    part = pixels / (np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1)
    return part.astype(wanted) if wanted.kind == "f" else np.rint(part * np.iinfo(wanted).max)


class Parasite:
    def __init__(self, name: str, data: bytes) -> None:
        self.name, self.data = name, data

    @staticmethod
    def new(name: str, flags: int, data: bytes) -> Parasite:
        return Parasite(name, data)

    def get_data(self) -> list[int]:
        return list(self.data)


class Item(Object):
    """Something in an image; tests set the attributes."""

    def __init__(self, image: Image, name: str = "photo") -> None:
        super().__init__()
        self.image, self.name = image, name
        self.parent: Item | None = None
        self.locked = self.text = False
        self.parasites: dict[str, Parasite] = {}

    def get_image(self) -> Image:
        return self.image

    def get_lock_content(self) -> bool:
        return self.locked

    def get_name(self) -> str:
        return self.name

    def set_name(self, name: str) -> bool:
        self.name = name
        return True

    def get_parent(self) -> Item | None:
        return self.parent

    def get_tattoo(self) -> int:
        return 1 + self.image.layers.index(self)

    def get_parasite(self, name: str) -> Parasite | None:
        return self.parasites.get(name)

    def attach_parasite(self, parasite: Parasite) -> bool:
        self.parasites[parasite.name] = parasite
        return True

    def is_group(self) -> bool:
        return isinstance(self, GroupLayer)

    def is_text_layer(self) -> bool:
        return self.text

    def delete(self) -> bool:
        return True


class Drawable(Item):
    """Something with pixels: RGB of 8 bits, or one channel of a mask."""

    model, channels = "R'G'B'", 3

    def __init__(self, image: Image, width: int, height: int, name: str = "photo") -> None:
        super().__init__(image, name)
        self.buffer = Buffer(np.zeros((height, width, self.channels), np.uint8))
        self.shadow = Buffer(np.zeros_like(self.buffer.pixels))
        self.offsets = (0, 0)

    def get_buffer(self) -> Buffer:
        return self.buffer

    def get_shadow_buffer(self) -> Buffer:
        return self.shadow

    def merge_shadow(self, undo: bool) -> bool:
        self.buffer.pixels[:] = self.shadow.pixels
        return True

    def get_format(self) -> str:
        return f"{self.model} u8"

    def get_width(self) -> int:
        return self.buffer.pixels.shape[1]

    def get_height(self) -> int:
        return self.buffer.pixels.shape[0]

    def get_offsets(self) -> tuple[bool, int, int]:
        return True, *self.offsets

    def has_alpha(self) -> bool:
        return False

    def is_gray(self) -> bool:
        return False

    def is_indexed(self) -> bool:
        return False

    def mask_intersect(self) -> tuple[bool, int, int, int, int]:
        x, y = self.offsets
        height, width = self.buffer.pixels.shape[:2]
        selected = self.image.selection.buffer.pixels[..., 0]
        rows, columns = np.nonzero(selected[max(y, 0) : y + height, max(x, 0) : x + width])
        if not len(rows):
            return False, 0, 0, 0, 0
        rows, columns = rows + max(-y, 0), columns + max(-x, 0)
        left, top = int(columns.min()), int(rows.min())
        return True, left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top

    def update(self, x: int, y: int, width: int, height: int) -> bool:
        return True


class Layer(Drawable):
    @staticmethod
    def new(
        image: Image, name: str, width: int, height: int, type: int, opacity: float, mode: int
    ) -> Layer:
        return Layer(image, width, height, name)

    @staticmethod
    def new_from_drawable(drawable: Drawable, dest_image: Image) -> Layer:
        return Layer(dest_image, drawable.get_width(), drawable.get_height(), drawable.name)

    def set_mode(self, mode: int) -> bool:
        return True

    def set_blend_space(self, blend_space: int) -> bool:
        return True

    def set_composite_space(self, composite_space: int) -> bool:
        return True

    def set_offsets(self, offx: int, offy: int) -> bool:
        self.offsets = offx, offy
        return True


class GroupLayer(Layer):
    @staticmethod
    def new(image: Image, name: str | None) -> GroupLayer:  # type: ignore[override]
        return GroupLayer(image, 1, 1, name or "")


class Channel(Drawable):
    model, channels = "Y", 1

    def copy(self) -> Channel:
        twin = Channel(self.image, self.get_width(), self.get_height())
        twin.buffer.pixels[:] = self.buffer.pixels
        return twin

    def combine_masks(self, channel2: Channel, operation: int, offx: int, offy: int) -> bool:
        self.buffer.pixels[:] = channel2.buffer.pixels
        return True


class LayerMask(Channel):
    pass


class Selection(Channel):
    @staticmethod
    def is_empty(image: Image) -> bool:
        return not image.selection.buffer.pixels.any()

    @staticmethod
    def none(image: Image) -> bool:
        image.selection.buffer.pixels[:] = 0
        return True


class Image(Object):
    """An image; ``there`` lists those that were not deleted."""

    there: ClassVar[list[Image]] = []

    def __init__(self, width: int, height: int, precision: int, base_type: int = 0) -> None:
        super().__init__()
        self.precision, self.base_type = precision, base_type
        self.width, self.height = width, height
        self.selection = Selection(self, width, height)
        self.layers: list[Item] = []
        self.undo_groups = 0
        self.open_groups = 0
        self.there.append(self)

    @staticmethod
    def new_with_precision(width: int, height: int, type: int, precision: int) -> Image:
        return Image(width, height, precision, type)

    def delete(self) -> bool:
        self.there.remove(self)
        return True

    def get_base_type(self) -> int:
        return self.base_type

    def get_precision(self) -> int:
        return self.precision

    def get_color_profile(self) -> None:
        return None

    def get_width(self) -> int:
        return self.width

    def get_height(self) -> int:
        return self.height

    def get_selection(self) -> Selection:
        return self.selection

    def select_rectangle(
        self, operation: int, x: float, y: float, width: float, height: float
    ) -> bool:
        self.selection.buffer.pixels[:] = 0
        self.selection.buffer.pixels[y : y + height, x : x + width] = 255
        return True

    def insert_layer(self, layer: Layer, parent: Layer | None, position: int) -> bool:
        self.layers.append(layer)
        layer.parent = parent
        return True

    def reorder_item(self, item: Item, parent: Item | None, position: int) -> bool:
        item.parent = parent
        return True

    def get_item_position(self, item: Item) -> int:
        return 0

    def get_layer_by_tattoo(self, tattoo: int) -> Item | None:
        if not isinstance(tattoo, int):
            raise TypeError(tattoo)
        return self.layers[tattoo - 1] if 0 < tattoo <= len(self.layers) else None

    def merge_visible_layers(self, merge_type: int) -> Item:
        return self.layers[0]

    def undo_disable(self) -> bool:
        return True

    def undo_group_start(self) -> bool:
        self.undo_groups += 1
        self.open_groups += 1
        return True

    def undo_group_end(self) -> bool:
        self.open_groups -= 1
        return True


class Choice:
    @staticmethod
    def new() -> Choice:
        return Choice()

    def add(self, nick: str, id: int, label: str, help: str) -> None:
        pass


class Procedure(Object):
    """Keeps the arguments' defaults, and returns a status and an error's text as they are."""

    def add_boolean_argument(
        self, name: str, nick: str, blurb: str, value: bool, flags: int
    ) -> None:
        self.properties[name] = value

    def add_double_argument(
        self, name: str, nick: str, blurb: str, min: float, max: float, value: float, flags: int
    ) -> None:
        self.properties[name] = value

    def add_choice_argument(
        self, name: str, nick: str, blurb: str, choice: Choice, value: str, flags: int
    ) -> None:
        self.properties[name] = value

    def add_string_argument(self, name: str, nick: str, blurb: str, value: str, flags: int) -> None:
        self.properties[name] = value

    def create_config(self) -> Object:
        return Object(**self.properties)

    def new_return_values(self, status: int, error: str | None) -> tuple[int, str | None]:
        return status, error


class PlugIn(Object):
    @staticmethod
    def error_quark() -> int:
        return 1


CLASSES: dict[str, tuple[type, ...]] = {
    "Gegl": (Rectangle, Buffer),
    "Gimp": (
        *(Parasite, Item, Drawable, Layer, GroupLayer, Channel, LayerMask, Selection, Image),
        *(Choice, Procedure, PlugIn),
    ),
}


@functools.cache
def described(name: str) -> dict[str, type]:
    """Return a library's enumerations as they are described, and the classes of above.

    Raises:
        AssertionError: if one of their methods is not as described.
    """
    classes = {made.__name__: made for made in CLASSES[name]}
    found: dict[str, type] = {}
    for node in ast.parse((TYPINGS / f"{name}.pyi").read_text("utf-8")).body:
        if not isinstance(node, ast.ClassDef):
            continue
        if node.name in classes:
            _compare(classes[node.name], node)
            found[node.name] = classes[node.name]
        elif node.bases and ast.unparse(node.bases[0]) in ("GObject.GEnum", "GObject.GFlags"):
            values = {
                part.targets[0].id: ast.literal_eval(part.value)
                for part in node.body
                if isinstance(part, ast.Assign) and isinstance(part.targets[0], ast.Name)
            }
            found[node.name] = enum.IntEnum(node.name, values)
    assert classes.keys() <= found.keys()
    return found


def library(name: str) -> ModuleType:
    """Return a library as a module."""
    module = ModuleType(f"gi.repository.{name}")
    vars(module).update(described(name))
    return module


def _compare(made: type, described: ast.ClassDef) -> None:
    methods = {
        node.name: [argument.arg for argument in node.args.args]
        for node in described.body
        if isinstance(node, ast.FunctionDef)
    }
    for name, value in vars(made).items():
        method = value.__func__ if isinstance(value, staticmethod) else value
        if inspect.isfunction(method) and not name.startswith("_") and name != "slices":
            assert list(inspect.signature(method).parameters) == methods.get(name), (made, name)


def idle_add(function: Callable[..., bool], *arguments: Any) -> int:
    """Call a function at once, in the thread that asks for it, until it wants no more."""
    while function(*arguments):
        pass
    return 0


def install(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have the plug-in's modules imported anew with the stand-in, until ``monkeypatch`` is undone.

    Returns:
        ``gi.repository.Gimp``; its ``contexts`` counts those that were pushed and not popped.
    """
    monkeypatch.syspath_prepend(str(source()))
    for name in [name for name in sys.modules if name.split(".")[0] in ("maskupe_plugin", "gi")]:
        monkeypatch.delitem(sys.modules, name)

    gimp, gegl = library("Gimp"), library("Gegl")
    gimp.contexts = 0

    def push(by: int) -> bool:
        gimp.contexts += by
        return True

    gimp.context_push, gimp.context_pop = lambda: push(1), lambda: push(-1)
    for name in ("context_set_antialias", "context_set_feather", "displays_flush", "progress_init"):
        setattr(gimp, name, lambda *_: True)
    for name in ("progress_end", "progress_pulse", "progress_set_text", "progress_update"):
        setattr(gimp, name, lambda *_: True)
    gimp.ProcedureConfig = Object
    gimp.installation_directory = lambda: "/usr"

    repository = ModuleType("gi.repository")
    repository.Gimp, repository.Gegl = gimp, gegl
    repository.Babl = SimpleNamespace(
        format_get_encoding=lambda babl: babl,
        format_with_space=lambda encoding, space: encoding,
        get_name=lambda babl: babl,
    )
    repository.GLib = SimpleNamespace(
        get_language_names=lambda: ["C"],
        idle_add=idle_add,
        Error=SimpleNamespace(new_literal=lambda domain, message, code: message),
    )
    repository.GObject = SimpleNamespace(ParamFlags=SimpleNamespace(READWRITE=3))
    repository.Gio = SimpleNamespace()
    gi = ModuleType("gi")
    gi.require_version = lambda namespace, version: None
    gi.repository = repository
    monkeypatch.setitem(sys.modules, "gi", gi)
    monkeypatch.setitem(sys.modules, "gi.repository", repository)
    return gimp


def forget() -> None:
    """Forget the plug-in's modules that were imported with the stand-in."""
    for name in [name for name in sys.modules if name.split(".")[0] == "maskupe_plugin"]:
        del sys.modules[name]
