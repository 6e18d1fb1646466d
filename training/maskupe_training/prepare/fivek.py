"""MIT-Adobe FiveK (Bychkovsky et al. 2011): inputs and Expert C.

The inputs are published as DNG; everyone first develops them with zeroed settings to TIFF, PNG or
JPEG, which is what is read here. Expert C is published as 16-bit TIFF in ProPhoto RGB
(``tiff16_c/``), which is converted to sRGB; files without a profile, or with another one, are taken
as they are. Names begin with the number, ``a0001`` to ``a5000``.

Five thousand pairs take hours, so they are prepared by several processes, what is done is kept, and
a pair that cannot be prepared is left out and listed rather than the end of it all.
"""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tifffile

from maskupe.errors import InputError, MaskUPEError
from maskupe.io.atomic import replace_file
from maskupe.preprocess.srgb import encode_srgb
from maskupe_training.data.images import U8, list_images, read_rgb
from maskupe_training.data.sources import read_json
from maskupe_training.data.splits import SPLITS, fivek_split
from maskupe_training.prepare.writing import empty_target, finish, first_folder, write_pair
from maskupe_training.progress import tracked

#: The pairs that were left out, each with its reason.
LEFT_OUT = "left_out.csv"
_STATE = "preparing.json"
_INPUTS = ("input", "tiff16_input", "InputAsShotZeroed", "InputZeroed", "raw_tiff")
_TARGETS = ("tiff16_c", "expertC", "expert_c", "ExpertC", "c", "target")
_ICC_TAG = 34675
# Developers cut off other borders than Adobe's: up to this share of a side is put up with.
_BORDER = 0.02
# Linear ROMM (ProPhoto) RGB, white D50, to linear sRGB, white D65 (Bradford adaptation).
_PROPHOTO_TO_SRGB = np.array(
    [[2.0343, -0.7274, -0.3067], [-0.2288, 1.2317, -0.0029], [-0.0086, -0.1533, 1.1619]]
)


@dataclass(frozen=True)
class _Pair:
    """One pair to prepare: its name, the two files, where to, and how large."""

    name: str
    input: Path
    target: Path
    folder: Path
    long_edge: int


def prepare_fivek(source: Path, target: Path, long_edge: int, workers: int | None = None) -> None:
    """Write 8-bit sRGB copies, ``split.json``, a manifest, and ``left_out.csv`` where needed.

    Called again with the same target it goes on where it was, and tries again what it left out.

    Args:
        source: the data set as published, with the inputs developed.
        target: the folder to write; new, or one that this has begun.
        long_edge: of the copies, in pixels.
        workers: processes; all cores if ``None``.

    Raises:
        InputError: for folders that are missing or empty, names without a number, no pair that
            can be prepared, or a target that holds something else.
    """
    if not any((source / name).is_dir() for name in _INPUTS) and list(source.rglob("*.dng")):
        raise InputError(
            f"{source} has the inputs only as DNG.",
            f"Develop them with dcraw, from LibRaw or Debian, then try again: {develop(source)}",
        )
    inputs = _numbered(first_folder(source, _INPUTS, "the developed inputs"))
    targets = _numbered(first_folder(source, _TARGETS, "Expert C's pictures"))
    _begin(target, long_edge)
    left_out = {
        name: f"only {(inputs.get(name) or targets[name]).name} is there, not its partner"
        for name in sorted(set(inputs) ^ set(targets))
    }
    pairs = [
        _Pair(name, inputs[name], targets[name], target, long_edge)
        for name in sorted(set(inputs) & set(targets))
    ]
    waiting = [pair for pair in pairs if not _is_done(pair)]
    if len(waiting) < len(pairs):
        print(f"{target}: {len(pairs) - len(waiting)} pairs are there already.")
    results = _prepare_all(waiting, workers or os.cpu_count() or 1)
    for name, reason in tracked(results, len(waiting), "preparing"):
        if reason:
            left_out[name] = reason
    splits: dict[str, list[str]] = {split: [] for split in SPLITS}
    for pair in pairs:
        if pair.name not in left_out:
            splits[fivek_split(pair.name)].append(pair.name)
    _list_left_out(target / LEFT_OUT, left_out)
    if not any(splits.values()):
        name, reason = next(iter(sorted(left_out.items())))
        raise InputError(
            f"None of {len(left_out)} pairs could be prepared; {name}: {reason.rstrip('.')}.",
            f"See {target / LEFT_OUT}.",
        )
    finish(target, splits, {"data": "MIT-Adobe FiveK, Expert C", "long_edge": long_edge})
    if left_out:
        print(f"{len(left_out)} pairs were left out; {target / LEFT_OUT} says why.")


def develop(source: Path) -> str:
    """Return the shell command that develops all DNG files of a folder into ``input/`` there.

    White balance as shot, no automatic brightening, 16 bits, sRGB with its own tone curve.
    """
    where, into = shlex.quote(str(source)), shlex.quote(str(source / "input"))
    return (
        f"find {where} -name '*.dng' -exec dcraw -w -W -o 1 -g 2.4 12.92 -6 -T {{}} + && "
        f"mkdir {into} && find {where} -name '*.tiff' -exec mv -t {into} {{}} +"
    )


def _begin(target: Path, long_edge: int) -> None:
    """Make the folder, or check that it is one of these with the same settings."""
    settings = {"data": "MIT-Adobe FiveK, Expert C", "long_edge": long_edge}
    state = target / _STATE
    if not state.is_file():
        empty_target(target)
        replace_file(state, json.dumps(settings).encode("utf-8"))
    elif read_json(state) != settings:
        raise InputError(
            f"{target} was begun with other settings: {state.read_text('utf-8')}.",
            "Use the same --long-edge, or give a new folder.",
        )


def _is_done(pair: _Pair) -> bool:
    """Return whether both copies are there: the target is written last, and appears whole."""
    return all((pair.folder / kind / f"{pair.name}.png").is_file() for kind in ("input", "target"))


def _prepare_all(pairs: Sequence[_Pair], workers: int) -> Iterator[tuple[str, str]]:
    """Prepare pairs, in any order; yields each one's name and why it was left out, or nothing."""
    if workers == 1 or len(pairs) < 2:
        yield from map(_prepare, pairs)
        return
    # Fresh processes: forked ones can hang in what OpenCV's threads held.
    context = multiprocessing.get_context("spawn")
    count = min(workers, len(pairs))
    with ProcessPoolExecutor(count, context, cv2.setNumThreads, (1,)) as pool:
        futures = [pool.submit(_prepare, pair) for pair in pairs]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise MaskUPEError(
                "A process that prepared pictures was ended, for want of memory perhaps.",
                "Run the command again, with fewer --workers: it goes on where it was.",
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _prepare(pair: _Pair) -> tuple[str, str]:
    try:
        image, reference = _common(_read(pair.input), _read(pair.target))
        write_pair(pair.folder, pair.name, image, reference, pair.long_edge)
    except InputError as error:
        return pair.name, str(error)
    return pair.name, ""


def _common(image: U8, reference: U8) -> tuple[U8, U8]:
    """Cut two pictures to their common centre, where they differ by a thin border only."""
    sizes = np.array([image.shape[:2], reference.shape[:2]])
    height, width = sizes.min(axis=0)
    if np.any(sizes.max(axis=0) - sizes.min(axis=0) > _BORDER * sizes.min(axis=0)):
        return image, reference
    cut = []
    for picture in (image, reference):
        top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
        cut.append(np.ascontiguousarray(picture[top : top + height, left : left + width]))
    return cut[0], cut[1]


def _list_left_out(path: Path, reasons: dict[str, str]) -> None:
    if not reasons:
        path.unlink(missing_ok=True)
        return
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["name", "reason"])
    writer.writerows(sorted(reasons.items()))
    replace_file(path, text.getvalue().encode("utf-8"))


def _numbered(folder: Path) -> dict[str, Path]:
    """Return the pictures of a folder by ``a`` and their number."""
    found = {}
    for path in list_images(folder):
        match = re.match(r"a(\d{4})(?!\d)", path.name)
        if match is None:
            raise InputError(
                f"{path} does not begin with a FiveK number like a0001.", "Remove or rename it."
            )
        found[f"a{match.group(1)}"] = path
    return found


def _read(path: Path) -> U8:
    """Return a picture as sRGB uint8."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return read_rgb(path)
    try:
        with tifffile.TiffFile(path) as file:
            tag = file.pages.first.tags.get(_ICC_TAG)
            profile = bytes(tag.value) if tag is not None else b""
            # The profile's name is text within it, in one or two bytes per letter.
            if b"prophoto" in profile.replace(b"\0", b"").lower():
                return prophoto_to_srgb(file.asarray())
    except (tifffile.TiffFileError, ValueError, IndexError, OSError) as error:
        raise InputError(
            f"{path} cannot be read as a TIFF file.", "Download the file again."
        ) from error
    return read_rgb(path)


def prophoto_to_srgb(pixels: np.ndarray[tuple[int, ...], np.dtype[np.integer]]) -> U8:
    """Return ProPhoto (ROMM) RGB, uint8 or uint16 (H, W, 3), as sRGB uint8.

    Other colours are clipped.
    """
    encoded = pixels[..., :3].astype(np.float64) / np.iinfo(pixels.dtype).max
    # ISO 22028-2: gamma 1.8 with a linear toe below 16/512 of the code range.
    linear = np.where(encoded < 16 / 512, encoded / 16, encoded**1.8)
    srgb = encode_srgb((linear @ _PROPHOTO_TO_SRGB.T).astype(np.float32))
    return np.asarray(np.rint(srgb * 255), np.uint8)
