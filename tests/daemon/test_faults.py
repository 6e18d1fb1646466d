"""Faults on purpose: a hung daemon, full disks, jumping clocks, crowds, slow readers."""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from maskupe_client.client import Client
from maskupe_client.connection import read_connection
from maskupe_client.errors import NotAnsweringError
from tests.daemon.running import (
    REST,
    ROOT,
    assert_memory_stays_flat,
    assert_right,
    region,
    request_for,
    serves,
)


def test_a_hung_daemon_is_noticed(start, monkeypatch):
    hung = start()
    client = hung.connect()
    monkeypatch.setattr(client._channel.stream, "silence", 1.0)
    image, selection = region(np.random.default_rng(8))
    request, planes = request_for(image, selection, model="slow-200")

    def stop_it(progress):
        if progress.stage == "running":
            hung.process.send_signal(signal.SIGSTOP)

    with pytest.raises(NotAnsweringError):
        client.enhance(request, planes, stop_it)
    hung.process.send_signal(signal.SIGCONT)
    hung.await_status(running=0, served=0)  # the client hung up, so the job ended early
    assert "lost client=" in hung.log


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_does_not_stop_the_work_of_logging(start, home):
    (home / "daemon.log").symlink_to("/dev/full")
    full = start()
    serves(full)
    full.await_status(served=1)
    assert "ok client=" in full.stderr
    full.terminate()
    assert full.wait() == 0


def test_a_full_disk_at_the_start_is_a_sentence(start):
    """No byte can be written, so there can be no connection file."""
    no_room = start(wait=False, before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)))
    assert no_room.wait(30) == 4
    assert not (no_room.home / "connection.json").exists()
    assert not (no_room.home / "daemon.sock").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize(
    ("inodes", "sentence"), [(2, "lock"), (3, "cannot listen"), (4, "connection file")]
)
def test_a_disk_without_room_for_our_files_is_a_sentence(home, inodes, sentence):
    """A file system with room for the directory and one, two or three of our files."""
    script = (
        f"mount -t tmpfs -o size=64k,nr_inodes={inodes},mode=0700 none {home} || exit 77; "
        f"MASKUPE_STATE_DIR={home} {sys.executable} -m tests.daemon.stand_in run; "
        f"status=$?; ls {home}; exit $status"
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if done.returncode in (1, 77):
        pytest.skip("no mount namespace here")
    assert done.returncode == 4
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert "daemon.sock" not in done.stdout


def test_clock_jumps_change_nothing(start):
    """The wall clock jumps by months at every look; deadlines use another clock."""
    dizzy = start("--idle-unload", "60", env={"MASKUPE_TEST_CLOCK": "jumps"})
    image, selection = region(np.random.default_rng(9))
    request, planes = request_for(image, selection, model="slow-4")
    with dizzy.connect() as client:
        for _ in range(3):
            _, answer = client.enhance(request, planes)
            assert_right(answer, image, selection, request)
        status = client.status()
    assert status["loaded"] == ["slow-4"]
    assert 0 <= status["uptime_seconds"] < 600


def open_and_close(endpoint, count):
    for _ in range(count):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(endpoint.removeprefix("ipc://"))


@pytest.mark.parametrize("count", [1000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_open_and_close(daemon, count):
    endpoint = read_connection(daemon.home).endpoint
    open_and_close(endpoint, 100)
    serves(daemon)
    descriptors = Path(f"/proc/{daemon.process.pid}/fd")
    before = len(list(descriptors.iterdir())), daemon.status()["resident_bytes"]
    open_and_close(endpoint, count)
    for _ in range(count // 100):  # and whole greetings
        with Client.connect(directory=daemon.home):
            pass
    serves(daemon)
    deadline = time.monotonic() + 10
    while len(list(descriptors.iterdir())) > before[0] + 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert daemon.status()["resident_bytes"] < before[1] * 1.2 + 5e6


def test_more_connections_than_open_files_are_allowed(start):
    """libzmq would end the process; the daemon raises the limit as far as it may."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    modest = start(before=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard)))
    path = read_connection(modest.home).endpoint.removeprefix("ipc://")
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(socket.socket(socket.AF_UNIX)).connect(path)
        serves(modest)


def test_a_program_with_very_many_open_files_can_be_a_client(daemon):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(2048, limits[1]), limits[1]))
    try:
        with contextlib.ExitStack() as stack, Path(os.devnull).open() as file:
            number = 0
            while number < 1024:  # beyond what select() takes
                number = os.dup(file.fileno())
                stack.callback(os.close, number)
            serves(daemon)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


class SlowSocket:
    """A socket that calls ``between`` before each of its small reads."""

    def __init__(self, sock, between):
        self._socket = sock
        self._between = between

    def __getattr__(self, name):
        return getattr(self._socket, name)

    def recv_into(self, view):
        self._between()
        return self._socket.recv_into(view[: 1 << 18])


def test_a_client_that_reads_slowly_gets_everything(daemon):
    """Between any two small pieces of its result another client is served."""
    image, selection = region(np.random.default_rng(10), (1500, 2000, 4))
    request, planes = request_for(image, selection)
    unread = []
    with daemon.connect() as slow, daemon.connect() as other:
        stream = slow._channel.stream
        stream._socket = SlowSocket(
            stream._socket, lambda: unread.append(other.status()["unread_bytes"])
        )
        _, answer = slow.enhance(request, planes)
    assert_right(answer, image, selection, request)
    assert unread.count(image.nbytes) > 20


def test_many_clients_with_mixed_jobs(daemon):
    """16 clients, 50 jobs each, of every depth and size; every answer is checked."""
    wrong, lock = [], threading.Lock()

    def work(number):
        rng = np.random.default_rng(number)
        with daemon.connect(name=f"client-{number}") as client:
            for _ in range(50):
                shape = (
                    int(rng.integers(8, 60)),
                    int(rng.integers(8, 60)),
                    int(rng.integers(1, 5)),
                )
                image, selection = region(rng, shape, rng.choice(["u8", "u16", "f32"]))
                strength = float(rng.uniform(0.1, 2))
                width = float(rng.uniform(0, 9))
                request, planes = request_for(image, selection, strength=strength, width=width)
                try:
                    _, answer = client.enhance(request, planes)
                    assert_right(answer, image, selection, request)
                except Exception as error:
                    with lock:
                        wrong.append(error)

    served = daemon.status()["served"]
    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert daemon.status()["served"] == served + 800


def test_memory_stays_flat(start):
    resting = start(env={"MASKUPE_TEST_REST": str(REST)})
    assert_memory_stays_flat(resting, "quick", ("broken", "failed"))
