"""``maskupe demo``: a real photograph through a real daemon, over the client that GIMP uses.

Without a photo of one's own it takes that of :mod:`.portrait`, and compares the result with the
original, which is there for that one.
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

from maskupe.areas.region import region_of
from maskupe.areas.transition import Transition
from maskupe.errors import InputError, MaskUPEError
from maskupe.io import Photo, check_output, read_mask, read_photo
from maskupe.pixel_layout import alpha_of, colour_channels, scale_of
from maskupe.preprocess.context import CONTEXT_EDGE, downscale
from maskupe_client.client import Client, EnhanceRequest, PlaneSpec
from maskupe_client.connection import STATE_VARIABLE
from maskupe_client.errors import ClientError
from maskupe_client.launcher import ensure_running
from maskupe_daemon.demo_image import PORTRAIT, SHADE, shaded, silhouette
from maskupe_daemon.presence import await_end

# Height of each picture in the sheet, and of the line with its label, in pixels.
_SHEET_HEIGHT, _LABEL_HEIGHT = 480, 34


@dataclass(frozen=True)
class Subject:
    """What is shown: the photo with its mask, and the photo in good light where it is known."""

    photo: Photo
    mask: npt.NDArray[Any]
    original: npt.NDArray[Any] | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return 0, 1 for a failure, 2 for input that cannot be used."""
    parser = argparse.ArgumentParser(prog="maskupe demo", description="Show the daemon at work.")
    parser.add_argument("--photo", type=Path, help="your own photo (needs --mask)")
    parser.add_argument("--mask", type=Path, help="its mask: white where to brighten")
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
    with _daemon() as client:
        print("Started a daemon of its own.")
        start = time.monotonic()
        answer, after, areas = _enhance(client, before, subject.mask, options.model)
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


def _stop(client: Client, folder: Path) -> None:
    """Ask the daemon to stop and wait until it has let go of the folder, so that it can go."""
    with suppress(ClientError):  # it may have stopped already
        client.shutdown()
    client.close()
    await_end(folder, 10.0)


def _enhance(
    client: Client,
    pixels: npt.NDArray[Any],
    mask: npt.NDArray[Any],
    model: str,
) -> tuple[dict[str, Any], npt.NDArray[Any], npt.NDArray[np.uint8]]:
    """Send the region around the mask, as the plug-in does, and put the answer back.

    Returns:
        The answer's header, the whole image, and its areas (H, W): 2 in A, 1 in B, 0 in C.
    """
    transition = Transition()
    rows, columns = region_of(mask, transition)
    layer = pixels.reshape(*pixels.shape[:2], -1)
    region = np.ascontiguousarray(layer[rows, columns])
    selection = mask[rows, columns]
    if selection.dtype != np.uint8:
        selection = selection.astype(np.float32) / np.float32(scale_of(mask.dtype))
    selection = np.ascontiguousarray(selection)
    context = None if region.shape == layer.shape else downscale(layer, CONTEXT_EDGE)
    request = EnhanceRequest(
        image=_spec(region),
        layer=(layer.shape[0], layer.shape[1]),
        origin=(rows.start, columns.start),
        selection=_spec(selection),
        context=None if context is None else _spec(context),
        model=model,
        width=transition.width,
        side=transition.side,
        edges=transition.edges,
        outputs=("image", "areas"),
    )
    planes = [plane for plane in (region, selection, context) if plane is not None]
    answer, received = client.enhance(request, [plane.tobytes() for plane in planes])
    result = layer.copy()
    image = np.frombuffer(received["image"], layer.dtype).reshape(region.shape)
    result[rows, columns] = image
    areas = np.zeros(layer.shape[:2], np.uint8)
    areas[rows, columns] = np.frombuffer(received["areas"], np.uint8).reshape(image.shape[:2])
    return answer, result.reshape(pixels.shape), areas


def _spec(plane: npt.NDArray[Any]) -> PlaneSpec:
    return PlaneSpec(plane.shape, f"{plane.dtype.kind}{8 * plane.itemsize}")


def _report(subject: Subject, areas: npt.NDArray[np.uint8], after: npt.NDArray[Any]) -> None:
    before, inside = subject.photo.pixels, areas == 2
    changed = np.count_nonzero(np.atleast_3d(before != after).any(axis=2) & (areas == 0))
    scale = scale_of(before.dtype)
    light = [np.atleast_3d(image)[inside].mean() / scale for image in (before, after)]
    print(f"Mean brightness of the selected part: {light[0]:.3f} before, {light[1]:.3f} after.")
    if subject.original is not None:
        truth = _unit(subject.original)
        quality = [cv2.PSNR(_unit(image)[inside], truth[inside], 1.0) for image in (before, after)]
        print(f"PSNR against good light: {quality[0]:.1f} dB before, {quality[1]:.1f} dB after.")
    print(f"Pixels changed outside the selection and its transition: {changed}.")


def _unit(image: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    return image.astype(np.float32) / np.float32(scale_of(image.dtype))


def _sheet(
    before: npt.NDArray[Any], mask: npt.NDArray[Any], after: npt.NDArray[Any]
) -> npt.NDArray[np.uint8]:
    """Return three labelled pictures side by side, RGB uint8."""
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
    values = _unit(image.reshape(*image.shape[:2], -1))
    colour = values[..., : colour_channels(image)]
    if alpha_of(image) is not None:
        alpha = values[..., -1:]
        colour = colour * alpha + (1 - alpha)
    colour = np.repeat(colour, 3, axis=2) if colour.shape[2] == 1 else colour
    return np.asarray(np.rint(np.clip(colour, 0, 1) * 255), np.uint8)


if __name__ == "__main__":
    sys.exit(main())
