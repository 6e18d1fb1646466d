"""The documents' examples run: on photographs that are there under the names they use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from maskupe.cli import main
from maskupe.registry import available
from tests import photographs as ph
from tools.docs.commands import ours
from tools.docs.markdown import DOCUMENTS, code_blocks, read, shell_lines, short

pytestmark = pytest.mark.skipif(
    "default" not in available(), reason="the default model's weights are not in this checkout"
)

#: Large enough for the transition of 40 pixels that an example asks for.
SIZE = (240, 320)


def commands(path: Path) -> list[list[str]]:
    found = (ours(line) for line in shell_lines(code_blocks(read(path))))
    # The demo starts a daemon and has tests of its own; a model of the reader's own is not here.
    return [
        words
        for words in found
        if words and words[0] == "maskupe" and words[1] != "demo" and "--model" not in words
    ]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a reader could stand: the photographs that the examples name, and their masks."""
    monkeypatch.chdir(tmp_path)
    for name in ("photo.jpg", "scan.tif"):
        ph.save(tmp_path / name, ph.scene(*SIZE))
    ph.save(tmp_path / "mask.png", ph.disc(*SIZE))
    (tmp_path / "jobs.csv").write_text("photo,mask,output\nphoto.jpg,mask.png,batch.jpg\n")
    yield tmp_path


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if commands(path)], ids=short)
def test_the_commands_do_what_they_say(path: Path, folder: Path, capfd) -> None:
    for words in commands(path):
        assert main(words[1:]) == 0, f"{' '.join(words)}: {capfd.readouterr().err}"
        for option in ("-o", "--output"):
            if option in words:
                assert (folder / words[words.index(option) + 1]).stat().st_size > 100
        if words[1] == "batch":
            assert (folder / "batch.jpg").is_file()
    assert "lantern" in capfd.readouterr().out or ["maskupe", "models"] not in commands(path)


def test_the_readme_shows_the_main_commands() -> None:
    readme = next(path for path in DOCUMENTS if path.name == "README.md")
    assert {words[1] for words in commands(readme)} >= {"enhance", "batch", "models"}


@pytest.mark.parametrize("path", DOCUMENTS, ids=short)
def test_python_examples_run(path: Path, folder: Path) -> None:
    for block in code_blocks(read(path)):
        if block.language != "python":
            continue
        # What the reader is assumed to have; what an example defines, the next one may use.
        names = {"image": ph.scene(), "selection": ph.disc() > 0}
        exec(compile(block.text, short(path), "exec"), names)
        if "result" in names:
            assert names["result"].shape == names["image"].shape
            assert (names["result"] != names["image"]).any()
