"""Samples: local truth, views, determinism, licences, damaged files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from maskupe.errors import InputError
from maskupe_training.data.batches import automatic_workers, batches, compose
from maskupe_training.data.ground_truth import TARGET_LUMA, truth_of
from maskupe_training.data.images import ImageCache, luma, write_rgb
from maskupe_training.data.samples import SampleSet
from maskupe_training.data.source_factory import SourceRecipe, open_source
from maskupe_training.data.sources import BracketSource, Exposure, PairSource
from maskupe_training.data.views import Augmentation, draw_view
from maskupe_training.evaluation.cases import DARK_LUMA, draw_cases
from maskupe_training.masks.sampler import MaskRecipe, MaskSampler


def sample_set(root: Path, seed: int = 0, kind: str = "brackets") -> SampleSet:
    source = open_source(SourceRecipe(kind, kind, "train"), root, ImageCache(60))
    masks = MaskSampler(MaskRecipe(kinds={"blob": 1.0, "dark_region": 1.0}), root)
    return SampleSet([(source, 1.0)], masks, Augmentation(size=32), seed, 100)


def planes(samples: SampleSet, index: int) -> SimpleNamespace:
    """One sample as the loss takes it: image, areas and target, arrays (C, H, W)."""
    batch = {name: torch.from_numpy(value)[None] for name, value in samples[index].items()}
    composed = compose(batch)._asdict()
    return SimpleNamespace(**{name: value[0].numpy() for name, value in composed.items()})


def flat(level: int) -> np.ndarray:
    return np.full((8, 8, 3), level, np.uint8)


def bracket(image: np.ndarray, *candidates: np.ndarray) -> Exposure:
    return Exposure("", image, candidates, fixed=False)


def test_local_truth_is_the_frame_best_exposed_inside_a() -> None:
    a = np.zeros((8, 8), bool)
    a[:4] = True
    frames = [flat(40), flat(100), flat(190)]
    # Outside of A the middle frame is far off: that must not matter.
    frames[1][4:] = 255
    assert truth_of(bracket(flat(10), *frames), a) is frames[1]
    assert abs(luma(frames[1])[a].mean() - TARGET_LUMA) < abs(190 - TARGET_LUMA)


def test_an_input_that_is_bright_enough_is_its_own_truth() -> None:
    a = np.ones((8, 8), bool)
    image = flat(150)
    assert truth_of(bracket(image, flat(110), flat(240)), a) is image


def test_a_sample_is_a_function_of_seed_and_number(data_root: Path) -> None:
    one, two = sample_set(data_root), sample_set(data_root)
    for index in (3, 0, 57, 3):
        first, second = one[index], two[index]
        for key in ("image", "truth", "areas", "weight"):
            np.testing.assert_array_equal(first[key], second[key])
    assert not np.array_equal(one[1]["image"], one[2]["image"])
    other = sample_set(data_root, seed=1)
    assert not np.array_equal(one[1]["image"], other[1]["image"])


def test_the_target_is_the_truth_in_a_and_the_input_in_c(data_root: Path) -> None:
    samples = sample_set(data_root)
    for index in range(10):
        sample = planes(samples, index)
        assert sample.image.shape == (3, 32, 32) and sample.areas.shape == (2, 32, 32)
        assert set(np.unique(sample.areas)) <= {0.0, 1.0}
        outside = sample.areas.sum(0) == 0
        np.testing.assert_array_equal(sample.target[:, outside], sample.image[:, outside])
        inside = sample.areas[0] > 0
        brighter = sample.target[:, inside].mean() - sample.image[:, inside].mean()
        assert brighter > 0 or np.array_equal(sample.target, sample.image)


def test_a_view_is_the_same_for_input_and_candidates(data_root: Path) -> None:
    source = open_source(SourceRecipe("pairs", "pairs", "val"), data_root, ImageCache(60))
    for seed in range(6):
        rng = np.random.default_rng(seed)
        exposure = source.nth(0, rng)
        view = draw_view(rng, exposure.image, Augmentation(size=40, crop=0.6, turn=True))
        image, target = view.of(exposure.image), view.of(exposure.candidates[0])
        assert image.shape == (40, 40, 3)
        # The input is a quarter of the target, pixel by pixel, whatever the crop.
        assert np.abs(target / 4.0 - image).max() < 2.5


@pytest.mark.parametrize("seed", range(8))
def test_a_glimpse_shows_what_the_view_shows(data_root: Path, seed: int) -> None:
    source = open_source(SourceRecipe("pairs", "pairs", "val"), data_root, ImageCache(60))
    rng = np.random.default_rng(seed)
    picture = source.nth(0, rng).candidates[0]
    view = draw_view(rng, picture, Augmentation(size=48, crop=0.6, turn=True))
    seen, glimpse = view.of(picture), view.subsample(picture)
    assert glimpse.shape == (12, 12, 3)
    means = seen.reshape(12, 4, 12, 4, 3).mean((1, 3))
    assert np.corrcoef(luma(means).ravel(), luma(glimpse).ravel())[0, 1] > 0.8


def test_the_truth_of_a_sample_is_about_as_well_exposed_as_the_best(data_root: Path) -> None:
    source = open_source(SourceRecipe("brackets", "brackets", "train"), data_root, ImageCache(60))
    masks = MaskSampler(MaskRecipe(kinds={"blob": 1.0, "dark_region": 1.0}), data_root)
    how = Augmentation(size=48)
    samples = SampleSet([(source, 1.0)], masks, how, 0, 100)
    same = 0
    for index in range(30):
        rng = np.random.default_rng([0, index])
        rng.choice(1, p=[1.0])
        exposure = source.draw(rng)
        view = draw_view(rng, exposure.image, how)
        image = view.of(exposure.image)
        a = masks.draw(rng, image).areas.a
        best = truth_of(bracket(image, *(view.of(each) for each in exposure.candidates)), a)
        chosen = planes(samples, index).target.transpose(1, 2, 0) * 255.0
        far = abs(luma(chosen)[a].mean() - TARGET_LUMA)
        # It is chosen on a few pixels, so of two that are about as good it may take the other.
        assert far <= abs(luma(best)[a].mean() - TARGET_LUMA) + 15
        same += np.allclose(chosen[a], best[a], atol=1e-3)
    assert same >= 20


def test_case_lists_are_prefixes_of_longer_ones(data_root: Path) -> None:
    source = open_source(SourceRecipe("brackets", "brackets", "val"), data_root, ImageCache(60))
    masks = MaskSampler(MaskRecipe(kinds={"blob": 1.0}), data_root)
    long = list(draw_cases(source, masks, ("blob", "ellipse"), 6, seed=5))
    short = list(draw_cases(source, masks, ("blob", "ellipse"), 3, seed=5))
    for one, two in zip(short, long, strict=False):
        assert one.name == two.name
        np.testing.assert_array_equal(one.selection, two.selection)
        np.testing.assert_array_equal(one.truth, two.truth)
    for case in long:
        inside = luma(case.image)[case.areas.a].mean()
        assert inside <= DARK_LUMA
        assert luma(case.truth)[case.areas.a].mean() > inside


def test_only_licensed_photographs_are_used(data_root: Path) -> None:
    recipe = SourceRecipe("photos", "photos", "train", licences=("CC0", "CC-BY"))
    assert len(open_source(recipe, data_root, ImageCache(60))) == 2
    with pytest.raises(InputError, match="No photograph"):
        open_source(SourceRecipe("photos", "photos", licences=("MIT",)), data_root, ImageCache(60))


def test_frames_and_pairs_of_different_sizes_are_named(data_root: Path, tmp_path: Path) -> None:
    shutil.copytree(data_root / "brackets", tmp_path / "brackets")
    shutil.copytree(data_root / "pairs", tmp_path / "pairs")
    small = np.zeros((20, 20, 3), np.uint8)
    for number in range(4):
        write_rgb(tmp_path / "brackets" / "bracket" / f"s{number}_3.png", small)
    write_rgb(tmp_path / "pairs" / "target" / "p0.png", small)
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match=r"s0_3\.png of scene s0 differ in size"):
        BracketSource(tmp_path / "brackets", "train", ImageCache(60)).nth(0, rng)
    with pytest.raises(InputError, match=r"p0\.png is 48×48 and .*p0\.png is 20×20"):
        PairSource(tmp_path / "pairs", "val", ImageCache(60)).nth(0, rng)


def test_what_is_missing_is_said(data_root: Path, tmp_path: Path) -> None:
    cache = ImageCache(60)
    with pytest.raises(InputError, match=r"There is no data folder .*MASKUPE_DATA"):
        open_source(SourceRecipe("pairs", "nowhere"), tmp_path, cache)
    (tmp_path / "empty" / "input").mkdir(parents=True)
    with pytest.raises(InputError, match="has no pictures"):
        open_source(SourceRecipe("pairs", "empty"), tmp_path, cache)
    with pytest.raises(InputError, match="no split 'test'"):
        open_source(SourceRecipe("brackets", "brackets", "test"), data_root, cache)
    with pytest.raises(InputError, match=r"index\.json"):
        open_source(SourceRecipe("brackets", "empty"), tmp_path, cache)
    shutil.copytree(data_root / "brackets", tmp_path / "brackets")
    index = tmp_path / "brackets" / "index.json"
    index.write_text(json.dumps({"s0": json.loads(index.read_text())["s0"]}))
    with pytest.raises(InputError, match="does not describe the scene s1"):
        open_source(SourceRecipe("brackets", "brackets"), tmp_path, cache)
    index.write_text("{")
    with pytest.raises(InputError, match="not valid JSON"):
        open_source(SourceRecipe("brackets", "brackets"), tmp_path, cache)


def test_a_damaged_picture_is_named(data_root: Path, tmp_path: Path) -> None:
    shutil.copytree(data_root / "pairs", tmp_path / "pairs")
    (tmp_path / "pairs" / "input" / "p1.png").write_bytes(b"no picture")
    source = PairSource(tmp_path / "pairs", "val", ImageCache(60))
    with pytest.raises(InputError, match=r"p1\.png cannot be read"):
        source.nth(1, np.random.default_rng(0))


def test_the_cache_keeps_to_its_limit(data_root: Path) -> None:
    cache = ImageCache(48, limit_bytes=3 * 48 * 48 * 3)
    paths = sorted((data_root / "brackets" / "bracket").iterdir())[:6]
    first = [cache.get(path) for path in paths]
    assert cache._used <= 3 * 48 * 48 * 3
    np.testing.assert_array_equal(cache.get(paths[0]), first[0])


def test_the_target_is_composed_in_single_precision_as_the_formula_says(data_root: Path) -> None:
    samples = sample_set(data_root)
    for index in range(5):
        sample, found = samples.sample(index), planes(samples, index)
        before, after = (
            picture.transpose(2, 0, 1).astype(np.float32) / np.float32(255.0)
            for picture in (sample.image, sample.truth)
        )
        np.testing.assert_array_equal(found.image, before)
        np.testing.assert_array_equal(found.target, before + sample.weight * (after - before))
        np.testing.assert_array_equal(found.areas[0], sample.weight == 1.0)


@pytest.mark.slow
def test_loader_processes_give_the_samples_that_none_would(data_root: Path) -> None:
    numbers = [range(4 * step, 4 * step + 4) for step in range(5)]
    cpu = torch.device("cpu")
    alone = list(batches(sample_set(data_root), numbers, 0, cpu))
    helped = list(batches(sample_set(data_root), numbers, 2, cpu))
    assert len(alone) == len(helped) == 5
    for one, two in zip(alone, helped, strict=True):
        assert all(torch.equal(value, two[name]) for name, value in one.items())
        assert one["image"].dtype == one["truth"].dtype == one["areas"].dtype == torch.uint8


def test_loader_processes_are_for_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskupe_training.data.batches.machine_threads", lambda: 16)
    assert automatic_workers(torch.device("cuda"), 1) == 15
    assert automatic_workers(torch.device("cuda"), 4) == 3
    assert automatic_workers(torch.device("cpu"), 1) == 0


def test_processes_share_what_they_decode(data_root: Path, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    shutil.copy(data_root / "photos" / "f0.png", path)
    folder = tmp_path / "decoded"
    first = ImageCache(24, folder=folder).get(path)
    (stored,) = folder.iterdir()
    np.testing.assert_array_equal(np.load(stored), first)
    np.save(stored, first + 1)  # so that one sees where the next one has it from
    np.testing.assert_array_equal(ImageCache(24, folder=folder).get(path), first + 1)
    stored.write_bytes(b"damaged")
    np.testing.assert_array_equal(ImageCache(24, folder=folder).get(path), first)
    # Another picture by that name, and another size, are others.
    shutil.copy(data_root / "photos" / "f1.png", path)
    assert not np.array_equal(ImageCache(24, folder=folder).get(path), first)
    assert ImageCache(12, folder=folder).get(path).shape == (12, 12, 3)


def test_a_full_disk_only_costs_the_sharing(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = SimpleNamespace(free=1 << 20)
    monkeypatch.setattr("maskupe_training.data.images.shutil.disk_usage", lambda _: full)
    image = ImageCache(24, folder=tmp_path).get(data_root / "photos" / "f0.png")
    assert image.shape == (24, 24, 3) and not list(tmp_path.iterdir())
