"""Files for their owner only: whole or not at all, and never through a link."""

import json
import os
import stat

import pytest

from maskupe_daemon.private import create_json, replace_json


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_replacing_is_for_the_owner_only_and_leaves_nothing_beside(tmp_path):
    path = tmp_path / "file.json"
    path.write_text("old")
    path.chmod(0o644)
    replace_json(path, {"new": 1})
    assert json.loads(path.read_text()) == {"new": 1}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert names(tmp_path) == ["file.json"]


def test_what_cannot_be_written_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.json"
    replace_json(path, {"old": 1})
    with pytest.raises(TypeError):
        replace_json(path, {"new": 1, "then": object()})
    assert json.loads(path.read_text()) == {"old": 1}
    assert names(tmp_path) == ["file.json"]


def test_the_rest_of_a_process_that_was_killed_is_no_hindrance(tmp_path):
    path = tmp_path / "file.json"
    (tmp_path / f".file.json.{os.getpid()}").write_text("half")
    replace_json(path, {"new": 1})
    assert names(tmp_path) == ["file.json"]


def test_creating_overwrites_nothing_and_follows_no_link(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "link").symlink_to(precious)
    (tmp_path / "dangling").symlink_to(tmp_path / "elsewhere")
    for name in ("precious", "link", "dangling"):
        with pytest.raises(FileExistsError):
            create_json(tmp_path / name, {})
    assert precious.read_text() == "precious"
    assert not (tmp_path / "elsewhere").exists()
