"""Files and folders for their owner only: whole or not at all, and never through a link."""

import json
import os
import stat

import pytest

from maskupe_daemon.permissions import AccessError, create_json, replace_json, secure_directory


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


def test_a_directory_is_made_for_its_owner_and_closed_to_others(tmp_path):
    path = tmp_path / "a" / "b"
    secure_directory(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    path.chmod(0o775)
    with pytest.raises(AccessError, match="entered by others"):
        secure_directory(path, close=False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o775
    secure_directory(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_directory_for_all_is_left_as_it_is(tmp_path):
    shared = tmp_path / "like-tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    with pytest.raises(AccessError, match="entered by others"):
        secure_directory(shared)
    assert stat.S_IMODE(shared.stat().st_mode) == 0o1777


def test_a_link_or_a_file_is_no_directory_of_ours(tmp_path):
    (tmp_path / "real").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").touch()
    for name in ("link", "file"):
        with pytest.raises(AccessError):
            secure_directory(tmp_path / name)
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o755
