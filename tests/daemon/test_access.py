"""Who gets in on this machine, by every door, and what a client says when it does not."""

import contextlib
import json
import socket
import stat
import threading
from dataclasses import asdict

import msgpack
import pytest
import zmq

from maskupe_client.client import Client
from maskupe_client.connection import FILE_NAME, Connection, read_connection
from maskupe_client.errors import (
    NotAnsweringError,
    NotRunningError,
    ProtocolMismatchError,
    RefusedError,
)
from maskupe_client.framing import pack
from maskupe_daemon.auth import ZapAuthenticator
from maskupe_daemon.permissions import replace_json
from tests.daemon.garbage import GARBAGE, poke
from tests.daemon.running import altered, serves


@pytest.mark.parametrize("door", [(), ("--tcp",)])
def test_garbage_at_the_door(start, home, door):
    daemon = start(*door)
    endpoint = read_connection(home).endpoint
    assert endpoint.startswith("tcp://127.0.0.1:" if door else "ipc://")
    threads = [threading.Thread(target=poke, args=(endpoint, data)) for data in GARBAGE.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    serves(daemon)
    assert daemon.status()["failed"] == 0
    assert "could not be handled" not in daemon.log


def test_on_loopback_nothing_unauthenticated_becomes_a_message(start, home):
    """Without PLAIN's handshake no bytes reach the message parser, whatever they are."""
    daemon = start("--tcp", "--debug")
    endpoint = read_connection(home).endpoint
    context = zmq.Context()
    with context.socket(zmq.DEALER) as dealer:  # a whole ZeroMQ client, but NULL
        dealer.linger = 0
        dealer.connect(endpoint)
        dealer.send(pack({"type": "shutdown", "id": "intruder"}))
        assert not dealer.poll(500)
    with context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.plain_username, dealer.plain_password = b"maskupe", b"guess"
        dealer.connect(endpoint)
        dealer.send(pack({"type": "shutdown", "id": "intruder"}))
        daemon.await_log("turned away")
        assert not dealer.poll(500)
    context.term()
    assert not daemon.status()["stopping"]
    # The token opens the door.
    serves(daemon)


def test_a_stranger_cannot_fill_the_log(monkeypatch, caplog):
    """Of a hundred attempts two lines tell: the first, and how many they were after a while."""
    context = zmq.Context()
    authenticator = ZapAuthenticator(context, "token")
    asking = context.socket(zmq.REQ)
    asking.connect("inproc://zeromq.zap.01")
    question = [b"1.0", b"1", b"local", b"127.0.0.1", b"", b"PLAIN", b"maskupe", b"guess"]
    clock = [0.0]
    monkeypatch.setattr("maskupe_daemon.auth.time.monotonic", lambda: clock[0])
    for number in range(100):
        clock[0] = 0.15 * number
        asking.send_multipart(question)
        authenticator.answer()
        assert asking.recv_multipart()[2] == b"400"
    authenticator.close()
    context.destroy(linger=0)
    assert [line.split(",")[0] for line in caplog.messages] == [
        "turned away 1 attempts to connect",
        "turned away 67 attempts to connect",
    ]


def test_secrets_do_not_show():
    there = Connection("tcp://127.0.0.1:1", "PLAIN", "the token", "the secret", "server", 1, "1")
    assert "the token" not in repr(there)
    assert "the secret" not in repr(there)


def test_the_token_file_is_for_its_owner(start, home):
    start("--tcp")
    path = home / "connection.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    token = json.loads(path.read_text())["token"]
    assert len(bytes.fromhex(token)) == 32


def test_every_failure_to_connect_has_its_own_sentence(start, home):
    sentences = set()

    def failing(kind, timeout=20.0, **changes):
        if changes:
            altered(home, **changes)
        with pytest.raises(kind) as caught:
            Client.connect(timeout)
        sentences.add(caught.value.message)

    failing(NotRunningError)
    start("--tcp")
    good = json.loads((home / "connection.json").read_text())
    failing(RefusedError, token="0" * 64)
    failing(RefusedError, **{**good, "secret": "0" * 64})
    failing(ProtocolMismatchError, **{**good, "protocol": 2})
    failing(RefusedError, **{**good, "pid": "x"})
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        failing(NotAnsweringError, 1.0, **{**good, "endpoint": f"tcp://127.0.0.1:{port}"})
    failing(NotRunningError, **{**good, "endpoint": f"tcp://127.0.0.1:{port}"})
    (home / "connection.json").chmod(0o666)
    failing(RefusedError)
    assert len(sentences) == 8


def pretend_daemon(home):
    """Writes the connection file of a daemon at the usual socket."""
    there = Connection(f"ipc://{home}/daemon.sock", "NULL", "", "s" * 64, "server", 1, "1")
    replace_json(home / FILE_NAME, asdict(there))


def test_something_that_closes_every_connection_is_told_apart(home):
    """And a daemon in its last moments, which does so once, counts as not running."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(home / "daemon.sock"))
        listener.listen()
        pretend_daemon(home)

        def close_all():
            with contextlib.suppress(OSError):
                while True:
                    listener.accept()[0].close()

        threading.Thread(target=close_all, daemon=True).start()
        with pytest.raises(RefusedError, match="closes every connection"):
            Client.connect(2.0)
        listener.shutdown(socket.SHUT_RDWR)
    (home / "daemon.sock").unlink()
    with socket.socket(socket.AF_UNIX) as dying:
        dying.bind(str(home / "daemon.sock"))
        dying.listen()

        def die():
            last, _ = dying.accept()
            dying.close()
            last.close()

        threading.Thread(target=die).start()
        with pytest.raises(NotRunningError):
            Client.connect(20)


@contextlib.contextmanager
def impostor(home, reply):
    """A ROUTER in the daemon's place that answers one message with ``reply`` and its id."""
    context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    router.bind(f"ipc://{home}/daemon.sock")
    pretend_daemon(home)

    def answer():
        identity, header = router.recv_multipart()
        reply["id"] = msgpack.unpackb(header)["id"]
        router.send_multipart([identity, msgpack.packb(reply)])

    thread = threading.Thread(target=answer)
    thread.start()
    yield
    thread.join()
    context.destroy(linger=0)


def test_an_impostor_is_noticed(home):
    """Something that listens in the daemon's place but cannot prove that it wrote the file."""
    welcome = {"v": 1, "type": "welcome", "server": "server", "proof": "0" * 64}
    welcome |= {"version": "1", "device": "cpu", "models": [], "limits": {}}
    with impostor(home, welcome), pytest.raises(RefusedError, match="Another program"):
        Client.connect(20)


def test_a_daemon_of_another_version_is_told_apart(home):
    shrug = {"v": 2, "type": "shrug"}
    with impostor(home, shrug), pytest.raises(ProtocolMismatchError, match="Update MaskUPE"):
        Client.connect(20)
