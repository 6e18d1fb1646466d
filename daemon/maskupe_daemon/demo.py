"""``maskupe demo``: a real photograph through a real daemon, over the client that GIMP uses.

Without a photo of one's own it takes the official portrait of the astronaut Eileen Collins (NASA,
public domain) and puts her into the shade: inside the silhouette, light is taken away as a camera
would have seen it, in linear light. The background stays as it was, which is where the original
comes from that the result is compared with.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from maskupe.areas import Areas, Transition, make_areas
from maskupe.context import CONTEXT_EDGE, shrink
from maskupe.enhancer import region_of
from maskupe.errors import InputError, MaskUPEError
from maskupe.files import Photo, check_output, read_mask, read_photo
from maskupe.layout import alpha_of, colour_channels, scale_of
from maskupe_daemon.client import Client, EnhanceRequest, PlaneSpec
from maskupe_daemon.connection import STATE_VARIABLE
from maskupe_daemon.failures import ClientError
from maskupe_daemon.starter import ensure_running

PORTRAIT = Path(__file__).parent / "data" / "portrait.jpg"
#: How much light the shade takes from the portrait, in stops.
SHADE = 2.5

# The outline of the person and her helmet in the portrait, (x, y) in pixels, clockwise.
# fmt: off
_OUTLINE = (
    (18, 520), (22, 400), (28, 340), (45, 280), (70, 240), (105, 212), (114, 190), (130, 165),
    (155, 152), (178, 150), (180, 130), (160, 108), (153, 75), (165, 45), (190, 25), (222, 15),
    (260, 20), (287, 40), (301, 70), (298, 100), (282, 120), (268, 140), (260, 172), (288, 198),
    (304, 228), (308, 242), (332, 256), (350, 285), (360, 338), (376, 350), (405, 343),
    (440, 352), (470, 375), (490, 410), (497, 455), (510, 490), (515, 520),
)
# fmt: on
_DTYPES = {"uint8": "u8", "uint16": "u16", "float32": "f32"}
# Height of each picture in the sheet, and of the line with its label, in pixels.
_SHEET_HEIGHT, _LABEL_HEIGHT = 480, 34


@dataclass(frozen=True)
class Subject:
    """What is shown: the photo with its mask, and the photo in good light where it is known."""

    photo: Photo
    mask: npt.NDArray[Any]
    original: npt.NDArray[Any] | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demo; returns 0, 1 for a failure, 2 for input that cannot be used."""
    parser = argparse.ArgumentParser(prog="maskupe demo", description="Show the daemon at work.")
    parser.add_argument("--photo", type=Path, help="your own photo (needs --mask)")
    parser.add_argument("--mask", type=Path, help="its mask: white where to light up")
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="folder (out/demo)")
    parser.add_argument("--model", default="default", help="a name of 'maskupe models'")
    parser.add_argument("--debug", action="store_true", help="show where an error comes from")
    options = parser.parse_args(arguments)
    try:
        return _run(options)
    except (MaskUPEError, ClientError, OSError) as error:
        if options.debug:
            raise
        print(f"maskupe demo: {error}", file=sys.stderr)
        return error.exit_status if isinstance(error, MaskUPEError) else 1


def _run(options: argparse.Namespace) -> int:
    subject = _subject(options.photo, options.mask)
    options.out.mkdir(parents=True, exist_ok=True)
    suffix = options.photo.suffix if options.photo else ".png"
    output = check_output(options.out / f"result{suffix}", subject.photo)
    before = subject.photo.pixels
    transition = Transition()
    areas = make_areas(subject.mask, transition)
    with _daemon() as client:
        print("Started a daemon of its own.")
        start = time.monotonic()
        answer, after = _enhance(client, before, subject.mask, transition, options.model)
        seconds = time.monotonic() - start
        height, width = answer["planes"][0][1].shape[:2]
        layer = f"{before.shape[1]} × {before.shape[0]}"
        print(f"Sent the region around the selection, {width} × {height} of {layer} pixels.")
        print(f"{answer['model']} on {answer['device']} answered after {seconds:.2f} s.")
    print("Stopped the daemon.")
    output.write(after)
    sheet = options.out / "sheet.png"
    cv2.imwrite(str(sheet), _sheet(before, subject.mask, after)[..., ::-1])
    _report(subject, areas, after)
    print(f"The photo: {output.path}")
    print(f"Before, selection, after: {sheet.resolve()}")
    return 0


def _subject(photo_path: Path | None, mask_path: Path | None) -> Subject:
    if (photo_path is None) != (mask_path is None):
        raise InputError("A photo and its mask go together.", "Give both, or neither.")
    if photo_path is not None and mask_path is not None:
        photo = read_photo(photo_path)
        return Subject(photo, read_mask(mask_path, photo.size), None)
    original = read_photo(PORTRAIT).pixels
    mask = silhouette(original.shape[0], original.shape[1])
    return Subject(Photo(shaded(original, mask, SHADE), "PNG"), mask, original)


def silhouette(height: int, width: int) -> npt.NDArray[np.uint8]:
    """The portrait's mask, (height, width) uint8: a drawn outline with rounded corners."""
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.array(_OUTLINE, np.int32)], 255)
    rounded = cv2.threshold(cv2.GaussianBlur(mask, (0, 0), 4), 127, 255, 0)[1]
    # The outline runs a little outside the hair; background that is lit with it would be a rim.
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
    return np.asarray(cv2.erode(rounded, disc), np.uint8)


def shaded(
    original: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8], stops: float
) -> npt.NDArray[np.uint8]:
    """The picture with that many stops less light inside the mask.

    Args:
        original: (H, W, 3) uint8, sRGB.
        mask: (H, W) uint8; its edge is softened by a pixel or two, as a shadow's is.
        stops: each halves the linear light (IEC 61966-2-1).
    """
    encoded = original.astype(np.float32) / np.float32(255)
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    amount = cv2.GaussianBlur(mask, (0, 0), 2.0)[..., None].astype(np.float32) / np.float32(255)
    linear *= 2.0 ** (-stops * amount)
    encoded = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(np.clip(encoded, 0, 1) * 255), np.uint8)


@contextmanager
def _daemon() -> Iterator[Client]:
    """A daemon in a state directory of its own, so that a running one is left in peace."""
    before = os.environ.get(STATE_VARIABLE)
    with tempfile.TemporaryDirectory(prefix="maskupe-demo-") as folder:
        os.environ[STATE_VARIABLE] = folder
        try:
            command = [sys.executable, "-m", "maskupe_daemon", "run"]
            client = ensure_running(command, directory=Path(folder), name="maskupe demo")
            try:
                yield client
            finally:
                _stop(client, Path(folder))
        finally:
            if before is None:
                del os.environ[STATE_VARIABLE]
            else:
                os.environ[STATE_VARIABLE] = before


def _stop(client: Client, folder: Path, patience: float = 10.0) -> None:
    """Asks the daemon to stop and waits until its connection file is gone."""
    with suppress(ClientError):  # it may have stopped already
        client.shutdown()
    client.close()
    deadline = time.monotonic() + patience
    while (folder / "connection.json").exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def _enhance(
    client: Client,
    pixels: npt.NDArray[Any],
    mask: npt.NDArray[Any],
    transition: Transition,
    model: str,
) -> tuple[dict[str, Any], npt.NDArray[Any]]:
    """Sends the region around the mask, as the plug-in does, and puts the answer back."""
    rows, columns = region_of(mask, transition)
    layer = pixels.reshape(*pixels.shape[:2], -1)
    region = np.ascontiguousarray(layer[rows, columns])
    selection = mask[rows, columns]
    if selection.dtype != np.uint8:
        selection = selection.astype(np.float32) / np.float32(scale_of(mask.dtype))
    selection = np.ascontiguousarray(selection)
    context = None if region.shape == layer.shape else shrink(layer, CONTEXT_EDGE)
    request = EnhanceRequest(
        image=_spec(region),
        layer=(layer.shape[0], layer.shape[1]),
        origin=(rows.start, columns.start),
        selection=_spec(selection),
        context=None if context is None else _spec(context),
        model=model,
        width=transition.width,
        side=transition.side,
    )
    planes = [plane for plane in (region, selection, context) if plane is not None]
    answer, received = client.enhance(request, [plane.tobytes() for plane in planes])
    result = layer.copy()
    image = np.frombuffer(received["image"], layer.dtype).reshape(region.shape)
    result[rows, columns] = image
    return answer, result.reshape(pixels.shape)


def _spec(plane: npt.NDArray[Any]) -> PlaneSpec:
    return PlaneSpec(plane.shape, _DTYPES[str(plane.dtype)])


def _report(subject: Subject, areas: Areas, after: npt.NDArray[Any]) -> None:
    before = subject.photo.pixels
    changed = np.count_nonzero(np.atleast_3d(before != after).any(axis=2) & areas.c)
    scale = scale_of(before.dtype)
    light = [np.atleast_3d(image)[areas.a].mean() / scale for image in (before, after)]
    print(f"Mean brightness of the selected part: {light[0]:.3f} before, {light[1]:.3f} after.")
    if subject.original is not None:
        truth = subject.original[areas.a]
        quality = [_psnr(image[areas.a], truth) for image in (before, after)]
        print(f"PSNR against good light: {quality[0]:.1f} dB before, {quality[1]:.1f} dB after.")
    print(f"Pixels changed outside the selection and its transition: {changed}.")


def _psnr(image: npt.NDArray[Any], truth: npt.NDArray[Any]) -> float:
    error = float(np.mean((image.astype(np.float64) - truth) ** 2))
    return float("inf") if error == 0 else 10 * np.log10(255.0**2 / error)


def _sheet(
    before: npt.NDArray[Any], mask: npt.NDArray[Any], after: npt.NDArray[Any]
) -> npt.NDArray[np.uint8]:
    """Three labelled pictures side by side, RGB uint8."""
    panels = []
    for label, image in (("before", before), ("selection", mask), ("after", after)):
        shown = _for_show(image)
        width = max(1, round(shown.shape[1] * _SHEET_HEIGHT / shown.shape[0]))
        panel = np.full((_SHEET_HEIGHT + _LABEL_HEIGHT, width, 3), 255, np.uint8)
        panel[_LABEL_HEIGHT:] = cv2.resize(shown, (width, _SHEET_HEIGHT), interpolation=3)
        font, black = cv2.FONT_HERSHEY_SIMPLEX, (40, 40, 40)
        cv2.putText(panel, label, (8, 23), font, 0.65, black, 1, cv2.LINE_AA)
        panels.append(panel)
    return np.concatenate(panels, axis=1)


def _for_show(image: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Any image as RGB uint8, transparency over white."""
    values = image.reshape(*image.shape[:2], -1).astype(np.float32) / scale_of(image.dtype)
    colour = values[..., : colour_channels(image)]
    if alpha_of(image) is not None:
        alpha = values[..., -1:]
        colour = colour * alpha + (1 - alpha)
    colour = np.repeat(colour, 3, axis=2) if colour.shape[2] == 1 else colour
    return np.asarray(np.rint(np.clip(colour, 0, 1) * 255), np.uint8)


if __name__ == "__main__":
    sys.exit(main())
