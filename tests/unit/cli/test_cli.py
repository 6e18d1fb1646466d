"""The command line, from arguments to files, exit statuses and sentences."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

import maskupe
from maskupe import Enhancer, Transition
from maskupe.cli import main
from maskupe.io import read_photo
from tests import photographs as ph
from tests.untrained import write_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    return str(write_weights(tmp_path_factory.mktemp("weights")))


@pytest.fixture
def photo(tmp_path) -> Path:
    return ph.save(tmp_path / "photo.png", ph.scene(), dpi=(300, 300), icc_profile=ph.profile())


@pytest.fixture
def mask(tmp_path) -> Path:
    return ph.save(tmp_path / "mask.png", ph.disc())


def sentence(capsys, *arguments: object, status: int = 2) -> str:
    """Runs a command that must fail; returns the one line that it says on stderr."""
    assert main([str(argument) for argument in arguments]) == status
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("maskupe: ") and lines[0].endswith(".")
    assert captured.out == ""
    return lines[0]


# Every depth and every count of channels; all pairs of them are read and written in test_files.py.
@pytest.mark.parametrize(
    ("dtype", "channels"),
    [(np.uint8, 2), (np.uint8, 3), (np.uint16, 4), (np.float32, 1), (np.float32, 3)],
)
def test_enhance_writes_what_the_library_gives(tmp_path, weights, mask, capsys, dtype, channels):
    pixels = ph.scene(channels=channels, dtype=dtype)
    tifffile.imwrite(
        tmp_path / "in.tif",
        pixels,
        photometric="rgb" if channels > 2 else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
    )
    target = tmp_path / "out.tif"
    command = ["enhance", tmp_path / "in.tif", "--mask", mask, "-o", target, "--model", weights]
    command += ["--strength", "0.8", "--transition", "6", "--side", "centred", "--edges", "off"]
    command += ["--device", "cpu"]
    assert main([str(argument) for argument in command]) == 0
    captured = capsys.readouterr()
    assert str(target) in captured.out and captured.err == ""
    result = read_photo(target).pixels

    enhancer = Enhancer.load(weights, device="cpu")
    transition = Transition(6, "centred", "off")
    expected = enhancer.enhance(pixels, ph.disc(), strength=0.8, transition=transition)
    np.testing.assert_array_equal(result, expected)
    areas = enhancer.areas(ph.disc(), transition)
    np.testing.assert_array_equal(result[areas.c], pixels[areas.c])
    assert not np.array_equal(result[areas.a], pixels[areas.a])
    if channels in (2, 4):
        np.testing.assert_array_equal(result[..., -1], pixels[..., -1])


@pytest.mark.parametrize(
    ("written", "edges"), [("auto", "auto"), (" OFF", "off"), ("12.5", 12.5), ("0", 0.0)]
)
def test_enhance_passes_on_how_far_to_follow_edges(
    tmp_path, weights, photo, mask, monkeypatch, written, edges
):
    jobs = []
    monkeypatch.setattr("maskupe.cli.app.enhance_file", lambda job, _: jobs.append(job) or 0)
    target = tmp_path / "out.png"
    usual = ["enhance", str(photo), "--mask", str(mask), "-o", str(target), "--model", weights]
    assert main([*usual, "--edges", written]) == 0
    assert main(usual) == 0
    assert [job.transition for job in jobs] == [Transition(edges=edges), Transition()]
    monkeypatch.undo()
    assert main([*usual, "--edges", written]) == 0
    enhancer = Enhancer.load(weights, device="cpu")
    expected = enhancer.enhance(read_photo(photo).pixels, ph.disc(), transition=jobs[0].transition)
    np.testing.assert_array_equal(read_photo(target).pixels, expected)


@pytest.mark.parametrize(("written", "denoise"), [("Auto", "auto"), ("0", 0.0), ("0.35", 0.35)])
def test_enhance_passes_on_the_noise_reduction(
    tmp_path, weights, photo, mask, monkeypatch, written, denoise
):
    asked = []
    enhance_region = Enhancer.enhance_region

    def noted(self, *planes, **options):
        asked.append(options["denoise"])
        return enhance_region(self, *planes, **options)

    monkeypatch.setattr(Enhancer, "enhance_region", noted)
    command = ["enhance", str(photo), "--mask", str(mask), "-o", str(tmp_path / "out.png")]
    command += ["--model", weights]
    assert main([*command, "--denoise", written]) == 0
    assert main([*command, "--denoise", written, "--save-matte", str(tmp_path / "m.png")]) == 0
    assert main(command) == 0
    assert asked == [denoise, denoise, "auto"]


@pytest.mark.parametrize("value", ["-1", "0.4"])
@pytest.mark.parametrize("name", ["warmth", "saturation"])
def test_enhance_passes_on_the_colour_of_the_light(tmp_path, weights, photo, mask, name, value):
    command = ["enhance", str(photo), "--mask", str(mask), "--model", weights, "--device", "cpu"]
    target, matte = tmp_path / "out.png", tmp_path / "m.png"
    enhancer = Enhancer.load(weights, device="cpu")
    pixels = read_photo(photo).pixels
    expected = enhancer.enhance(pixels, ph.disc(), **{name: float(value)})
    assert not np.array_equal(expected, enhancer.enhance(pixels, ph.disc()))
    for more in ([], ["--save-matte", str(matte)]):
        assert main([*command, "-o", str(target), f"--{name}", value, *more]) == 0
        np.testing.assert_array_equal(read_photo(target).pixels, expected)


def test_the_matte_can_be_saved(tmp_path, weights, mask, capsys):
    pixels = ph.scene(channels=4, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "in.tif", pixels, photometric="rgb", extrasamples=["unassalpha"])
    target, saved = tmp_path / "out.tif", tmp_path / "matte.png"
    saved.write_bytes(b"an older file")
    command = ["enhance", tmp_path / "in.tif", "--mask", mask, "-o", target, "--model", weights]
    command += ["--transition", "9", "--save-matte", saved, "--device", "cpu"]
    assert main([str(argument) for argument in command]) == 0
    assert f"Wrote the matte {saved}." in capsys.readouterr().out
    enhancer = Enhancer.load(weights, device="cpu")
    result, matte = enhancer.enhance_with_matte(pixels, ph.disc(), transition=Transition(9))
    np.testing.assert_array_equal(read_photo(target).pixels, result)
    found = read_photo(saved)
    assert found.pixels.dtype == np.uint16 and found.pixels.shape == pixels.shape[:2]
    np.testing.assert_array_equal(found.pixels, np.rint(matte * np.float32(65535)))
    assert found.pixels.max() == 65535 and found.pixels.min() == 0


def test_a_failure_leaves_neither_result_nor_matte(
    tmp_path, weights, photo, mask, monkeypatch, capsys
):
    (tmp_path / "matte.png").write_bytes(b"an older file")
    before = sorted(tmp_path.iterdir())

    def full(*_args: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("maskupe.io.writing.Output._encode", full)
    command = ["enhance", photo, "--mask", mask, "-o", tmp_path / "out.png", "--model", weights]
    said = sentence(capsys, *command, "--save-matte", tmp_path / "matte.png", status=1)
    assert "out.png could not be written" in said
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "matte.png").read_bytes() == b"an older file"


def test_enhance_without_a_mask_takes_the_whole_photo(tmp_path, weights, photo):
    target = tmp_path / "out.png"
    assert main(["enhance", str(photo), "-o", str(target), "--model", weights]) == 0
    before, after = read_photo(photo), read_photo(target)
    changed = (before.pixels != after.pixels).any(axis=2)
    assert changed.mean() > 0.5
    assert after.metadata == before.metadata


def test_the_mask_is_given_as_the_photo_is_displayed(tmp_path, weights):
    source = ph.save(tmp_path / "p.jpg", ph.scene(48, 64), exif=ph.exif_block(6), quality=95)
    mask = ph.save(tmp_path / "m.png", ph.disc(64, 48))
    target = tmp_path / "out.png"
    command = ["enhance", str(source), "--mask", str(mask), "-o", str(target), "--model", weights]
    assert main(command) == 0
    before, after = read_photo(source).pixels, read_photo(target).pixels
    assert after.shape == (64, 48, 3)
    changed = np.argwhere((before != after).any(axis=2))
    assert abs(changed.mean(axis=0) - (32, 24)).max() < 3


def test_a_photo_may_be_replaced(tmp_path, weights, photo, mask):
    before = read_photo(photo)
    command = ["enhance", str(photo), "--mask", str(mask), "-o", str(photo), "--model", weights]
    assert main(command) == 0
    assert not np.array_equal(read_photo(photo).pixels, before.pixels)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mask.png", "photo.png"]


def test_less_depth_is_said_but_is_no_error(tmp_path, weights, capsys):
    tifffile.imwrite(tmp_path / "a.tif", ph.scene(dtype=np.uint16), photometric="rgb")
    target = tmp_path / "a.jpg"
    command = ["enhance", str(tmp_path / "a.tif"), "-o", str(target), "--model", weights]
    assert main(command) == 0
    assert "8 bits" in capsys.readouterr().err


# ---------------------------------------------------------------------------------- bad input


def test_every_slip_is_one_sentence_and_leaves_nothing(tmp_path, weights, photo, mask, capsys):
    target = tmp_path / "out.png"
    small = ph.save(tmp_path / "small.png", ph.disc(10, 10))
    black = ph.save(tmp_path / "black.png", np.zeros((48, 64), np.uint8))
    (tmp_path / "broken.png").write_bytes(photo.read_bytes()[:300])
    before = sorted(tmp_path.iterdir())

    def slip(*arguments: object, status: int = 2) -> str:
        said = sentence(capsys, "enhance", *arguments, status=status)
        assert sorted(tmp_path.iterdir()) == before
        return said

    usual = ("--mask", mask, "-o", target, "--model", weights)
    assert "no file" in slip(tmp_path / "missing.png", *usual)
    assert "damaged" in slip(tmp_path / "broken.png", *usual)
    assert "no file" in slip(photo, "--mask", tmp_path / "no.png", "-o", target)
    assert "10 × 10 and the photo 64 × 48" in slip(photo, "--mask", small, "-o", target)
    assert "black.png selects nothing" in slip(
        photo, "--mask", black, "-o", target, "--model", weights
    )
    assert "no model 'nonsense'" in slip(photo, "-o", target, "--model", "nonsense")
    assert "is a directory" in slip(photo, "--mask", mask, "-o", tmp_path)
    assert "does not say its format" in slip(photo, "-o", tmp_path / "out.bmp")
    assert "is the mask" in slip(photo, "--mask", mask, "-o", mask)
    (tmp_path / "link.png").symlink_to(target)
    before = sorted(tmp_path.iterdir())
    assert "out.png is the output" in slip(photo, *usual, "--save-matte", target)
    assert "link.png is the output" in slip(photo, *usual, "--save-matte", tmp_path / "link.png")
    assert "photo.png is the photo" in slip(photo, *usual, "--save-matte", photo)
    assert "mask.png is the mask" in slip(photo, *usual, "--save-matte", mask)
    assert "is not a PNG file" in slip(photo, *usual, "--save-matte", tmp_path / "matte.jpg")
    assert "no directory" in slip(photo, *usual, "--save-matte", tmp_path / "no" / "matte.png")
    endless = tmp_path / f"{'x' * 300}.png"
    assert "cannot be read" in slip(endless, *usual)
    assert "cannot be read" in slip(photo, "--mask", endless, "-o", target)
    assert "cannot be written" in slip(photo, "-o", endless)
    assert "strength" in slip(photo, *usual, "--strength", "9")
    assert "noise reduction 'much'" in slip(photo, *usual, "--denoise", "much")
    assert "noise reduction of 1.5 is out" in slip(photo, *usual, "--denoise", "1.5")
    assert "noise reduction of nan is out" in slip(photo, *usual, "--denoise", "nan")
    assert "warmth of -1.5 is out of range" in slip(photo, *usual, "--warmth", "-1.5")
    assert "warmth of nan is out" in slip(photo, *usual, "--warmth", "nan")
    assert "saturation of 2.0 is out of range" in slip(photo, *usual, "--saturation", "2")
    assert "transition 'wide'" in slip(photo, *usual, "--transition", "wide")
    assert "out of range" in slip(photo, *usual, "--transition", "-3")
    assert "side 'above'" in slip(photo, *usual, "--side", "above")
    assert "reach 'far' for following edges" in slip(photo, *usual, "--edges", "far")
    assert "reach -1.0 for following edges" in slip(photo, *usual, "--edges", "-1")
    assert "reach nan for following edges" in slip(photo, *usual, "--edges", "nan")
    assert "device 'abacus'" in slip(photo, *usual, "--device", "abacus")
    assert "quality 101" in slip(photo, *usual, "--quality", "101")
    missing = tmp_path / "none.safetensors"
    assert "no weight file" in slip(photo, "-o", target, "--model", missing)
    damaged = Path(weights).with_name("damaged.safetensors")
    damaged.write_bytes(b"no weights at all")
    assert "is damaged" in slip(photo, "-o", target, "--model", damaged, status=1)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["enhance"], "PHOTO"),
        (["enhance", "a.png"], "--output"),
        (["enhance", "a.png", "-o"], "-o"),
        (["enhance", "a.png", "-o", "b.png", "--loud"], "--loud"),
        (["enhance", "a.png", "-o", "b.png", "--strength", "much"], "--strength"),
        (["enhance", "a.png", "-o", "b.png", "--warmth", "warm"], "--warmth"),
        (["enhance", "a.png", "-o", "b.png", "--saturation", "much"], "--saturation"),
        (["develop"], "develop"),
        (["--nonsense"], "--nonsense"),
        (["models", "extra"], "extra"),
        (["batch"], "MANIFEST"),
    ],
)
def test_bad_usage_is_one_sentence(capsys, arguments, part):
    assert part in sentence(capsys, *arguments)


def test_debug_adds_the_traceback(capsys, tmp_path):
    command = ["enhance", str(tmp_path / "missing.png"), "-o", "out.png"]
    assert main([*command, "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err
    assert main(command) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_an_unexpected_failure_is_one_sentence_too(capsys, monkeypatch, photo, tmp_path):
    def fail(*_args: object) -> None:
        raise RuntimeError("the sky\nfell down")

    monkeypatch.setattr("maskupe.photo_job.read_photo", fail)
    said = sentence(capsys, "enhance", photo, "-o", tmp_path / "out.png", status=1)
    assert "RuntimeError: the sky fell down" in said and "--debug" in said


# ------------------------------------------------------------------------------------- the rest


def test_models_lists_the_registry(capsys):
    assert main(["models", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    names = [entry["name"] for entry in entries]
    assert {"deepupe-mconcat", "star-dce-mnorm", "deepupe", "star-dce"} <= set(names)
    assert sum(entry["default"] for entry in entries) == 1
    for entry in entries:
        assert entry["network"] and entry["conditioning"] and entry["licence"]
        if entry["installed"]:
            assert entry["training_data"] and entry["metrics"]
    assert main(["models"]) == 0
    table = capsys.readouterr().out
    assert all(name in table for name in names)


def test_help_names_the_commands(capsys):
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert all(command in shown for command in ("enhance", "models", "batch", "demo"))
    assert main(["enhance", "--help"]) == 0
    shown = capsys.readouterr().out
    options = ("mask", "strength", "denoise", "warmth", "transition", "side", "edges", "device")
    options += ("model", "saturation")
    assert all(f"--{option}" in shown for option in options)


@pytest.mark.parametrize("arguments", [["--version"], ["--version", "--debug"]])
def test_version(capsys, arguments):
    assert main(arguments) == 0
    assert capsys.readouterr().out == f"maskupe {maskupe.__version__}\n"


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["enhance", "--help"]])
def test_version_and_help_import_nothing_heavy(arguments):
    program = (
        "import sys; from maskupe.cli import main; status = main(sys.argv[1:]); "
        "heavy = {'torch', 'cv2', 'numpy', 'onnxruntime', 'rich', 'tifffile', 'pydantic'};"
        "heavy &= set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else status)"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True)
    assert done.returncode == 0, done.stderr
