"""Faults on purpose: clients that talk nonsense, full queues and disks, jumping clocks."""

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

import msgpack
import numpy as np
import pytest

from maskupe_daemon.client import Client
from maskupe_daemon.connection import read_connection
from maskupe_daemon.failures import AnswerError, NotAnsweringError
from maskupe_daemon.messages import parse
from maskupe_daemon.wire import new_id, pack
from tests.daemon.running import (
    ROOT,
    assert_right,
    dealer_to,
    region,
    request_for,
    serves,
)


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([b"garbage"], "bad-header"),
        ([], "bad-header"),
        ([pack({"type": "hello", "id": "x"}), b"what is this"], "bad-planes"),
        ([pack({"type": "hello", "id": "x"})] + [b""] * 9, "bad-planes"),
        ([pack({"type": "status", "id": "x"})] + [b""] * 500, "bad-planes"),
        ([msgpack.packb({"v": 9, "type": "hello", "id": "x"})], "version"),
        ([pack({"type": "dance", "id": "x"})], "unsupported"),
        ([pack({"type": "welcome", "id": "x"})], "unsupported"),
        ([bytes(70_000)], "bad-header"),
    ],
)
def test_bad_messages_are_answered_and_the_daemon_goes_on(daemon, frames, code):
    context, dealer = dealer_to(daemon)
    dealer.send_multipart(frames or [b""])
    assert dealer.poll(10_000)
    answer = parse(dealer.recv(), "daemon")
    assert (answer["type"], answer["code"]) == ("error", code)
    assert answer["message"].endswith(".")
    dealer.send(pack({"type": "hello", "id": "y", "future": [1]}))
    assert dealer.poll(10_000)
    assert parse(dealer.recv(), "daemon")["type"] == "welcome"
    context.destroy(linger=0)


def test_planes_of_the_wrong_size(daemon):
    image, selection = region(np.random.default_rng(2))
    request, _ = request_for(image, selection)
    context, dealer = dealer_to(daemon)
    for planes in ([], [image], [image, selection[:-1]], [image, selection, b"x"]):
        dealer.send_multipart([pack(request.header()), *planes])
        assert dealer.poll(10_000)
        answer = parse(dealer.recv(), "daemon")
        assert (answer["id"], answer["code"]) == (request.id, "bad-planes")
    context.destroy(linger=0)


def test_an_id_that_is_in_use(daemon):
    image, selection = region(np.random.default_rng(3))
    request, planes = request_for(image, selection, model="slow-20")
    other, _ = request_for(image, selection, model="slow-20", strength=0.5, id=request.id)
    context, dealer = dealer_to(daemon)
    dealer.send_multipart([pack(request.header()), *planes])
    dealer.send_multipart([pack(other.header()), *planes])
    kinds = {}
    while "result" not in kinds:
        assert dealer.poll(10_000)
        frames = dealer.recv_multipart()
        answer = parse(frames[0], "daemon")
        kinds[answer["type"]] = (answer, frames[1:])
    assert kinds["error"][0]["code"] == "id-in-use"
    assert_right({"image": kinds["result"][1][0]}, image, selection, request)
    context.destroy(linger=0)


def test_a_repeated_request_is_one_job_and_answers_the_newer_connection(daemon):
    image, selection = region(np.random.default_rng(4))
    request, planes = request_for(image, selection, model="slow-20")
    served = daemon.status()["served"]
    context, dealer = dealer_to(daemon)
    dealer.send_multipart([pack(request.header()), *planes])
    daemon.await_status(running=1)
    with daemon.connect() as client:
        _, answer = client.enhance(request, planes)
    assert_right(answer, image, selection, request)
    assert daemon.status()["served"] == served + 1
    context.destroy(linger=0)


def test_a_full_queue_says_how_many_are_ahead(daemon):
    image, selection = region(np.random.default_rng(5))
    context, dealer = dealer_to(daemon)
    most = 16 + 1  # the share of one client, and the one that runs
    identifiers = [new_id() for _ in range(most + 2)]
    for identifier in identifiers:
        request, planes = request_for(image, selection, model="slow-20", id=identifier)
        dealer.send_multipart([pack(request.header()), *planes])
    answers = {}
    while len(answers) < 2:
        assert dealer.poll(10_000)
        answer = parse(dealer.recv_multipart()[0], "daemon")
        if answer["type"] == "error":
            answers[answer["id"]] = answer
        elif answer["type"] == "progress" and answer["stage"] == "queued":
            assert answer["position"] == identifiers.index(answer["id"])
    assert set(answers) == set(identifiers[-2:])
    for answer in answers.values():
        assert answer["code"] == "busy"
        assert answer["position"] == most
        assert answer["retry_after"] > 0
    with daemon.connect() as client:  # another client still has its own share and its turn
        client.enhance(*request_for(image, selection))
        assert client.status()["queued"] > 0
        for identifier in identifiers[:most]:
            client.cancel(identifier)
    daemon.await_status(running=0, queued=0)
    context.destroy(linger=0)


@pytest.fixture
def full_queue(start):
    """A daemon whose queue one job fills: another one runs, for a second, and one waits."""
    daemon = start(env={"MASKUPE_TEST_TOTAL_BYTES": str(400_000)})
    request, planes = request_for(*region(np.random.default_rng(0), (120, 150, 3)))
    context, dealer = dealer_to(daemon)
    for _ in range(2):
        dealer.send_multipart(
            [pack({**request.header(), "id": new_id(), "model": "slow-20"}), *planes]
        )
    daemon.await_status(running=1, queued=1)
    yield daemon
    context.destroy(linger=0)


def test_a_client_waits_for_its_turn_when_the_queue_is_full(full_queue):
    image, selection = region(np.random.default_rng(1), (120, 150, 3))
    request, planes = request_for(image, selection)
    heard = []
    with full_queue.connect() as client:
        _, answer = client.enhance(request, planes, heard.append)
    assert_right(answer, image, selection, request)
    assert max(now.position for now in heard if now.stage == "queued") == 2
    assert len(heard) > 10  # a user interface stays alive while it waits


def test_patience_with_a_full_queue_ends(full_queue):
    request, planes = request_for(*region(np.random.default_rng(1), (120, 150, 3)))
    with full_queue.connect() as client:
        with pytest.raises(AnswerError, match="2 jobs are ahead") as caught:
            client.enhance(request, planes, patience=0.2)
        assert caught.value.code == "busy"
        assert caught.value.position == 2

        class EnoughError(Exception):
            pass

        def enough(now):
            if now.position:
                raise EnoughError

        with pytest.raises(EnoughError):  # a person may lose patience earlier
            client.enhance(request, planes, enough)
        assert client.status()["queued"] == 1


def test_what_is_over_a_limit_is_refused_in_words(start):
    tight = start(env={"MASKUPE_TEST_TOTAL_BYTES": str(400_000)})  # a quarter may be one job's
    image, selection = region(np.random.default_rng(6), (200, 300, 3))
    request, planes = request_for(image, selection)
    with tight.connect() as client:
        assert client.welcome["limits"]["max_total"] == 100_000
        with pytest.raises(AnswerError, match="takes at most") as caught:
            client.enhance(request, planes)
        assert caught.value.code == "too-large"
    # A client that does not care: a frame over the limit is not even taken in.
    context, dealer = dealer_to(tight)
    dealer.send_multipart([pack(request.header()), *planes])
    assert not dealer.poll(500)
    # Planes that fit one by one but not together.
    halves = request_for(*region(np.random.default_rng(6), (180, 180, 3)), context=None)
    dealer.send_multipart([pack(halves[0].header()), *halves[1]])
    assert dealer.poll(10_000)
    assert parse(dealer.recv(), "daemon")["code"] == "too-large"
    context.destroy(linger=0)
    serves(tight, (40, 60, 3))


def test_a_job_that_does_not_fit_into_memory_is_refused_before_it_starts(start):
    starved = start(env={"MASKUPE_TEST_FREE_BYTES": str(150 * 1024 * 1024)})
    image, selection = region(np.random.default_rng(7))
    with starved.connect() as client, pytest.raises(AnswerError, match="GB are free") as caught:
        client.enhance(*request_for(image, selection))
    assert caught.value.code == "out-of-memory"
    assert "smaller part" in caught.value.hint


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
    hung.await_status(running=0, timeout=9)  # the client hung up, so the job ended early


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


def test_memory_stays_flat(daemon):
    """500 jobs of changing sizes, some of which fail, leave no memory behind."""
    rng = np.random.default_rng(0)

    def jobs(count):
        with daemon.connect() as client:
            for number in range(count):
                shape = (int(rng.integers(50, 250)), int(rng.integers(50, 250)), 3)
                image, selection = region(rng, shape, "u16" if number % 3 else "f32")
                model = "broken" if number % 10 == 7 else "quick"
                try:
                    client.enhance(*request_for(image, selection, model=model))
                except AnswerError as error:
                    assert error.code == "failed"

    def settled():
        time.sleep(3)  # the daemon gives memory back after two seconds of rest
        return daemon.status()["resident_bytes"]

    jobs(50)
    early = settled()
    jobs(450)
    assert settled() < early * 1.05
