"""New layers remember what they were made with, so that the filter can make them anew.

A parasite on the layer, or on the illumination layer's group, holds the settings, which layer it
was made from, and the selection. Another one marks the layer that it was made from: a copy in
another image must not find one there that merely has the same number. Both are saved in XCF files.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import secrets
import zlib

from gi.repository import Gimp

from maskupe_plugin import pixels
from maskupe_plugin.checks import UserError, selected_box
from maskupe_plugin.encoding import selection_dtype, selection_format
from maskupe_plugin.job import Job
from maskupe_plugin.region import AUTO, OFF, Box, read_edges
from maskupe_plugin.settings import MAX_WIDTH, Settings

PARASITE = "maskupe-local-underexposure"
#: On the layer that others were made from: random text, which they know.
MARK = "maskupe-source"
#: Kept in files and undone with the layer: GIMP's constants have other names in its versions.
_PERSISTENT, _UNDOABLE = 1, 2
#: Selections are mostly runs of equal numbers: more effort would hardly make them smaller.
_QUICK = 1
#: Of one number of a selection.
_BYTES = {"u8": 1, "f32": 4}


@dataclasses.dataclass(frozen=True)
class _Selection:
    """The selection within a layer: where it is there, its numbers' type, and its bytes."""

    box: Box
    dtype: str
    data: bytes


class MadeLayer:
    """A layer that the filter has made, and what with.

    Args:
        layer: the layer, or the illumination layer's group.
        source: the layer that it was made from.
        settings: what was asked for.
        selection: what was selected; None for nothing, when the whole layer was lit up.
    """

    def __init__(
        self,
        layer: Gimp.Layer,
        source: Gimp.Layer,
        settings: Settings,
        selection: _Selection | None,
    ) -> None:
        self.layer = layer
        self.source = source
        self.settings = settings
        self._selection = selection
        self._shown: _Selection | None = None

    def is_of_selection(self) -> bool:
        """Return whether it was made with what is selected now, or nothing is selected."""
        if Gimp.Selection.is_empty(self.source.get_image()):
            return True
        found = self._selected_now()
        return found is not None and found == self._selection

    def select(self) -> None:
        """Select what was selected, where nothing is, until :meth:`deselect`.

        The undo history does not know of it.
        """
        found = self._selection
        if found is not None and Gimp.Selection.is_empty(self.source.get_image()):
            self._write_selection(found, found.data)
            # The image may hold it as other numbers than the one that it was read from.
            self._shown = self._selected_now()

    def deselect(self) -> None:
        """Select nothing again, if nothing was selected and nothing else is now."""
        shown, self._shown = self._shown, None
        if shown is not None and self._selected_now() == shown:
            self._write_selection(shown, bytes(len(shown.data)))

    def _selected_now(self) -> _Selection | None:
        try:
            bounds = selected_box(self.source)
        except UserError:  # it does not touch the layer
            return None
        return None if bounds is None else _read_selection(self.source, bounds)

    def _write_selection(self, remembered: _Selection, data: bytes) -> None:
        # Straight into its pixels: a channel in between would have another curve.
        babl = selection_format(remembered.dtype)
        _found, x, y = self.source.get_offsets()
        place = remembered.box.moved(x, y)
        selection = self.source.get_image().get_selection()
        buffer = selection.get_buffer()
        buffer.set(pixels.rectangle(place), babl, data)
        buffer.flush()
        selection.update(*place)
        Gimp.displays_flush()


def notes_on(job: Job) -> tuple[Gimp.Parasite, Gimp.Parasite]:
    """Return what a layer is to remember of the job that it is made by, and its source's mark."""
    mark = _mark_of(job.drawable) or secrets.token_hex(16)
    about: dict[str, object] = {
        "settings": dataclasses.asdict(job.settings),
        "source": job.drawable.get_tattoo(),
        "mark": mark,
        "size": [job.layer.width, job.layer.height],
        "selection": None,
    }
    if job.bounds is not None:
        found = _read_selection(job.drawable, job.bounds)
        # PyGObject takes a parasite's bytes for signed ones: only ASCII gets through.
        data = base64.b64encode(zlib.compress(found.data, _QUICK)).decode("ascii")
        about["selection"] = {"box": list(found.box), "dtype": found.dtype, "data": data}
    contents = {PARASITE: json.dumps(about).encode("ascii"), MARK: mark.encode("ascii")}
    note, source = (
        Gimp.Parasite.new(name, _PERSISTENT | _UNDOABLE, data) for name, data in contents.items()
    )
    return note, source


def _mark_of(item: Gimp.Item) -> str:
    """Return the text that marks a layer which others were made from; "" without."""
    mark = item.get_parasite(MARK)
    # A damaged one is no other layer's.
    return "" if mark is None else bytes(b & 0x7F for b in mark.get_data()).decode("ascii")


def find_made(image: Gimp.Image, drawables: list[Gimp.Drawable]) -> MadeLayer | None:
    """Return what to make anew where a layer of ours is active, or one in a group of ours.

    None if it is another layer, if what it was made from is gone or has another size, and if
    something else is selected now: that is to be lit up besides.
    """
    item: Gimp.Item | None = drawables[0] if len(drawables) == 1 else None
    while item is not None and item.get_parasite(PARASITE) is None:
        item = item.get_parent()
    if not isinstance(item, Gimp.Layer):
        return None
    try:
        made = _read(image, item)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, zlib.error):
        return None  # damaged, or of a version to come
    return made if made is not None and made.is_of_selection() else None


def _read(image: Gimp.Image, layer: Gimp.Layer) -> MadeLayer | None:
    note = layer.get_parasite(PARASITE)
    if note is None:
        return None
    about = json.loads(bytes(note.get_data()))
    source = image.get_layer_by_tattoo(about["source"])
    if source is None or [source.get_width(), source.get_height()] != about["size"]:
        return None
    if _lies_in(source, layer):
        return None  # it will go
    if "mark" in about and about["mark"] != _mark_of(source):  # version 0.1.0 marked none
        return None  # another image's
    settings = Settings(**about["settings"])
    _check(settings)
    selection = None
    found = about["selection"]
    if found is not None:
        box = Box(*found["box"])
        if not box.inside(*about["size"]) or box.width < 1 or box.height < 1:
            raise ValueError(box)
        size = box.width * box.height * _BYTES[found["dtype"]]
        # A file from elsewhere may hold less, or more than fits into the memory.
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(base64.b64decode(found["data"]), size)
        if len(data) != size:
            raise ValueError(len(data))
        selection = _Selection(box, found["dtype"], data)
    return MadeLayer(layer, source, settings, selection)


def _lies_in(item: Gimp.Item | None, group: Gimp.Layer) -> bool:
    while item is not None and item != group:
        item = item.get_parent()
    return item is not None


def _check(settings: Settings) -> None:
    """Raise TypeError, ValueError or OverflowError for what no argument can be.

    Numbers out of range GIMP does not take; but how far edges are followed is a text to it.
    """
    numbers: list[object] = [settings.strength, settings.warmth, settings.saturation]
    numbers += [v for v in (settings.denoise, settings.width) if v != AUTO]
    numbers += [settings.edges] if settings.edges not in (AUTO, OFF) else []
    words = (settings.side, settings.model, settings.output)
    if not all(isinstance(number, float | int) and math.isfinite(number) for number in numbers):
        raise TypeError(numbers)
    if not all(isinstance(word, str) for word in words):
        raise TypeError(words)
    read_edges(str(settings.edges), MAX_WIDTH)


def _read_selection(drawable: Gimp.Drawable, bounds: Box) -> _Selection:
    _found, x, y = drawable.get_offsets()
    dtype = selection_dtype(drawable.get_image())
    bands = pixels.selection_bands(drawable.get_image(), bounds.moved(x, y), dtype)
    return _Selection(bounds, dtype, b"".join(bands))
