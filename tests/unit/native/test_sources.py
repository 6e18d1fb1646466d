"""A compiled kernel is used only beside the sources that it was built from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from maskupe.native import library, sources

HERE = Path(library.__file__).parent


def test_the_digest_follows_every_source_and_nothing_else(tmp_path):
    for path in [*HERE.glob("*.c"), *HERE.glob("*.h")]:
        shutil.copy(path, tmp_path)
    assert sources.digest(tmp_path) == sources.digest(HERE)
    (tmp_path / "notes.txt").write_text("not compiled")
    assert sources.digest(tmp_path) == sources.digest(HERE)
    header = tmp_path / "job.h"
    header.write_text(header.read_text() + "\n")
    assert sources.digest(tmp_path) != sources.digest(HERE)
    header.rename(tmp_path / "work.h")
    assert sources.digest(tmp_path) not in (sources.digest(HERE), None)


def test_a_folder_without_sources_has_none(tmp_path):
    assert sources.digest(tmp_path) is None


@pytest.mark.skipif(library.load() is None, reason="there is no compiled kernel here")
def test_a_library_of_other_sources_is_refused(monkeypatch):
    path = next(path for path in library.candidates() if path.is_file())
    library.open_library(path)
    monkeypatch.setattr(sources, "digest", lambda _folder: 1)
    with pytest.raises(OSError, match="other sources"):
        library.open_library(path)
    monkeypatch.setattr(sources, "digest", lambda _folder: None)  # as in a wheel
    library.open_library(path)
