"""TIFF files through tifffile, which keeps 16 bits, floats and the ICC profile.

EXIF is the exception: tifffile cannot write its directories, so they are appended behind the
finished file and linked into its first directory.
"""

from __future__ import annotations

import math
import mmap
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from maskupe.errors import InputError, MemoryLimitError
from maskupe.io import exif, jpeg, photoshop, xmp
from maskupe.io.colour import profile_of_chromaticities
from maskupe.io.limits import check_size
from maskupe.io.orientation import FIRST_TRANSPOSED, upright
from maskupe.io.photo import LOST_BESIDE, Metadata, Photo

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ICC, _XMP, _DNG_VERSION = 34675, 700, 50706
_IPTC, _PHOTOSHOP, _PHOTOSHOP_LAYERS = 33723, 34377, 37724
_WHITE_POINT, _PRIMARIES = 318, 319
_ORIENTATION, _X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 274, 282, 283, 296
_INCH, _CENTIMETRE = 2, 3
# Tags that are read as values; the others stay where they are. A value is one number, or a few.
_READ = (_ORIENTATION, _X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT, _WHITE_POINT, _PRIMARIES)
_MAX_COUNT = 6
# Profiles, packets and image resources beyond this are damaged or a trap.
_MAX_TAG = 64 * 2**20
# Pages beyond this are no photograph; previews of one are not larger.
_MAX_PAGES, _MAX_THUMBNAIL = 64, 1024
# Photoshop saves at most 56 channels.
_MAX_FURTHER = 53
# A tile may be larger than a small picture.
_MAX_PART = 64 * 2**20
# Colour channels of the kinds of picture that can be read (TIFF 6.0, PhotometricInterpretation).
_COLOURS = {"MINISBLACK": 1, "MINISWHITE": 1, "RGB": 3, "YCBCR": 3, "PALETTE": 1}
# What people call a kind that cannot.
_NAMES = {"SEPARATED": "CMYK", "CIELAB": "Lab", "ICCLAB": "Lab", "ITULAB": "Lab"}
# Compressions whose decoder turns YCbCr into RGB: old and new JPEG.
_JPEG = (6, 7)
# Those whose decoders write no more than they are told: none, fax, LZW, Deflate (two), PackBits,
# LZMA, Zstandard. JPEG is looked at before.
_COMPRESSIONS = (1, 2, 3, 4, 5, 8, 32946, 32773, 34925, 50000, *_JPEG)
# What a channel beside the colours is (TIFF 6.0, ExtraSamples): of no said meaning, or
# transparency, by which the colours are multiplied already or not.
_UNSPECIFIED, _PREMULTIPLIED, _STRAIGHT = 0, 1, 2
# Photo.metadata.extras of a file whose further channel has no said meaning, so that it gets none.
_UNSPECIFIED_CHANNEL = (b"ExtraSamples", b"\0")


def read(name: str, path: Path) -> Photo:
    """Decode a TIFF file: gray, RGB or palette, 1 to 16 bits or float, with or without alpha.

    Raises:
        InputError: if it is damaged, has several pages, or is of another kind (CMYK, Lab, raw).
        MemoryLimitError: if it does not fit into memory.
    """
    try:
        with tifffile.TiffFile(path) as file:
            page, lost = _only_page(name, file)
            pixels, planes = _pixels(name, page)
            extras = (_UNSPECIFIED_CHANNEL,) if _further_channel(page) == _UNSPECIFIED else ()
            tags = {
                code: tag.value
                for code in _READ
                if (tag := page.tags.get(code)) is not None and tag.count <= _MAX_COUNT
            }
            icc, packet, iptc, resources = (
                _stored_bytes(page, code) for code in (_ICC, _XMP, _IPTC, _PHOTOSHOP)
            )
            if _PHOTOSHOP_LAYERS in page.tags:
                lost.append("The layers that Photoshop keeps in the photo are not carried over.")
    except (InputError, MemoryLimitError):
        raise
    # tifffile lets through whatever its decoders raise; a damaged file can be wrong in any way.
    except Exception as error:
        raise InputError(f"{name} is a damaged TIFF file ({error}).") from error
    orientation = _integer(tags, _ORIENTATION, 1)
    resolution = _resolution(tags)
    if resolution and orientation >= FIRST_TRANSPOSED:
        resolution = resolution[::-1]
    packet, promised = xmp.normalise(packet)
    if promised:
        lost.append(LOST_BESIDE)
    metadata = Metadata(
        icc=icc,
        colour=_chromaticities(tags),
        exif=exif.normalise_orientation(_exif_block(path), orientation),
        xmp=packet,
        photoshop=photoshop.normalise(resources, iptc),
        resolution=resolution,
        extras=extras,
        planes=None if planes is None else upright(planes, orientation),
        lost=tuple(lost),
    )
    return Photo(upright(pixels, orientation), "TIFF", metadata)


def _stored_bytes(page: Any, code: int) -> bytes:
    """Return a tag's value as its bytes are in the file, whatever type it is called.

    Empty if none.
    """
    tag = page.tags.get(code)
    if tag is None or not 4 < tag.valuebytecount <= _MAX_TAG:
        return b""
    file = page.parent.filehandle
    file.seek(tag.valueoffset)
    stored: bytes = file.read(tag.valuebytecount)
    return stored


def _only_page(name: str, file: tifffile.TiffFile) -> tuple[Any, list[str]]:
    """Return the one page that is the picture, and sentences about what the others were."""
    every: list[Any] = []
    for index in range(_MAX_PAGES + 1):
        try:
            every.append(file.pages[index])
        except IndexError:
            break
    if not every:
        raise InputError(f"{name} is a TIFF file without a picture.")
    if len(every) > _MAX_PAGES:
        raise InputError(
            f"{name} holds more than {_MAX_PAGES} pages.", "Save the one you want by itself."
        )
    pages = [page for page in every if not (page.is_reduced or page.is_mask)]
    if not pages or any(_DNG_VERSION in page.tags for page in every):
        raise InputError(f"{name} is a camera's raw file.", "Develop it to a TIFF or PNG first.")
    first = max(pages, key=lambda page: page.imagewidth * page.imagelength)
    others = [page for page in pages if page is not first and not _is_thumbnail(page, first)]
    if others:
        count = len(others) + 1
        raise InputError(f"{name} holds {count} pages.", "Save the one you want by itself.")
    left_out = len(every) - 1
    note = "The small preview in the photo's file shows it as it was and is left out."
    return first, [note] if left_out else []


def _is_thumbnail(page: Any, picture: Any) -> bool:
    """Return whether a page is a preview that its writer has not marked as one."""
    longer = max(page.imagewidth, page.imagelength)
    if longer > _MAX_THUMBNAIL or 2 * longer > max(picture.imagewidth, picture.imagelength):
        return False
    # Of the same shape, but for what rounding and black borders make of it.
    across, down = page.imagewidth / picture.imagewidth, page.imagelength / picture.imagelength
    return bool(abs(across - down) <= 0.1 * max(across, down) + 1 / longer)


def _pixels(name: str, page: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
    """Return the picture's channels, and further ones beside them."""
    photometric = getattr(page.photometric, "name", str(page.photometric))
    samples, dtype = int(page.samplesperpixel), page.dtype
    if dtype is None or page.imagedepth != 1:
        raise InputError(f"{name} is a TIFF of a kind that cannot be read.")
    check_size(name, page.imagewidth, page.imagelength, samples * max(dtype.itemsize, 1))
    base = _COLOURS.get(photometric)
    if base is None or (photometric == "YCBCR" and page.compression not in _JPEG):
        described = _NAMES.get(photometric, photometric)
        raise InputError(f"{name} is a {described} picture.", "Convert it to RGB or gray first.")
    if not base <= samples <= base + _MAX_FURTHER or (photometric == "PALETTE" and samples != 1):
        raise InputError(f"{name} has {samples} channels.", "Save it with fewer.")
    if photometric == "PALETTE" and len(page.colormap[0]) < 2 ** int(page.bitspersample):
        raise InputError(f"{name} is a damaged TIFF file (its palette is cut short).")
    _check_parts(name, page, samples * dtype.itemsize)
    values: npt.NDArray[Any] = page.asarray()
    if samples > 1 and int(page.planarconfig) == 2:
        values = np.moveaxis(values, 0, -1)
    if photometric == "PALETTE":
        return _expand_palette(values, page.colormap), None
    values = _known_depth(name, values, int(page.bitspersample))
    if photometric == "MINISWHITE":
        values = values.copy()
        gray = values if values.ndim == 2 else values[..., 0]
        top = 1.0 if values.dtype == np.float32 else np.iinfo(values.dtype).max
        np.subtract(top, gray, out=gray, casting="unsafe")
    planes = None
    if samples > base + 1:
        values, planes = _without_planes(page, base, values)
    return (_straight(values) if _further_channel(page) == _PREMULTIPLIED else values), planes


def _without_planes(
    page: Any, base: int, values: npt.NDArray[Any]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Colours with the transparency if there is one, and the further channels in their order."""
    alpha = _alpha_index(page, base)
    first = list(range(base)) + ([] if alpha is None else [alpha])
    rest = [index for index in range(base, values.shape[2]) if index != alpha]
    picture = values[..., first] if len(first) > 1 else values[..., 0]
    return np.ascontiguousarray(picture), np.ascontiguousarray(values[..., rest])


def _alpha_index(page: Any, base: int) -> int | None:
    """Return which of several further channels is the transparency: the first that says so."""
    for index, meaning in enumerate(page.extrasamples):
        if int(meaning) in (_PREMULTIPLIED, _STRAIGHT):
            return base + index
    return None


def _check_parts(name: str, page: Any, pixel_bytes: int) -> None:
    """Check that all strips or tiles are there, and that none unpacks to more than its place.

    Raises:
        InputError: otherwise, and for compressions whose decoders cannot be held to a size.
    """
    compression = int(page.compression)
    if compression not in _COMPRESSIONS:
        compression_name = getattr(page.compression, "name", str(compression)).replace("_", " ")
        raise InputError(
            f"{name} is compressed in a way that is not read ({compression_name}).",
            "Save it with ZIP (Deflate) or LZW compression.",
        )
    height, width = int(page.chunks[0]), int(page.chunks[1])
    if int(page.planarconfig) == 2 and int(page.samplesperpixel) > 1:
        height, width = int(page.chunks[-2]), int(page.chunks[-1])
    if page.is_tiled:
        height, width = int(page.tilelength), int(page.tilewidth)
    if height * width * pixel_bytes > max(
        _MAX_PART, 2 * page.imagewidth * page.imagelength * pixel_bytes
    ):
        raise InputError(
            f"{name} is a damaged TIFF file: it claims tiles of {width} × {height} pixels for a "
            f"picture of {page.imagewidth} × {page.imagelength}."
        )
    needed = math.prod(page.chunked)
    counts, offsets = page.databytecounts[:needed], page.dataoffsets[:needed]
    there = sum(1 for count, offset in zip(counts, offsets, strict=False) if count and offset)
    if there < needed:
        raise InputError(
            f"{name} is a damaged TIFF file: {needed - there} of its {needed} parts are missing."
        )
    if compression in _JPEG:
        _check_jpegs(name, page, (height, width))


def _check_jpegs(name: str, page: Any, shape: tuple[int, int]) -> None:
    """Check each JPEG inside: its decoder takes any size and makes up what is missing."""
    tables = page.jpegtables or b""
    header = page.jpegheader or b""
    file = page.parent.filehandle
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
        file.seek(offset)
        data = file.read(count)
        if tables[:2] == b"\xff\xd8" and data[:2] == b"\xff\xd8":
            data = tables.removesuffix(b"\xff\xd9") + data[2:]
        elif header:
            data = header + data
        wrong = jpeg.check(data, shape=shape)
        if wrong:
            raise InputError(f"{name} is a damaged TIFF file ({wrong}).")


def _further_channel(page: Any) -> int | None:
    """Return what the channel beside the colours is, ``None`` if there is none."""
    base = _COLOURS.get(getattr(page.photometric, "name", ""), 0)
    samples = int(page.samplesperpixel)
    if samples == base:
        return None
    if samples > base + 1:
        alpha = _alpha_index(page, base)
        return None if alpha is None else int(page.extrasamples[alpha - base])
    return int(page.extrasamples[0]) if page.extrasamples else _UNSPECIFIED


def _straight(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return colours as they are without the transparency that they were multiplied by."""
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
            return values.astype(np.float32, copy=False)
    raise InputError(f"{name} has {values.dtype} pixels.", "Save it with 8, 16 or 32 float bits.")


def _integer(tags: dict[int, Any], code: int, default: int) -> int:
    """Return a tag's value, or the default where a damaged file holds something else there."""
    value = tags.get(code, default)
    return int(value) if isinstance(value, int) else default


def _chromaticities(tags: dict[int, Any]) -> bytes:
    """Return a profile for the primaries that a file without one names."""

    def numbers(code: int, count: int) -> list[float] | None:
        value = tags.get(code)
        if not isinstance(value, tuple) or len(value) != 2 * count:
            return None
        pairs = zip(value[::2], value[1::2], strict=True)
        return [over / under if under else 0.0 for over, under in pairs]

    primaries, white = numbers(_PRIMARIES, 6), numbers(_WHITE_POINT, 2)
    return profile_of_chromaticities(primaries, white, None) if primaries or white else b""


def _resolution(tags: dict[int, Any]) -> tuple[float, float] | None:
    scale = {_INCH: 1.0, _CENTIMETRE: 2.54}.get(_integer(tags, _RESOLUTION_UNIT, _INCH))
    try:
        across, down = (tags[tag][0] / tags[tag][1] for tag in (_X_RESOLUTION, _Y_RESOLUTION))
    except (KeyError, ZeroDivisionError, TypeError, IndexError):
        return None
    # One dot per inch is what many programs write for "unknown".
    return (across * scale, down * scale) if scale and across > 1 and down > 1 else None


def _exif_block(path: Path) -> bytes:
    """Return the file's EXIF as a block of its own; empty for BigTIFF and where there is none."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        try:
            return exif.build(exif.parse(mapped))  # type: ignore[arg-type]  # a mmap reads as bytes
        except exif.ExifDamagedError:
            return b""


def write(path: Path, pixels: npt.NDArray[Any], metadata: Metadata, *, extras: bool) -> None:
    """Write a TIFF file, losslessly compressed (deflate with a predictor).

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
    meanings = [further] if channels in (2, 4) else []
    planes = metadata.planes if extras else None
    if planes is not None and planes.dtype == pixels.dtype:
        colours = pixels if pixels.ndim == 3 else pixels[..., None]
        pixels = np.concatenate([colours, planes], axis=2)
        meanings += [_UNSPECIFIED] * planes.shape[2]
    tags: list[tuple[int, int, int, bytes, bool]] = []
    if metadata.xmp:
        tags.append((_XMP, 1, len(metadata.xmp), metadata.xmp, True))
    if metadata.photoshop:
        tags.append((_PHOTOSHOP, 7, len(metadata.photoshop), metadata.photoshop, True))
        if iptc := photoshop.iptc_of(metadata.photoshop):
            tags.append((_IPTC, 7, len(iptc), iptc, True))
    tifffile.imwrite(
        path,
        pixels,
        photometric="rgb" if channels >= 3 else "minisblack",
        planarconfig="contig" if pixels.ndim == 3 else None,
        extrasamples=meanings or None,
        compression="zlib",
        predictor=True,
        iccprofile=metadata.profile or None,
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
    """Add the parsed directories to a file in the same byte order; a BigTIFF stays without."""
    order = parsed.order
    with path.open("r+b") as file:
        head = file.read(8)
        if head[:4] not in SIGNATURES[:2]:
            return
        (first,) = struct.unpack_from(order + "I", head, 4)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            # Copies, since the file grows behind the map.
            present = exif.read_directory(mapped, first, order)  # type: ignore[arg-type]
            entries = {tag: entry.copied() for tag, entry in present.items()}
        parsed = exif.portable(parsed)
        entries.update(parsed.main)
        offset = file.seek(0, 2)
        offset += file.write(b"\0" * (offset % 2))
        for tag, part in ((exif.EXIF_DIRECTORY, parsed.exif), (exif.GPS_DIRECTORY, parsed.gps)):
            if part:
                pointer = exif.Entry.pointer(tag, offset, order)
                offset += file.write(exif.directory_bytes(part.values(), order, offset))
                entries[tag] = pointer
        file.write(exif.directory_bytes(entries.values(), order, offset))
        file.seek(4)
        file.write(struct.pack(order + "I", offset))
