"""What memory there is, in a control group too, and throwing planes away elsewhere."""

import threading
import time

import psutil
import pytest

from maskupe import memory as limits
from maskupe_daemon import memory


@pytest.fixture
def control_group(tmp_path, monkeypatch):
    """Writes the files of a control group of which this process is a member."""
    monkeypatch.setattr(limits, "_CONTROL_GROUPS", tmp_path)
    monkeypatch.setattr(limits, "_OUR_GROUP", tmp_path / "membership")
    group = tmp_path / "user.slice" / "maskupe.service"
    group.mkdir(parents=True)
    (tmp_path / "membership").write_text("1:name=old:/\n0::/user.slice/maskupe.service\n")

    def write(**files):
        for name, text in files.items():
            (group / f"memory.{name}").write_text(text)

    return write


def test_a_control_group_limits_what_there_is(control_group):
    control_group(max="5000000\n", current="3000000\n")
    assert memory.total_bytes() == 5_000_000
    assert memory.free_bytes() == 2_000_000


def test_cached_files_count_as_free(control_group):
    control_group(max="5000000\n", current="4900000\n")
    control_group(stat="anon 100000\ninactive_file_x 1\ninactive_file 3000000\nactive_file 7\n")
    assert memory.free_bytes() == 3_100_000


def test_without_a_limit_the_machine_counts(control_group, tmp_path):
    control_group(max="max\n", current="3000000\n")
    assert memory.total_bytes() == psutil.virtual_memory().total
    assert memory.free_bytes() > 5_000_000
    (tmp_path / "membership").write_text("1:name=old:/\n")
    assert memory.total_bytes() == psutil.virtual_memory().total


def test_a_control_group_of_the_first_version_limits_too(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "_CONTROL_GROUPS", tmp_path)
    monkeypatch.setattr(limits, "_OUR_GROUP", tmp_path / "membership")
    # In a container the own group is shown as the root, whatever it is called outside.
    (tmp_path / "membership").write_text("9:cpu,memory:/docker/5ac9\n1:name=systemd:/\n0::/\n")
    group = tmp_path / "memory"
    group.mkdir()
    (group / "memory.limit_in_bytes").write_text("5000000\n")
    (group / "memory.usage_in_bytes").write_text("4900000\n")
    (group / "memory.stat").write_text("inactive_file 7\ntotal_inactive_file 3000000\n")
    assert memory.total_bytes() == 5_000_000
    assert memory.free_bytes() == 3_100_000
    (group / "memory.limit_in_bytes").write_text("9223372036854771712\n")  # none
    assert memory.total_bytes() == psutil.virtual_memory().total


def test_what_is_discarded_ends_in_another_thread():
    ended = []

    class Plane:
        def __del__(self):
            ended.append(threading.current_thread())

    planes = [Plane(), Plane()]
    memory.free_in_background(planes)
    assert planes == []
    deadline = time.monotonic() + 10
    while len(ended) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert threading.current_thread() not in ended
