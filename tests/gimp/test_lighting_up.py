"""The main job in a real GIMP: a selection is lit up, and nothing else is touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from maskupe import Enhancer, Transition
from maskupe.areas.region import region_of
from maskupe.maps import Window
from tests.gimp.photo import babl, dark_photo
from tests.gimp.session import Session

# Builds the image, calls the procedure, and leaves what it looked like before and after in files.
ROUND_TRIP = """
image = new_image(canvas[0], canvas[1], precision, gray)
layer = new_layer(image, width, height, alpha, offset)
write(layer, path, babl)
if ellipse:
    select_ellipse(image, *ellipse, feather=feather)
before, active = selection_bytes(image), [d.get_id() for d in image.get_selected_drawables()]
read(layer, None, "before.raw")
read(layer, babl, "seen.raw")
(WORK / "selection.raw").write_bytes(image.get_selection().get_buffer().get(
    rect(offset[0], offset[1], width, height), 1.0, "Y float", NONE))
called = enhance(image, [layer], **settings)
read(layer, None, "after.raw")
read(layer, babl)
result = {
    "called": called,
    "same selection": before == selection_bytes(image),
    "same active": active == [d.get_id() for d in image.get_selected_drawables()],
    "channels": len(image.get_channels()),
    "layers": len(image.get_layers()),
}
image.delete()
"""


@dataclass(frozen=True)
class Case:
    """One kind of layer and selection."""

    name: str
    precision: str = "U8_NON_LINEAR"
    dtype: Any = np.uint8
    gray: bool = False
    alpha: bool = False
    offset: tuple[int, int] = (0, 0)
    canvas: tuple[int, int] = (512, 512)
    ellipse: tuple[int, int, int, int] | None = (150, 120, 200, 240)
    feather: float = 0.0
    settings: tuple[tuple[str, Any], ...] = ()


CASES = [
    Case("u8"),
    Case("u8-feathered", feather=40.0),
    Case("u8-alpha-offset", alpha=True, offset=(-60, 45), canvas=(400, 600)),
    Case("u8-whole-layer", ellipse=None),
    Case("u16", precision="U16_NON_LINEAR", dtype=np.uint16),
    Case(
        "u16-alpha-feathered", precision="U16_NON_LINEAR", dtype=np.uint16, alpha=True, feather=30
    ),
    Case("float", precision="FLOAT_NON_LINEAR", dtype=np.float32),
    Case("float-linear-alpha", precision="FLOAT_LINEAR", dtype=np.float32, alpha=True, feather=30),
    Case("gray", gray=True),
    Case("gray-alpha-float", precision="FLOAT_LINEAR", dtype=np.float32, gray=True, alpha=True),
    Case("inside", settings=(("automatic_width", False), ("width", 25.0), ("side", "inside"))),
    Case("by-distance-alone", settings=(("edges", "off"),)),
    Case("edges-near-by", settings=(("edges", "12.5"), ("side", "inside"))),
    Case("denoised", settings=(("automatic_denoise", False), ("denoise", 0.8))),
    Case("not-denoised", settings=(("automatic_denoise", False), ("denoise", 0.0))),
    Case("warm", settings=(("warmth", 1.0),)),
    Case("cool-u16", precision="U16_NON_LINEAR", dtype=np.uint16, settings=(("warmth", -0.6),)),
    Case("colourful-alpha", alpha=True, settings=(("saturation", 1.0), ("warmth", 0.4))),
    Case(
        "colourless-float",
        precision="FLOAT_NON_LINEAR",
        dtype=np.float32,
        settings=(("saturation", -1.0),),
    ),
    Case("gray-with-saturation", gray=True, settings=(("saturation", 1.0),)),
    Case("strong-centred", settings=(("strength", 1.5), ("side", "centred"))),
    Case(
        "reaching-out-of-the-layer",
        offset=(120, 200),
        canvas=(700, 800),
        ellipse=(60, 100, 300, 350),
    ),
    Case(
        "band-beyond-the-canvas",
        offset=(-100, -100),
        canvas=(300, 300),
        ellipse=(150, 150, 150, 150),
    ),
]


@pytest.fixture(scope="session")
def enhancer() -> Enhancer:
    """The same model in this process, as the reference."""
    return Enhancer.load("default")


@dataclass
class Outcome:
    """What a round trip through GIMP gave."""

    case: Case
    told: dict[str, Any]
    seen: npt.NDArray[Any]
    after: npt.NDArray[Any]
    selection: npt.NDArray[np.float32] | None
    bits_before: npt.NDArray[np.uint8]
    bits_after: npt.NDArray[np.uint8]

    @property
    def transition(self) -> Transition:
        """The transition as the settings say."""
        settings = dict(self.case.settings)
        automatic = settings.get("automatic_width", True)
        width = "auto" if automatic else settings["width"]
        edges = settings.get("edges", "auto")
        edges = edges if edges in ("auto", "off") else float(edges)
        return Transition(width, settings.get("side", "outside"), edges)


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def outcome(request: pytest.FixtureRequest, gimp: Session) -> Outcome:
    """One call of the procedure in GIMP."""
    case: Case = request.param
    photo = dark_photo(case.dtype, gray=case.gray, alpha=case.alpha)
    height, width = photo.shape[:2]
    told = gimp.run(
        ROUND_TRIP,
        path=gimp.put(photo),
        babl=babl(photo),
        width=width,
        height=height,
        precision=case.precision,
        gray=case.gray,
        alpha=case.alpha,
        offset=case.offset,
        canvas=case.canvas,
        ellipse=case.ellipse,
        feather=case.feather,
        settings=dict(case.settings),
    )
    bits = (height, width, -1)
    return Outcome(
        case,
        told,
        gimp.get(photo.shape, photo.dtype, "seen.raw"),
        gimp.get(photo.shape, photo.dtype),
        gimp.get((height, width), np.float32, "selection.raw") if case.ellipse else None,
        gimp.get(bits, np.uint8, "before.raw"),
        gimp.get(bits, np.uint8, "after.raw"),
    )


def reference(
    outcome: Outcome, enhancer: Enhancer
) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]:
    """The result and its weights from the very numbers that GIMP sends.

    The matte, and with it which pixels are in C, hangs on the whole layer as it is sent beside the
    region: with 16 bits.
    """
    seen, selection = outcome.seen, outcome.selection
    height, width = seen.shape[:2]
    rows, columns, context = slice(0, height), slice(0, width), None
    if selection is not None:
        rows, columns = region_of(selection, outcome.transition)
        selection = selection[rows, columns]
    if selection is not None and selection.shape != (height, width):
        colours = seen[..., :1] if outcome.case.gray else seen[..., :3]
        steps = {"uint8": 257, "uint16": 1, "float32": 65535}[seen.dtype.name]
        context = np.floor(colours * np.float32(steps) + np.float32(0.5)).astype(np.uint16)
    settings = dict(outcome.case.settings)
    found = enhancer.enhance_region(
        seen[rows, columns],
        selection,
        context,
        window=Window(columns.start, rows.start, width, height),
        strength=settings.get("strength", 1.0),
        denoise="auto" if settings.get("automatic_denoise", True) else settings["denoise"],
        warmth=settings.get("warmth", 0.0),
        saturation=settings.get("saturation", 0.0),
        transition=outcome.transition,
        outputs=("image", "weight"),
    )
    expected, weight = seen.copy(), np.zeros((height, width), np.float32)
    expected[rows, columns], weight[rows, columns] = found.image, found.weight
    return expected, weight


def beyond_reach(outcome: Outcome) -> npt.NDArray[np.bool_]:
    """The pixels that no effect may reach, wherever the picture's edges are."""
    assert outcome.selection is not None
    rows, columns = region_of(outcome.selection, outcome.transition)
    outside = np.ones(outcome.selection.shape, bool)
    outside[rows, columns] = False
    return outside


def white(pixels: np.ndarray) -> float:
    """The value of full white in pixels of this type."""
    return 1.0 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max)


def test_a_selection_comes_back_lit_up(outcome: Outcome, enhancer: Enhancer) -> None:
    assert outcome.told["called"] == [True, ""]
    case, seen, after = outcome.case, outcome.seen, outcome.after
    colours = slice(0, 1 if case.gray else 3)

    # Where edges are followed, only the pixels tell which areas they belong to.
    expected, weight = reference(outcome, enhancer)
    in_a, in_c = weight == 1, weight == 0
    if outcome.selection is None:
        assert in_a.all()
    else:
        assert in_c.sum() > 1000
        assert in_a.sum() > 1000
        assert in_c[beyond_reach(outcome)].all()
    if outcome.selection is not None and not outcome.transition.follows_edges:
        areas = enhancer.areas(outcome.selection, outcome.transition)
        assert np.array_equal(in_a, areas.a)
        assert np.array_equal(in_c, areas.c)
    dark, light = seen[in_a][:, colours].mean(), after[in_a][:, colours].mean()
    assert light > 1.3 * dark

    changed = in_c & (outcome.bits_before != outcome.bits_after).any(axis=-1)
    # GIMP converts linear encodings with other last bits than we do here, and a matte reads the
    # pixels: one whose weight lies at the threshold of nothing may fall on its other side.
    at_threshold = (
        2 if outcome.transition.follows_edges and case.precision != "U8_NON_LINEAR" else 0
    )
    assert changed.sum() <= at_threshold
    assert np.abs(after[changed].astype(float) - seen[changed]).max(initial=0) <= 0.01 * white(seen)
    if case.alpha:
        assert np.array_equal(seen[..., -1], after[..., -1])

    level = {"uint8": 1, "uint16": 257, "float32": 1 / 255}[seen.dtype.name]
    off = np.abs(after.astype(np.float64) - expected.astype(np.float64)).max()
    assert off <= level


def test_nothing_but_pixels_changes(outcome: Outcome) -> None:
    told = dict(outcome.told)
    assert told.pop("called") == [True, ""]
    assert told == {"same selection": True, "same active": True, "channels": 0, "layers": 1}
