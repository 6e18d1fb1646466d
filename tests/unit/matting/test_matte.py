"""The matte of a selection: its coefficients, what it reaches, and where it changes nothing."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt, uniform_filter

from maskupe.areas.coverage import make_coverage
from maskupe.areas.partition import make_areas
from maskupe.areas.rows import FULL
from maskupe.areas.transition import Transition
from maskupe.blending.weights import perceptual
from maskupe.maps import Window
from maskupe.matting.full_size import apply_matte, to_coverage
from maskupe.matting.matte import (
    ALL,
    DISTANCE_RANGE,
    KEEP,
    MIXED,
    NOTHING,
    _states,
    guided_coefficients,
    make_matte,
    network_planes,
    signed_distance,
)
from maskupe.matting.surroundings import MATTE_SIZE, surroundings_of
from maskupe.registry import WEIGHTS_FOLDER
from tests.matte_cases import follow, random_planes, told


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), radius=st.integers(1, 4), eps=st.sampled_from([1e-4, 1e-2]))
def test_the_guided_filter_is_a_ridge_regression_in_every_window(seed, radius, eps):
    """He, Sun and Tang (2013), Eq. 19 to 21, by one least-squares problem for each window."""
    rng = np.random.default_rng(seed)
    height, width = 3 * radius + 5, 3 * radius + 7
    guide = rng.random((height, width, 3)).astype(np.float32)
    values = rng.random((height, width)).astype(np.float32)
    a, b = guided_coefficients(values, guide, radius, eps)
    inner = 2 * radius + 1
    slopes = np.zeros((height, width, 3))
    offsets = np.zeros((height, width))
    for y in range(radius, height - radius):
        for x in range(radius, width - radius):
            window = slice(y - radius, y + radius + 1), slice(x - radius, x + radius + 1)
            seen = guide[window].reshape(-1, 3).astype(np.float64)
            wanted = values[window].ravel().astype(np.float64)
            centred = seen - seen.mean(0)
            ridge = centred.T @ centred / len(seen) + eps * np.eye(3)
            slopes[y, x] = np.linalg.solve(ridge, centred.T @ (wanted - wanted.mean()) / len(seen))
            offsets[y, x] = wanted.mean() - slopes[y, x] @ seen.mean(0)
    part = slice(2 * radius, height - 2 * radius), slice(2 * radius, width - 2 * radius)
    mean = np.stack([uniform_filter(slopes[..., c], inner) for c in range(3)], -1)
    assert np.abs(a - mean)[part].max() < 2e-3 * max(1.0, float(np.abs(mean[part]).max()))
    assert np.abs(b - uniform_filter(offsets, inner))[part].max() < 2e-3


def test_signed_distances_are_positive_inside_and_half_a_cell_at_the_line():
    selection = np.zeros((40, 60), np.float32)
    selection[10:25, 20:45] = 1.0
    found = signed_distance(selection)
    inside = selection >= 0.5
    exact = np.where(
        inside, distance_transform_edt(inside) - 0.5, 0.5 - distance_transform_edt(~inside)
    )
    assert np.abs(found - exact).max() < 0.05 * np.abs(exact).max()
    assert found[10, 30] == 0.5 and found[9, 30] == -0.5
    assert (signed_distance(np.ones((4, 5), np.float32)) > 0).all()
    assert (signed_distance(np.zeros((4, 5), np.float32)) < 0).all()


def test_the_network_sees_colours_selection_and_distance():
    rng = np.random.default_rng(0)
    image = rng.random((MATTE_SIZE, MATTE_SIZE, 3)).astype(np.float32)
    selection = np.zeros((MATTE_SIZE, MATTE_SIZE), np.float32)
    selection[:, : MATTE_SIZE // 2] = 1.0
    planes = network_planes(image, selection, signed_distance(selection))
    assert planes.shape == (5, MATTE_SIZE, MATTE_SIZE) and planes.dtype == np.float32
    assert np.array_equal(planes[:3].transpose(1, 2, 0), image)
    assert np.array_equal(planes[3], selection)
    assert planes[4].min() == -1.0 and planes[4].max() == 1.0
    assert planes[4, 7, MATTE_SIZE // 2 - 1] == pytest.approx(0.5 / DISTANCE_RANGE)


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), cells=st.integers(2, 9))
def test_what_is_said_of_the_pixels_between_cells_is_true(seed, cells):
    """No shortcut contradicts the formula, wherever a pixel lies and whatever its colour."""
    rng = np.random.default_rng(seed)
    planes = random_planes(rng, cells)
    states = _states(planes)
    for y in range(cells - 1):
        for x in range(cells - 1):
            kind = states[y, x]
            if kind == MIXED:
                continue
            corners = planes[:, y : y + 2, x : x + 2].astype(np.float64)
            for _ in range(8):
                down, right, selection, fade = rng.random(4)
                left, other = corners[..., 0], corners[..., 1]
                line = left + right * (other - left)
                maps = line[:, 0] + down * (line[:, 1] - line[:, 0])
                own = np.clip(maps[:3] @ rng.random(3) + maps[3], 0.0, 1.0)
                own = own + maps[4] * (selection - own)
                weight = own * (maps[5] + maps[6] * fade)
                expected = {NOTHING: 0.0, ALL: 1.0, KEEP: fade}[int(kind)]
                assert weight == pytest.approx(expected, abs=1e-9)


def test_between_two_reasons_for_nothing_there_is_something():
    planes = np.zeros((7, 2, 2), np.float32)
    planes[5, :, 0] = 1.0  # followed, but no subject
    planes[3, :, 1] = 1.0  # subject, but too far off
    assert (_states(planes)[:, 0] == MIXED).all()


SHAPES = {
    "square": (slice(150, 250), slice(180, 280)),
    "tall": (slice(40, 360), slice(200, 250)),
    "row": (slice(200, 201), slice(60, 380)),
    "pixel": (slice(200, 201), slice(210, 211)),
    "corner": (slice(0, 60), slice(0, 90)),
    "side": (slice(100, 260), slice(380, 460)),
}


@pytest.mark.parametrize("edges", ["auto", 6.0, 40.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_beyond_the_reach_nothing_is_covered(shape, edges):
    """The worst network: it takes everything for subject, and sees an edge everywhere."""
    image = np.random.default_rng(1).integers(0, 256, (400, 460, 3)).astype(np.uint8)
    selection = np.zeros((400, 460), bool)
    selection[SHAPES[shape]] = True
    transition = Transition(0.0, edges=edges)
    seen = surroundings_of(image, selection, None, Window(0, 0, 460, 400), transition)
    covered = follow(image, selection, transition, told(1.0, 0.0, 0.0)) > 0
    assert covered[selection].all()
    rows, columns = (part.stop - part.start for part in SHAPES[shape])
    reach = transition.edge_reach(rows * columns, 400)
    # To within the cells of the frame, where the reach is only few of them.
    cell = max(seen.frame.width, seen.frame.height) / MATTE_SIZE
    limit = max(reach, 3.5 * cell)
    distance = distance_transform_edt(~selection)
    assert distance[covered].max() <= limit
    assert distance[covered].max() > min(0.5 * limit, 0.4 * max(rows, columns), 3.0)


def test_a_feathered_selection_says_itself_how_far_its_line_may_be_off():
    image = np.full((300, 300, 3), 90, np.uint8)
    ramp = np.clip((np.arange(300) - 80) / 60.0, 0, 1).astype(np.float32)
    selection = np.minimum(ramp[:, None], ramp[None, :])
    selection = np.minimum(selection, selection[::-1, ::-1])
    transition = Transition(edges=10.0)
    covered = follow(image, selection, transition, told(1.0, 0.0, 0.0)) > 0
    assert covered[selection > 0.02].all()
    assert distance_transform_edt(selection == 0)[covered].max() <= 10.0


def test_where_no_edge_is_followed_the_fade_by_distance_remains():
    """An open line on the left, and everything taken for subject: there the fade, even in stops."""
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (300, 340, 3)).astype(np.uint8)
    y, x = np.mgrid[:300, :340]
    selection = np.hypot(y - 150, x - 160) < 80
    transition = Transition(15.0)
    # The picture is brighter than middle gray: no light is missing that would bend the fade.
    by_distance = to_coverage(perceptual(0.0).weights(make_coverage(selection, transition).plane))

    def left(planes: np.ndarray) -> np.ndarray:
        return (np.arange(MATTE_SIZE) < MATTE_SIZE // 2) * np.ones((MATTE_SIZE, 1))

    got = follow(image, selection, transition, told(1.0, left, 0.0))[:, :150]
    assert np.abs(got.astype(int) - by_distance[:, :150]).max() <= FULL // 510 + 1
    assert np.array_equal(got == 0, by_distance[:, :150] < FULL // 510)
    off = Transition(15.0, edges="off")
    assert np.array_equal(make_coverage(selection, off).a, make_areas(selection, off).a)


def test_an_exact_matte_remains_itself():
    rng = np.random.default_rng(4)
    image = rng.integers(0, 256, (300, 340, 3)).astype(np.uint8)
    y, x = np.mgrid[:300, :340]
    selection = np.clip((90 - np.hypot(y - 150, x - 160)) / 12, 0, 1).astype(np.float32)
    got = follow(image, selection, Transition(), told(0.5, 0.0, 1.0)) / FULL
    assert np.abs(got - selection).max() < 0.01
    assert (got[selection == 0] == 0).all() and (got[selection == 1] == 1).all()


def test_a_selection_is_exact_along_all_of_its_line_or_not_at_all():
    """Where the network is unsure of single places, the whole line decides."""
    y, x = np.mgrid[:300, :340]
    radius = np.hypot(y - 150, x - 160)
    image = np.where(radius[..., None] < 90, 60, 180).astype(np.uint8).repeat(3, axis=2)
    selection = radius < 90

    def unsure(line: float) -> np.ndarray:
        def exact(planes: np.ndarray) -> np.ndarray:
            beside = np.abs(planes[4]) * DISTANCE_RANGE < 3
            return np.where(beside, line, 0.0).astype(np.float32)

        return follow(image, selection, Transition(), told(1.0, 0.0, exact)) / FULL

    # The network takes all around for the subject, which the mask corrects, to the pixel.
    believed, not_believed = unsure(0.45), unsure(0.15)
    assert np.abs(believed - selection)[np.abs(radius - 90) > 1].max() < 0.1
    assert (not_believed[(radius > 92) & (radius < 94)] > 0.5).all()


@pytest.mark.parametrize(("kept", "opened"), [(0.0, 0.0), (0.15, 0.0), (1.0, 0.8)])
def test_without_a_subject_the_fade_by_distance_is_all(kept, opened):
    """Next to nothing would remain of the selection, or most of its line follows no edge."""
    image = np.full((80, 90, 3), 50, np.uint8)
    selection = np.zeros((80, 90), bool)
    selection[38:42, 40:44] = True
    window = Window(0, 0, 90, 80)
    seen = surroundings_of(image, selection, None, window, Transition())
    assert make_matte(seen, told(kept, opened, 0.0), window) is None


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_region_gives_the_weights_of_the_whole_layer(dtype):
    """The frame follows from selection and layer, so what is cut off around it does not count."""
    rng = np.random.default_rng(6)
    image = 0.15 + 0.6 * (rng.random((420, 500, 1)) < 0.5) + 0.1 * rng.random((420, 500, 3))
    if dtype != np.float32:
        image = np.rint(image * np.iinfo(dtype).max)
    image = image.astype(dtype)
    selection = np.zeros((420, 500), bool)
    selection[120:260, 150:330] = True
    dark = told(lambda planes: (planes[:3].mean(0) < 0.5).astype(np.float32), 0.3, 0.2)
    whole = follow(image, selection, Transition(), dark)
    for top, left, bottom, right in ((40, 50, 400, 470), (85, 100, 300, 380)):
        rows, columns = slice(top, bottom), slice(left, right)
        part = follow(
            image[rows, columns],
            selection[rows, columns],
            Transition(),
            dark,
            Window(left, top, 500, 420),
        )
        difference = np.abs(part.astype(int) - whole[rows, columns])
        assert difference.max() <= FULL // 255  # averages are rounded where a region begins


def test_strips_and_threads_give_the_same(monkeypatch):
    rng = np.random.default_rng(7)
    image = rng.integers(0, 256, (203, 190, 4)).astype(np.uint8)
    selection = np.zeros((203, 190), np.uint8)
    selection[50:150, 40:140] = 255
    bright = told(lambda planes: planes[0], 0.5, 0.7)
    for compiled in (True, False):
        options = {"compiled": compiled}
        whole = follow(image, selection, Transition(), bright, threads=1, **options)
        with monkeypatch.context() as patch:
            patch.setattr("maskupe.matting.full_size.STRIP_PIXELS", 190 * 7)
            strips = follow(image, selection, Transition(), bright, threads=3, **options)
        assert np.array_equal(whole, strips)


def test_the_areas_of_a_read_only_plane_are_not_written_to():
    image = np.full((60, 70, 3), 90, np.uint8)
    selection = np.zeros((60, 70), bool)
    selection[20:40, 20:50] = True
    window = Window(0, 0, 70, 60)
    seen = surroundings_of(image, selection, None, window, Transition())
    matte = make_matte(seen, told(1.0, 0.0, 0.0), window)
    assert matte is not None
    areas = make_coverage(selection, Transition())
    areas.plane.setflags(write=False)
    before = areas.plane.copy()
    apply_matte(matte, areas, image, selection, window)
    assert np.array_equal(areas.plane, before)


def test_onnx_runtime_merges_the_norms_into_the_convolutions(tmp_path):
    """Otherwise a prediction takes a fifth longer."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    graph = WEIGHTS_FOLDER / "matte.onnx"
    norms = sum(
        node.op_type == "BatchNormalization"
        for node in onnx.load(graph, load_external_data=False).graph.node
    )
    ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    optimised = onnx.load(tmp_path / "optimised.onnx", load_external_data=False)
    kinds = {node.op_type for node in optimised.graph.node}
    assert norms > 10
    assert not kinds & {"BatchNormalization", "Relu"}


def test_a_network_that_is_unsure_leaves_nothing_of_the_inside_out():
    """What it says would light the selection in blotches."""
    image = np.full((256, 256, 3), 60, np.uint8)
    image[:, 128:] = 110
    selection = np.zeros((256, 256), np.float32)
    selection[30:220, 30:220] = 1.0
    transition = Transition(20.0, edges=60.0)
    blotches = uniform_filter(np.random.default_rng(0).random((MATTE_SIZE, MATTE_SIZE)), 9)
    ramp = (blotches - np.median(blotches)) / blotches.std()
    unsure = 1.0 / (1.0 + np.exp(-ramp))
    got = follow(image, selection, transition, told(lambda _planes: unsure, 0.0, 0.0)) / FULL
    assert got[36:214, 36:214].min() > 0.98
    # Where it is sure, it is believed: of the brighter half, nothing is lit.
    dark = follow(image, selection, transition, told(lambda p: (p[0] < 0.3) * 1.0, 0.0, 0.0)) / FULL
    assert dark[60:190, 40:120].min() > 0.98
    assert dark[60:190, 140:].max() < 0.02


def test_where_what_is_left_out_is_meant_the_line_fades():
    """An edge of the subject at the top of the selection only: below, the fade by distance."""
    image = np.full((256, 256, 3), 60, np.uint8)
    image[:30] = 200
    selection = np.zeros((256, 256), np.float32)
    selection[30:150, 60:200] = 1.0
    transition = Transition(20.0)

    def said(planes: np.ndarray) -> np.ndarray:
        upper = np.arange(MATTE_SIZE) < np.flatnonzero(planes[3].any(1)).mean()
        subject = np.where(planes[0] < 0.5, np.where(upper[:, None], 0.85, 0.15), 0.1)
        return subject.astype(np.float32)

    got = follow(image, selection, transition, told(said, 0.0, 0.0)) / FULL
    assert got[32:150, 62:198].min() > 0.97
    assert got[:28].max() < 0.05
    column = got[150:175, 130]
    assert (np.diff(column) <= 1e-4).all() and np.abs(np.diff(column)).max() < 0.15
