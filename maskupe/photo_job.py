"""One photograph file with its mask, from disk to disk: what `enhance` and `batch` both do."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from maskupe.areas.transition import Edges, Transition
from maskupe.denoise import Denoise
from maskupe.errors import InputError
from maskupe.io import check_matte, check_output, encode_matte, interpret_mask, read_photo
from maskupe.io.atomic import replacing
from maskupe.io.writing import JPEG_QUALITY, check_quality
from maskupe.validation import check_options

if TYPE_CHECKING:
    from maskupe.pipeline import Enhancer


@dataclass(frozen=True)
class PhotoJob:
    """What to do with one photograph.

    Attributes:
        photo: the file to enhance.
        output: where the result goes; may be the photo itself.
        mask: the picture that selects, white on black; None for the whole photo.
        model: a registry name or the path of a weight file.
        strength: 0…2, 1 is the model's proposal.
        transition: width and side of the transition band, and whether it follows edges.
        quality: of a JPEG result, 1…100.
        matte: the PNG file that the blend weight goes to, white where the light is full; None for
            none.
        denoise: noise reduction, 0…1 or ``"auto"``.
        warmth: of the added light, -1…1; positive is warmer.
        saturation: of what is brightened, -1…1; -1 is gray, 1 twice the chroma.

    Raises:
        InputError: for a strength, a noise reduction, a warmth, a saturation or a quality out of
            range.
    """

    photo: Path
    output: Path
    mask: Path | None = None
    model: str = "default"
    strength: float = 1.0
    transition: Transition = field(default_factory=Transition)
    quality: int = JPEG_QUALITY
    matte: Path | None = None
    denoise: Denoise = "auto"
    warmth: float = 0.0
    saturation: float = 0.0

    def __post_init__(self) -> None:
        check_options(self.strength, (), self.denoise, self.warmth, self.saturation)
        check_quality(self.quality)


@dataclass(frozen=True)
class Outcome:
    """What came of a job: the file, its size (height, width), and sentences worth saying."""

    output: Path
    size: tuple[int, int]
    notes: tuple[str, ...]


def run_job(
    job: PhotoJob,
    load: Callable[[str], Enhancer],
    progress: Callable[[float], None] | None = None,
) -> Outcome:
    """Read, enhances and writes one photograph.

    The files are checked before the model is loaded, so that a slip in a name is told at once.

    Args:
        job: what to do.
        load: gives the loaded model of a name; called once.
        progress: called with 0…1 as the enhancement goes on.

    Raises:
        MaskUPEError: its sentence says what went wrong; then nothing was written.
    """
    photo = read_photo(job.photo)
    if job.mask is not None and _same_file(job.mask, job.output):
        raise InputError(f"The output {job.output} is the mask.", "Name another file.")
    output = check_output(job.output, photo, job.quality)
    matte = None if job.matte is None else _check_matte(job, job.matte, output.path, photo.size)
    mask = None if job.mask is None else interpret_mask(job.mask, photo.size)
    selection = None if mask is None else mask.selection
    notes = output.notes if mask is None else (*mask.notes, *output.notes)
    enhancer = load(job.model)
    options: dict[str, Any] = {
        "strength": job.strength,
        "denoise": job.denoise,
        "warmth": job.warmth,
        "saturation": job.saturation,
        "transition": job.transition,
        "progress": progress,
    }
    if matte is None:
        output.write(enhancer.enhance(photo.pixels, selection, **options))
    else:
        result, weight = enhancer.enhance_with_matte(photo.pixels, selection, **options)
        with replacing(
            matte, like=photo.path
        ) as part:  # it takes its place when the result is there
            part.write_bytes(encode_matte(weight))
            output.write(result)
    return Outcome(output.path, photo.size, notes)


def parse_width(text: str) -> float | Literal["auto"]:
    """Read a transition's width as written on a command line or in a manifest.

    Args:
        text: a number of pixels, or ``auto``.

    Raises:
        InputError: for anything else.
    """
    value = _number_or_word(text, ("auto",), f"The transition {text!r}", "a number of pixels")
    return cast("float | Literal['auto']", value)


def parse_edges(text: str) -> Edges:
    """Read the reach for following edges as written on a command line or in a manifest.

    Args:
        text: a number of pixels, ``auto`` or ``off``.

    Raises:
        InputError: for anything else; the range is checked by
            :class:`maskupe.areas.transition.Transition`.
    """
    what = f"The reach {text!r} for following edges"
    return cast(Edges, _number_or_word(text, ("auto", "off"), what, "a number of pixels"))


def parse_denoise(text: str) -> Denoise:
    """Read a noise reduction as written on a command line or in a manifest.

    Args:
        text: a number or ``auto``.

    Raises:
        InputError: for anything else; the range is checked by :class:`PhotoJob`.
    """
    what = f"The noise reduction {text!r}"
    return cast(Denoise, _number_or_word(text, ("auto",), what, "a number from 0 to 1"))


def _number_or_word(text: str, words: tuple[str, ...], what: str, number: str) -> float | str:
    stripped = text.strip().lower()
    if stripped in words:
        return stripped
    try:
        return float(stripped)
    except ValueError:
        known = " or ".join(repr(word) for word in words)
        raise InputError(f"{what} is neither {number} nor {known}.") from None


def _check_matte(job: PhotoJob, matte: Path, output: Path, size: tuple[int, int]) -> Path:
    """Return the file that the matte goes to, which must be none of the others."""
    target = check_matte(matte, size)
    for name, other in (("photo", job.photo), ("mask", job.mask), ("output", output)):
        if other is not None and _same_file(target, other):
            raise InputError(f"The matte {matte} is the {name}.", "Name another file.")
    return target


def _same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # one of them is not there yet, or cannot be
        return os.path.realpath(one) == os.path.realpath(other)
