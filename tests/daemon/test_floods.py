"""Floods: more frames, bytes, connections or results than the daemon lets in, over real sockets."""

import contextlib
import resource
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
from maskupe_client.errors import ClientError
from maskupe_client.framing import pack
from maskupe_client.messages import parse
from maskupe_daemon.intake import Filter, ForeignError
from tests.daemon.garbage import NULL_GREETING
from tests.daemon.running import ROOT, assert_right, dealer_to, region, request_for, serves

READY = bytes([4, 6 + 22]) + b"\x05READY" + b"\x0bSocket-Type\x00\x00\x00\x06DEALER"


def address_of(daemon):
    return read_connection(daemon.home).endpoint.removeprefix("ipc://")


@contextlib.contextmanager
def raw(daemon, greeting=NULL_GREETING + READY):
    """A socket to a daemon that has sent a greeting, and got the answer to it if it is whole."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(address_of(daemon))
        sock.sendall(greeting)
        answer = b""
        while greeting and b"ROUTER" not in answer:
            piece = sock.recv(4096)
            if not piece:
                raise ConnectionError
            answer += piece
        yield sock


def closed(sock):
    """Whether the other side has closed a connection; what it sent is read over."""
    try:
        while sock.recv(1 << 16):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


@contextlib.contextmanager
def questions(daemon):
    """Asks for the status all the time; gives the seconds that the answers took."""
    took, done = [], threading.Event()

    def ask():
        with daemon.connect() as client:
            while not done.is_set():
                began = time.monotonic()
                client.status()
                took.append(time.monotonic() - began)
                time.sleep(0.005)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        while not took:
            time.sleep(0.001)
        yield took
        asked = len(took)
        while len(took) < asked + 5:  # also what was asked in the middle is answered
            time.sleep(0.001)
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("count", [1_000_000, pytest.param(20_000_000, marks=pytest.mark.slow)])
def test_a_message_of_a_million_empty_frames_is_cut_off_at_the_tenth(daemon, count):
    before = daemon.status()["resident_bytes"]
    with questions(daemon) as took, raw(daemon) as sock:
        with contextlib.suppress(ConnectionError):
            for _ in range(count // 100_000):
                sock.sendall(b"\x01\x00" * 100_000)
        assert closed(sock)
    assert max(took) < 3.0  # eight seconds, if the frames were counted in the end
    assert daemon.status()["resident_bytes"] < before + 20e6
    serves(daemon)
    assert "a flood of frames" in daemon.log


def test_a_mistake_is_answered_before_the_message_ends(daemon):
    with raw(daemon) as sock:
        sock.sendall(b"\x01\x00" * 10)  # nine frames may be: the tenth says that there are more
        answer = b""
        while b"bad-planes" not in answer:
            answer += sock.recv(1 << 16)
    serves(daemon)


def test_bytes_beyond_the_limit_are_not_taken_in(start):
    """The sum of a message's frames counts while they arrive, whatever its header says."""
    tight = start(env={"MASKUPE_TEST_TOTAL_BYTES": str(80_000_000)})  # 20 MB a message
    before = tight.status()["resident_bytes"]
    context, dealer = dealer_to(tight)
    dealer.send_multipart([pack({"type": "status", "id": "x"})] + [bytes(16_000_000)] * 8)
    assert dealer.poll(20_000)
    assert parse(dealer.recv(), "daemon")["code"] == "bad-planes"
    context.destroy(linger=0)
    serves(tight)
    assert tight.status()["resident_bytes"] < before + 45e6


def test_all_that_arrives_together_is_bounded_and_nothing_is_lost(start):
    """While one client's message is half there, another's that is too much beside it waits."""
    tight = start(env={"MASKUPE_TEST_TOTAL_BYTES": str(400_000)})  # 100 kB together
    rng = np.random.default_rng(0)
    jobs = [region(rng, (120, 150, 3)) for _ in range(2)]
    with contextlib.ExitStack() as stack:
        dealers = [dealer_to(tight) for _ in jobs]
        for context, _ in dealers:
            stack.callback(context.destroy, linger=0)
        (image, selection), second = jobs
        request, _ = request_for(image, selection)
        header, pixels = pack(request.header()), image.tobytes()
        sock = stack.enter_context(raw(tight))
        # The first one: a header and half of its plane.
        sock.sendall(bytes([3]) + len(header).to_bytes(8, "big") + header)
        sock.sendall(bytes([3]) + len(pixels).to_bytes(8, "big") + pixels[:20_000])
        serves(tight, (20, 30, 3))  # what is small enough goes on beside it
        _, dealer = dealers[0]
        other, other_planes = request_for(*second)
        dealer.send_multipart([pack(other.header()), *other_planes])
        assert not dealer.poll(700)
        sock.sendall(pixels[20_000:])
        mask = selection.tobytes()
        sock.sendall(bytes([2]) + len(mask).to_bytes(8, "big") + mask)
        while True:
            assert dealer.poll(10_000)
            frames = dealer.recv_multipart()
            if parse(frames[0], "daemon")["type"] == "result":
                break
        assert_right({"image": frames[1]}, *second, other)
        tight.await_status(served=3)


def test_a_message_that_does_not_go_on_keeps_others_out_for_a_while_only(start):
    tight = start(env={"MASKUPE_TEST_TOTAL_BYTES": str(400_000), "MASKUPE_TEST_STALLED": "1"})
    image, selection = region(np.random.default_rng(0), (120, 150, 3))
    request, _ = request_for(image, selection)
    header = pack(request.header())
    with raw(tight) as sock:
        began = time.monotonic()
        sock.sendall(bytes([3]) + len(header).to_bytes(8, "big") + header)
        sock.sendall(bytes([3]) + image.nbytes.to_bytes(8, "big") + bytes(20_000))
        serves(tight, (20, 30, 3))
        serves(tight, (120, 150, 3))
        assert time.monotonic() - began > 1.0
        assert closed(sock)


def test_two_clients_with_one_routing_id_are_both_served(daemon):
    """libzmq would leave the second one unanswered; the ids are the daemon's own."""
    taken = [dealer_to(daemon, routing_id=b"taken") for _ in range(2)]
    for _, dealer in taken:
        dealer.send(pack({"type": "hello", "id": "x"}))
        assert dealer.poll(10_000)
        assert parse(dealer.recv(), "daemon")["type"] == "welcome"
    for context, _ in taken:
        context.destroy(linger=0)


@pytest.mark.parametrize("name", [b"Identity", b"IDENTITY"])
@pytest.mark.parametrize("command", [b"READY", b"INITIATE"])
def test_the_routing_id_that_libzmq_would_give_next_cannot_be_taken(name, command):
    """With it, libzmq ends the process: its own ids are a zero and a number that counts up."""

    def passed():
        body = bytes([len(command)]) + command + b"\x0bSocket-Type\x00\x00\x00\x06DEALER"
        body += bytes([len(name)]) + name + b"\x00\x00\x00\x05" + b"\x00\x12\x34\x56\x78"
        passing = Filter(1000, 1000, lambda _size: True)
        data = NULL_GREETING + bytes([4, len(body)]) + body
        pieces, read = passing.feed(memoryview(data))
        assert read == len(data)
        assert passing.greeted
        return b"".join(pieces)[64:]

    first, second = passed(), passed()
    assert b"\x12\x34\x56\x78" not in first
    assert b"Socket-Type\x00\x00\x00\x06DEALER\x08Identity\x00\x00\x00\x10c" in first
    assert int.from_bytes(first[1:9], "big") == len(first) - 9
    assert first[:-16] == second[:-16] and first[-16:] != second[-16:]


#: The daemon's sockets in a process, where one client without an id of its own tells the next
#: number of libzmq's, and another takes it: through the proxy or ("past") not.
TAKES_AN_ID = """
import os, socket, struct, sys, zmq
from maskupe_daemon import sockets
from maskupe_daemon.proxy import Bounds
from tests.daemon.garbage import NULL_GREETING

folder, way = sys.argv[1:]
listener = sockets.listen(zmq.Context(), f"ipc://{folder}/daemon.sock", Bounds(10, 1000, 1000))
router = listener.router
router.rcvtimeo = 20_000
behind = router.getsockopt_string(zmq.LAST_ENDPOINT).rstrip(chr(0)).removeprefix("ipc://")

def shaken(sock, name=b""):
    body = b"\\x05READY\\x0bSocket-Type\\x00\\x00\\x00\\x06DEALER"
    body += b"\\x08Identity" + struct.pack(">I", len(name)) + name
    sock.settimeout(20)
    sock.sendall(NULL_GREETING + bytes([4, len(body)]) + body)
    answer = b""
    while b"Identity" not in answer:
        answer += sock.recv(4096)
    sock.sendall(b"\\x00\\x02hi")
    return sock, router.recv_multipart()[0]

direct = lambda: sockets._connected(behind.replace("@", chr(0), 1))
first, given = shaken(direct())
assert len(given) == 5 and given[0] == 0
following = b"\\0" + (int.from_bytes(given[1:], "big") + 1).to_bytes(4, "big")
if way == "past":
    entrance = direct()
else:
    entrance = socket.socket(socket.AF_UNIX)
    entrance.connect(f"{folder}/daemon.sock")
second, got = shaken(entrance, following)
print("taken" if got == following else "its own", len(got), flush=True)
third, _ = shaken(direct())
print("goes on", flush=True)
os._exit(0)
"""


@pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere nobody gets past the proxy so easily"
)
@pytest.mark.parametrize(
    ("way", "said"), [("through", ["its own 16", "goes on"]), ("past", ["taken 5"])]
)
def test_a_client_that_takes_libzmq_s_next_id_does_not_end_the_process(home, way, said):
    """Without the proxy an assertion of libzmq's does, which shows that this is the attack."""
    done = subprocess.run(
        [sys.executable, "-c", TAKES_AN_ID, str(home), way],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
    )
    assert done.stdout.splitlines() == said, done.stderr
    # The process ends without tidying up its threads, or is aborted.
    assert (done.returncode < 0) == (way == "past")


def test_a_handshake_is_passed_on_at_every_step(daemon):
    """A client like libzmq's sends each part of its greeting after an answer to the last."""
    with raw(daemon, b"") as sock:
        for part, answer in ((NULL_GREETING[:10], 10), (NULL_GREETING[10:11], 1)):
            sock.sendall(part)
            got = b""
            while len(got) < answer:
                got += sock.recv(answer - len(got))
        for byte in NULL_GREETING[11:] + READY:
            sock.sendall(bytes([byte]))
        received = b""
        while b"ROUTER" not in received:
            received += sock.recv(4096)
    serves(daemon)


@pytest.mark.parametrize(
    "old", [b"\x01\x00" + bytes(62), b"\xff" + bytes(8) + b"\x7f\x01\x05"], ids=["1.0", "2.0"]
)
def test_an_older_zmtp_is_closed_at_once(old):
    with pytest.raises(ForeignError):
        Filter(1000, 1000, lambda _size: True).feed(memoryview(old))


@pytest.mark.parametrize("greeting", [b"", NULL_GREETING + READY], ids=["silent", "greeted"])
def test_more_connections_than_descriptors_do_not_end_the_daemon(start, greeting):
    """Silent ones make room for others; of those that have shaken hands no more are taken."""
    modest = start(before=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (120, 120)))

    def eventually(between):
        deadline = time.monotonic() + 30
        while True:
            try:
                return serves(modest)
            except ClientError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            between()

    with contextlib.ExitStack() as stack:

        def connect(count):
            for _ in range(count):
                with contextlib.suppress(ConnectionError):
                    stack.enter_context(raw(modest, greeting))

        connect(300)
        if greeting:
            with pytest.raises(ClientError):
                Client.connect(1.0, directory=modest.home)
        else:
            # A job may find no descriptor, while libzmq still closes those of the flood. So that
            # none of the silent ones is dropped for its age, there are always new ones.
            eventually(lambda: connect(12))
    eventually(lambda: None)
    assert modest.process.poll() is None


def test_results_that_nobody_takes_are_limited_in_sum(start):
    """Clients that read nothing lose what has lain longest; those that read are served."""
    tight = start(env={"MASKUPE_TEST_TOTAL_BYTES": str(80_000_000)})  # 20 MB of results
    image, selection = region(np.random.default_rng(0), (1200, 2000, 4))
    request, planes = request_for(image, selection)
    unread = []
    with contextlib.ExitStack() as stack:
        for number in range(5):
            mute = stack.enter_context(tight.connect())
            each = request_for(image, selection)
            mute._channel.send([pack(each[0].header()), *planes])
            unread.append(tight.await_status(served=number + 1)["unread_bytes"])
        _, answer = stack.enter_context(tight.connect()).enhance(request, planes)
        assert_right(answer, image, selection, request)
        assert max(unread) == 2 * image.nbytes
        assert tight.status()["unread_bytes"] <= 20_000_000
    assert "too many results wait" in tight.log


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the socket is a file of the owner's")
def test_nobody_but_the_daemon_reaches_the_socket_behind_the_proxy(daemon):
    listening = [
        line.split()[-1]
        for line in Path("/proc/net/unix").read_text().splitlines()
        if "@maskupe-" in line and line.split()[3] == "00010000"
    ]
    assert listening
    program = (
        "import socket, sys\n"
        "for name in sys.argv[1:]:\n"
        "    sock = socket.socket(socket.AF_UNIX); sock.settimeout(5)\n"
        "    sock.connect(name.replace('@', chr(0), 1))\n"
        "    try:\n"
        "        print(len(sock.recv(1)))\n"
        "    except ConnectionError:\n"
        "        print(0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *listening], capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) == {"0"}
