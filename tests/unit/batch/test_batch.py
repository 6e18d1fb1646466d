"""Batches: manifests with every slip, threads, a real Ray cluster, skipping, failures."""

from __future__ import annotations

import csv
import json
import os
import shutil
import socket
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import tifffile

from maskupe.batch import is_done, read_manifest, run_local
from maskupe.batch.cluster import run_on_ray
from maskupe.cli import main
from maskupe.errors import InputError
from tests import photographs as ph
from tests.untrained import write_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    return str(write_weights(tmp_path_factory.mktemp("weights")))


@pytest.fixture
def folder(tmp_path, weights) -> Path:
    """Four photos of different sizes and kinds with masks, and a manifest."""
    rows = []
    for number, suffix in enumerate([".png", ".jpg", ".tif", ".png"]):
        size = (40 + 6 * number, 64 - 5 * number)
        ph.save(tmp_path / f"{number}{suffix}", ph.scene(*size))
        ph.save(tmp_path / f"m{number}.png", ph.disc(*size))
        rows.append(
            {
                "photo": f"{number}{suffix}",
                "mask": f"m{number}.png",
                "output": f"out{number}{suffix}",
                "model": weights,
                "strength": "" if number else "0.5",
                "transition": "5" if number == 2 else "",
                "denoise": ("0", "", "0.4", "auto")[number],
                "warmth": ("", "-0.75", "0", "1")[number],
                "saturation": ("0.5", "", "-1", "")[number],
                "edges": ("", "off", "9", "auto")[number],
            }
        )
    with (tmp_path / "jobs.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with (tmp_path / "jobs.jsonl").open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps({k: v for k, v in row.items() if v}) + "\n\n")
    return tmp_path


EUROPEAN = """Photo;Mask;OUTPUT;strength;Transition;denoise;;
0.png;m0.png;o0.png;0,5;12,5;auto;;
;;;;;;;
  ;; ;;;;;

1.jpg;;o1.jpg;+1,25;;0,75;;
"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [";", "\t", "|"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_table_as_european_spreadsheets_write_it(tmp_path, encoding, separator, newline):
    text = EUROPEAN.replace(";", separator).replace("\n", newline)
    if separator == "|":  # of its own choice, which Excel says in a line before
        text = f"sep=|{newline}{text}"
    (tmp_path / "jobs.csv").write_bytes(text.encode(encoding))
    first, second = read_manifest(tmp_path / "jobs.csv")
    assert first.photo == tmp_path / "0.png" and first.mask == tmp_path / "m0.png"
    assert (first.strength, first.transition.width, first.denoise) == (0.5, 12.5, "auto")
    assert second.output == tmp_path / "o1.jpg" and second.mask is None
    assert (second.strength, second.transition.width, second.denoise) == (1.25, "auto", 0.75)


def test_commas_in_quotes_and_in_names(tmp_path):
    text = 'photo,output,strength\n"a, b.png","c;d.png","0,5"\n'
    (tmp_path / "jobs.csv").write_text(text)
    (job,) = read_manifest(tmp_path / "jobs.csv")
    assert (job.photo.name, job.output.name, job.strength) == ("a, b.png", "c;d.png", 0.5)


def test_links_in_a_circle_are_told_with_their_line(tmp_path):
    (tmp_path / "one.png").symlink_to("two.png")
    (tmp_path / "two.png").symlink_to("one.png")
    ph.save(tmp_path / "a.png", ph.scene())
    for row in ("one.png,,o.png", "a.png,two.png,o.png", "a.png,,one.png"):
        (tmp_path / "jobs.csv").write_text(f"photo,mask,output\n{row}\n")
        assert main(["batch", str(tmp_path / "jobs.csv")]) in (1, 2)
        if sys.version_info < (3, 13):  # later ones follow no further and let the file be missing
            with pytest.raises(InputError, match=r"line 2: .* links lead in a circle"):
                read_manifest(tmp_path / "jobs.csv")
    assert (tmp_path / "one.png").is_symlink()


def outputs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("out*"))}


def test_csv_and_json_lines_mean_the_same(folder):
    jobs = read_manifest(folder / "jobs.csv")
    assert jobs == read_manifest(folder / "jobs.jsonl")
    assert [job.transition.edges for job in jobs] == ["auto", "off", 9.0, "auto"]
    assert [job.denoise for job in jobs] == [0.0, "auto", 0.4, "auto"]
    assert [job.warmth for job in jobs] == [0.0, -0.75, 0.0, 1.0]
    assert [job.saturation for job in jobs] == [0.5, 0.0, -1.0, 0.0]


def test_a_batch_gives_what_single_commands_give(folder, capsys):
    jobs = read_manifest(folder / "jobs.csv")
    for job in jobs:
        command = ["enhance", job.photo, "--mask", job.mask, "-o", job.output, "--model", job.model]
        command += ["--strength", job.strength, "--transition", job.transition.width]
        command += ["--edges", job.transition.edges, "--denoise", job.denoise]
        command += ["--warmth", job.warmth, "--saturation", job.saturation]
        assert main([str(part) for part in command]) == 0
    expected = outputs(folder)
    assert len(expected) == 4
    for path in folder.glob("out*"):
        path.unlink()
    capsys.readouterr()
    assert main(["batch", str(folder / "jobs.csv"), "--workers", "2"]) == 0
    assert "4 done, 0 done before, 0 failed" in capsys.readouterr().out
    assert outputs(folder) == expected


def test_what_is_done_is_skipped_until_its_sources_change(folder, capsys):
    manifest = str(folder / "jobs.jsonl")
    assert main(["batch", manifest]) == 0
    before = {path: path.stat().st_mtime_ns for path in folder.glob("out*")}
    capsys.readouterr()
    assert main(["batch", manifest]) == 0
    assert "0 done, 4 done before" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in folder.glob("out*")}
    later = time.time() + 10
    os.utime(folder / "m1.png", (later, later))
    assert main(["batch", manifest]) == 0
    assert "1 done, 3 done before" in capsys.readouterr().out
    assert main(["batch", manifest, "--force"]) == 0
    assert "4 done, 0 done before" in capsys.readouterr().out


def test_every_path_counts_from_the_manifest_s_folder(folder, weights):
    shutil.copytree(Path(weights).parent, folder / "weights")
    model = f"weights/{Path(weights).name}"
    row = {"photo": "0.png", "mask": "m0.png", "output": "out.png", "model": model}
    (folder / "own.jsonl").write_text(json.dumps(row), encoding="utf-8")
    assert main(["batch", str(folder / "own.jsonl")]) == 0
    assert (folder / "out.png").is_file()


def test_failures_are_listed_and_the_others_go_on(folder, capsys):
    (folder / "1.jpg").write_bytes(b"no picture at all")
    (folder / "m2.png").unlink()
    assert main(["batch", str(folder / "jobs.csv"), "--workers", "2"]) == 1
    captured = capsys.readouterr()
    assert "2 done, 0 done before, 2 failed" in captured.out
    lines = captured.err.strip().splitlines()
    assert len(lines) == 2
    assert any("1.jpg" in line and "not a PNG" in line for line in lines)
    assert any("m2.png" in line and "no file" in line for line in lines)
    assert sorted(outputs(folder)) == ["out0.png", "out3.png"]
    assert not list(folder.glob(".*"))


def test_what_was_lost_is_said_of_each_photo(folder, weights, capsys):
    tifffile.imwrite(folder / "deep.tif", ph.scene(dtype=np.uint16), photometric="rgb")
    row = {"photo": "deep.tif", "output": "out.jpg", "model": weights}
    (folder / "one.jsonl").write_text(json.dumps(row), encoding="utf-8")
    assert main(["batch", str(folder / "one.jsonl")]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert "deep.tif: JPEG holds 8 bits per channel" in line


def test_stopping_in_the_middle_leaves_no_half_files(folder):
    jobs = read_manifest(folder / "jobs.csv")
    results = run_local(jobs, workers=1, device="cpu")
    first = next(results)
    assert not first.error
    results.close()
    assert is_done(first.job)
    assert not list(folder.glob(".*"))
    for path in folder.glob("out*"):
        assert path.stat().st_size > 100


@pytest.mark.timeout(300)
def test_a_ray_cluster_gives_the_same_bytes(folder, monkeypatch):
    if find_spec("ray") is None:  # importing it here would be before its token is set
        pytest.skip("needs the extra ray")
    # Ray looks for what to send to its workers in the working directory.
    monkeypatch.chdir(folder)
    jobs = read_manifest(Path("jobs.csv"))
    assert [r.error for r in run_local(jobs, workers=2, device="cpu")] == [""] * 4
    expected = outputs(folder)
    for path in folder.glob("out*"):
        path.unlink()
    results = list(run_on_ray(jobs, "local", workers=2, device="cpu"))
    assert [r.error for r in results] == [""] * 4
    assert {r.job.output for r in results} == {job.output.absolute() for job in jobs}
    assert outputs(folder) == expected


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("a.txt", "photo,output\na.png,b.png\n", "neither .csv nor .jsonl"),
        ("a.csv", "", "names no photographs"),
        ("a.csv", "photo,output\n", "names no photographs"),
        ("a.csv", "photo,mask\na.png,m.png\n", "line 2: It names no output"),
        ("a.csv", "photo,output,colour\na.png,b.png,red\n", "line 2: The option 'colour'"),
        ("a.csv", "photo,output\na.png,b.png,c.png\n", "line 2: It has more values"),
        ("a.csv", "photo,output\na.png,b.png\nc.png,b.png\n", "line 3: The output"),
        ("a.csv", "photo,output\na.png,a.png\n", "line 2: The output"),
        ("a.csv", "photo,output\na.png,b.png\nc.png,a.png\n", "the photo or mask of line 2"),
        ("a.csv", "photo,mask,output\na.png,m.png,m.png\n", "the photo or mask of line 2"),
        ("a.csv", "photo,output\na.png,b.gif\n", "line 2: The output b.gif does not say its"),
        ("a.csv", "photo,output,strength\na.png,b.png,3\n", "line 2: A strength of 3.0 is out"),
        ("a.csv", "photo,output,quality\na.png,b.png,0\n", "line 2: The JPEG quality 0"),
        ("a.csv", "photo,output,quality\na.png,b.png,9.5\n", "The quality '9.5' is not a whole"),
        ("a.jsonl", '{"photo": "a.png", "output": "b.png", "quality": NaN}', "is not a whole"),
        ("a.jsonl", '{"photo": "a.png", "output": "b.png", "model": "no"}', "no model 'no'"),
        ("a.csv", "photo,output,model\na.png,b.png,m.safetensors\n", "There is no weight file"),
        ("a.jsonl", '{"photo": "a\\u0000.png", "output": "b.png"}', "is not a path"),
        ("a.jsonl", "[" * 100_000, "line 1: It is not JSON"),
        ("a.jsonl", '{"photo": "", "output": "b.png"}', "line 1: It names no photo"),
        ("a.csv", "photo,output,strength\na.png,b.png,much\n", "The strength 'much'"),
        ("a.csv", "photo,output,transition\na.png,b.png,wide\n", "The transition 'wide'"),
        ("a.csv", "photo,output,side\na.png,b.png,up\n", "The transition side 'up'"),
        ("a.csv", "photo,output,denoise\na.png,b.png,much\n", "The noise reduction 'much' is"),
        ("a.csv", "photo,output,denoise\na.png,b.png,2\n", "A noise reduction of 2.0 is out"),
        ("a.csv", "photo,output,warmth\na.png,b.png,warm\n", "The warmth 'warm' is not a"),
        ("a.csv", "photo;output;warmth\na.png;b.png;-1,5\n", "A warmth of -1.5 is out"),
        ("a.csv", "photo,output,saturation\na.png,b.png,2\n", "A saturation of 2.0 is out"),
        ("a.csv", "photo,output,edges\na.png,b.png,far\n", "line 2: The reach 'far' for"),
        ("a.csv", "photo,output,edges\na.png,b.png,1e9\n", "line 2: The reach 1000000000.0 for"),
        ("a.jsonl", '{"photo": "a.png", "output": "b.png", "edges": true}', "reach 'True'"),
        ("a.csv", b"photo,output\n\xff\xfe\x00,b.png\n", "cannot be read"),
        ("a.jsonl", '{"photo": "a.png", "output": "b.png"}\n{"photo":\n', "line 2: It is not JSON"),
        ("a.csv", "Photo;photo;output\na.png;a.png;b.png\n", "line 1: The column 'photo' is"),
        ("a.csv", "photo;output;\na.png;b.png;c.png\n", "line 2: It has more values"),
        ("a.csv", b"photo;output\nB\xe4r.png;b.png\n", "not UTF-8. Save it as 'CSV UTF-8'"),
        ("a.jsonl", '{"photo": "a.png", "output": "b.png", "strength": 1e400}', "of inf is out"),
        ("a.jsonl", '{"photo": "a.png", "output": "b.png", "quality": 1e400}', "whole number"),
        ("a.jsonl", '{"photo": "a.png", "output": "b.png", "quality": true}', "is not a number"),
        (
            "a.jsonl",
            '{"photo": "a.png", "output": "b.png", "strength": 1' + "0" * 400 + "}",
            "is not a number",
        ),
        ("a.jsonl", '{"photo": "\\ud800.png", "output": "b.png"}', "is not a path"),
        ("a.jsonl", '{"photo": "a.png", "output": "\\udb00.png"}', "is not a path"),
        ("a.jsonl", '{"photo": "a.png", "mask": "\\ud83d", "output": "b.png"}', "is not a path"),
        ("a.jsonl", '{"photo": "a.png", "output": "b.png", "\\ud83d": 1}', "is unknown"),
        (
            "a.jsonl",
            '{"photo": "a.png", "output": "b.png", "model": "' + "x" * 5000 + '.safetensors"}',
            "There is no weight file",
        ),
        ("a.jsonl", "[1, 2]\n", "line 1: It is not a JSON object"),
        ("a.jsonl", '{"photo": 5, "output": "b.png"}\n', "The photo 5 is not a path"),
    ],
)
def test_slips_in_a_manifest_name_their_line(tmp_path, capsys, name, text, part):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as caught:
        read_manifest(path)
    assert part in str(caught.value)
    assert main(["batch", str(path)]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_missing_manifest_and_impossible_workers(folder, capsys):
    assert main(["batch", str(folder / "no.csv")]) == 2
    assert "no manifest" in capsys.readouterr().err
    assert main(["batch", str(folder / "jobs.csv"), "--workers", "-1"]) == 2
    assert "-1 workers" in capsys.readouterr().err
    assert main(["batch", str(folder / "jobs.csv"), "--device", "abacus"]) == 2
    assert "device 'abacus'" in capsys.readouterr().err


@pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra ray")
def test_a_cluster_that_is_not_there_is_told_at_once(folder, capsys):
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert main(["batch", str(folder / "jobs.csv"), "--ray", address]) == 1
    assert f"Nobody answers at {address}" in capsys.readouterr().err
    assert main(["batch", str(folder / "jobs.csv"), "--ray", address, "--workers", "-1"]) == 2
    assert "-1 workers" in capsys.readouterr().err
