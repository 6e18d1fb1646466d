"""TIFF files through tifffile, which keeps 16 bits, floats and the ICC profile.

EXIF is the exception: tifffile cannot write its directories, so they are appended behind the
finished file and linked into its first directory.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from maskupe.errors import InputError
from maskupe.files import exif
from maskupe.files.limits import check_size
from maskupe.files.orientation import FIRST_TRANSPOSED, upright
from maskupe.files.photo import Metadata, Photo

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ICC, _XMP, _DNG_VERSION = 34675, 700, 50706
_ORIENTATION, _X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 274, 282, 283, 296
_INCH, _CENTIMETRE = 2, 3
# Colour channels of the kinds of picture that can be read (TIFF 6.0, PhotometricInterpretation).
_COLOURS = {"MINISBLACK": 1, "MINISWHITE": 1, "RGB": 3, "YCBCR": 3, "PALETTE": 1}
# What people call a kind that cannot.
_NAMES = {"SEPARATED": "CMYK", "CIELAB": "Lab", "ICCLAB": "Lab", "ITULAB": "Lab"}
# Compressions whose decoder turns YCbCr into RGB: old and new JPEG.
_JPEG = (6, 7)
# What a channel beside the colours is (TIFF 6.0, ExtraSamples): of no said meaning, or
# transparency, by which the colours are multiplied already or not.
_UNSPECIFIED, _PREMULTIPLIED, _STRAIGHT = 0, 1, 2
# Photo.metadata.extras of a file whose further channel has no said meaning, so that it gets none.
_UNSPECIFIED_CHANNEL = (b"ExtraSamples", b"\0")


def read(name: str, path: Path) -> Photo:
    """Decodes a TIFF file: gray, RGB or palette, 1 to 16 bits or float, with or without alpha.

    Raises:
        InputError: if it is damaged, has several pages, or is of another kind (CMYK, Lab, raw).
        MemoryLimitError: if it does not fit into memory.
    """
    try:
        with tifffile.TiffFile(path) as file:
            page = _only_page(name, file)
            pixels = _pixels(name, page)
            extras = (_UNSPECIFIED_CHANNEL,) if _further_channel(page) == _UNSPECIFIED else ()
            tags = {tag.code: tag.value for tag in page.tags}
    except InputError:
        raise
    # tifffile lets through whatever its decoders raise; a damaged file can be wrong in any way.
    except Exception as error:
        raise InputError(f"{name} is a damaged TIFF file ({error}).") from error
    orientation = _integer(tags, _ORIENTATION, 1)
    resolution = _resolution(tags)
    if resolution and orientation >= FIRST_TRANSPOSED:
        resolution = resolution[::-1]
    xmp = exif.settle_xmp(_bytes(tags, _XMP))
    block = exif.settle(_exif_block(path), orientation)
    metadata = Metadata(_bytes(tags, _ICC), block, xmp, resolution, extras)
    return Photo(upright(pixels, orientation), "TIFF", metadata)


def _only_page(name: str, file: tifffile.TiffFile) -> Any:
    every: list[Any] = list(file.pages)
    if not every:
        raise InputError(f"{name} is a TIFF file without a picture.")
    pages = [page for page in every if not (page.is_reduced or page.is_mask)]
    first = every[0]
    if not pages or first.is_reduced or _DNG_VERSION in first.tags:
        raise InputError(f"{name} is a camera's raw file.", "Develop it to a TIFF or PNG first.")
    if len(pages) > 1:
        raise InputError(f"{name} holds {len(pages)} pages.", "Save the one you want by itself.")
    return first


def _pixels(name: str, page: Any) -> npt.NDArray[Any]:
    kind = getattr(page.photometric, "name", str(page.photometric))
    samples, dtype = int(page.samplesperpixel), page.dtype
    if dtype is None or page.imagedepth != 1:
        raise InputError(f"{name} is a TIFF of a kind that cannot be read.")
    check_size(name, page.imagewidth, page.imagelength, samples * max(dtype.itemsize, 1))
    base = _COLOURS.get(kind)
    if base is None or (kind == "YCBCR" and page.compression not in _JPEG):
        said = _NAMES.get(kind, kind)
        raise InputError(f"{name} is a {said} picture.", "Convert it to RGB or gray first.")
    if samples not in (base, base + 1) or (kind == "PALETTE" and samples != 1):
        raise InputError(f"{name} has {samples} channels.", "Save it with at most one alpha.")
    values: npt.NDArray[Any] = page.asarray()
    if samples > 1 and int(page.planarconfig) == 2:
        values = np.moveaxis(values, 0, -1)
    if kind == "PALETTE":
        return _expand_palette(values, page.colormap)
    values = _known_depth(name, values, int(page.bitspersample))
    if kind == "MINISWHITE":
        values = values.copy()
        gray = values if values.ndim == 2 else values[..., 0]
        top = 1.0 if values.dtype == np.float32 else np.iinfo(values.dtype).max
        np.subtract(top, gray, out=gray, casting="unsafe")
    return _straight(values) if _further_channel(page) == _PREMULTIPLIED else values


def _further_channel(page: Any) -> int | None:
    """What the channel beside the colours is, ``None`` if there is none."""
    if int(page.samplesperpixel) == _COLOURS.get(getattr(page.photometric, "name", "")):
        return None
    return int(page.extrasamples[0]) if page.extrasamples else _UNSPECIFIED


def _straight(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Colours as they are without the transparency that they were multiplied by."""
    top = 1.0 if values.dtype == np.float32 else np.iinfo(values.dtype).max
    thin = (values[..., -1] > 0) & (values[..., -1] < top)
    pixels = values[thin].astype(np.float64)
    colours = pixels[:, :-1] * (top / pixels[:, -1:])
    if values.dtype != np.float32:
        colours = np.rint(np.minimum(colours, top))
    result = values.copy()
    result[thin, :-1] = colours
    return result


def _expand_palette(values: npt.NDArray[Any], palette: npt.NDArray[np.uint16]) -> npt.NDArray[Any]:
    # A palette holds 16-bit entries; those that came from 8 bits are multiples of 257 (or 256).
    colours = np.ascontiguousarray(np.asarray(palette).T)
    for factor in (257, 256):
        if not np.any(colours % factor):
            colours = (colours // factor).astype(np.uint8)
            break
    return np.asarray(colours[values])


def _known_depth(name: str, values: npt.NDArray[Any], bits: int) -> npt.NDArray[Any]:
    if values.dtype == np.bool_ or bits == 1:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype in (np.uint8, np.uint16) and bits in (8, 16):
        return values
    if values.dtype in (np.uint8, np.uint16):  # 2 to 15 bits in a larger type
        target = np.uint8 if bits < 8 else np.uint16
        scaled = values.astype(np.float64) * (np.iinfo(target).max / (2**bits - 1))
        return np.asarray(np.rint(scaled), target)
    if np.issubdtype(values.dtype, np.floating):
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite
            values = values.astype(np.float32, copy=False)
        if not np.isfinite(values).all():
            raise InputError(f"{name} has pixels that are not numbers (NaN or infinite).")
        return values
    raise InputError(f"{name} has {values.dtype} pixels.", "Save it with 8, 16 or 32 float bits.")


def _integer(tags: dict[int, Any], code: int, default: int) -> int:
    """A tag's value, or the default where a damaged file holds something else there."""
    value = tags.get(code, default)
    return int(value) if isinstance(value, int) else default


def _bytes(tags: dict[int, Any], code: int) -> bytes:
    value = tags.get(code)
    return value if isinstance(value, bytes) else b""


def _resolution(tags: dict[int, Any]) -> tuple[float, float] | None:
    scale = {_INCH: 1.0, _CENTIMETRE: 2.54}.get(_integer(tags, _RESOLUTION_UNIT, _INCH))
    try:
        across, down = (tags[tag][0] / tags[tag][1] for tag in (_X_RESOLUTION, _Y_RESOLUTION))
    except (KeyError, ZeroDivisionError, TypeError, IndexError):
        return None
    # One dot per inch is what many programs write for "unknown".
    return (across * scale, down * scale) if scale and across > 1 and down > 1 else None


def _exif_block(path: Path) -> bytes:
    """The file's EXIF as a block of its own; empty for BigTIFF and where there is none."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        try:
            return exif.build(exif.parse(mapped))  # type: ignore[arg-type]  # a mmap reads as bytes
        except exif.ExifDamagedError:
            return b""


def write(path: Path, pixels: npt.NDArray[Any], metadata: Metadata, *, extras: bool) -> None:
    """Writes a TIFF file, losslessly compressed (deflate with a predictor).

    Args:
        path: where to; overwritten.
        pixels: (H, W) or (H, W, 2|3|4), uint8, uint16 or float32.
        metadata: what to write beside them.
        extras: whether ``metadata.extras`` came from a TIFF file.
    """
    unspecified = extras and _UNSPECIFIED_CHANNEL in metadata.extras
    further = _UNSPECIFIED if unspecified else _STRAIGHT
    try:
        parsed = exif.parse(metadata.exif) if metadata.exif else None
    except exif.ExifDamagedError:
        parsed = None
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    tags: list[tuple[int, int, int, bytes, bool]] = []
    if metadata.xmp:
        tags.append((_XMP, 1, len(metadata.xmp), metadata.xmp, True))
    tifffile.imwrite(
        path,
        pixels,
        photometric="rgb" if channels >= 3 else "minisblack",
        planarconfig="contig" if pixels.ndim == 3 else None,
        extrasamples=[further] if channels in (2, 4) else None,
        compression="zlib",
        predictor=True,
        iccprofile=metadata.icc or None,
        resolution=metadata.resolution or (72, 72),
        resolutionunit=_INCH if metadata.resolution else 1,
        byteorder=parsed.order if parsed else None,
        metadata=None,
        software=False,
        extratags=tags,
    )
    if parsed:
        _append_exif(path, parsed)


def _append_exif(path: Path, parsed: exif.Exif) -> None:
    """Adds the parsed directories to a file in the same byte order; a BigTIFF stays without."""
    order = parsed.order
    with path.open("r+b") as file:
        head = file.read(8)
        if head[:4] not in SIGNATURES[:2]:
            return
        (first,) = struct.unpack_from(order + "I", head, 4)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            present, _ = exif.read_directory(mapped, first, order)  # type: ignore[arg-type]
        entries = dict(present)
        entries.update({t: e for t, e in parsed.main.items() if t in exif.PORTABLE_TAGS})
        offset = file.seek(0, 2)
        offset += file.write(b"\0" * (offset % 2))
        for tag, part in ((exif.EXIF_DIRECTORY, parsed.exif), (exif.GPS_DIRECTORY, parsed.gps)):
            if part:
                pointer = struct.pack(order + "I", offset)
                offset += file.write(exif.directory_bytes(list(part.values()), order, offset))
                entries[tag] = exif.Entry(tag, 4, 1, pointer, 0)
        file.write(exif.directory_bytes(list(entries.values()), order, offset))
        file.seek(4)
        file.write(struct.pack(order + "I", offset))
