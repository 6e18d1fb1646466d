"""Who gets in, by every door: the owner's socket, the token on loopback, keys from afar."""

import contextlib
import json
import os
import socket
import stat
import threading
from dataclasses import asdict

import numpy as np
import pytest
import zmq
from zmq.utils import z85

from maskupe.errors import InputError
from maskupe_daemon.cli import main
from maskupe_daemon.client import Client
from maskupe_daemon.connection import FILE_NAME, Connection, read_connection
from maskupe_daemon.doorkeeper import Doorkeeper
from maskupe_daemon.failures import (
    NotAnsweringError,
    NotRunningError,
    ProtocolMismatchError,
    RefusedError,
)
from maskupe_daemon.keys import KeyRing
from maskupe_daemon.private import replace_json
from maskupe_daemon.remote import RemoteClient
from maskupe_daemon.wire import pack
from tests.daemon.running import assert_right, region, request_for

# A ZMTP 1.0 DEALER: a length and flags for its empty identity, then two frames. And a ZMTP 2.0 one.
ZMTP1 = b"\x01\x00" + b"\x02\x01x" + b"\x03\x00hi"
ZMTP2 = b"\xff" + bytes(8) + b"\x7f\x01\x05" + b"\x00\x00" + b"\x00\x02hi"
NULL_GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16) + bytes(32)
GARBAGE = {
    "http": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}",
    "zmtp1": ZMTP1,
    "zmtp2": ZMTP2,
    "null": NULL_GREETING
    + b"\x04\x26\x05READY"
    + b"\x0bSocket-Type\x00\x00\x00\x06DEALER"
    + b"\x00\x01x",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)),
    "nothing": b"",
    "half a greeting": NULL_GREETING[:20],
    "noise": np.random.default_rng(0).bytes(5000),
    "huge frame": NULL_GREETING + b"\x02" + b"\x7f" + b"\xff" * 7,
}


def poke(endpoint, data):
    """Sends raw bytes to an endpoint and reads what comes until it closes or falls silent."""
    scheme, _, address = endpoint.partition("://")
    if scheme == "ipc":
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(address)
    else:
        host, port = address.rsplit(":", 1)
        sock = socket.create_connection((host, int(port)))
    with sock:
        sock.settimeout(0.3)
        try:
            sock.sendall(data)
            while sock.recv(4096):
                pass
        except (TimeoutError, ConnectionError):
            pass


def still_serves(daemon, **options):
    image, selection = region(np.random.default_rng(0))
    request, planes = request_for(image, selection)
    with daemon.connect(**options) as client:
        _, answer = client.enhance(request, planes)
    assert_right(answer, image, selection, request)


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
    still_serves(daemon)
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
        assert not dealer.poll(500)
    context.term()
    assert "turned away" in daemon.log
    assert not daemon.status()["stopping"]
    # The token opens the door.
    still_serves(daemon)


def test_a_stranger_cannot_fill_the_log(monkeypatch, caplog):
    """Of a hundred attempts two lines tell: the first, and how many they were after a while."""
    context = zmq.Context()
    doorkeeper = Doorkeeper(context, "token", lambda key: False)
    asking = context.socket(zmq.REQ)
    asking.connect("inproc://zeromq.zap.01")
    question = [b"1.0", b"1", b"local", b"127.0.0.1", b"", b"PLAIN", b"maskupe", b"guess"]
    clock = [0.0]
    monkeypatch.setattr("maskupe_daemon.doorkeeper.time.monotonic", lambda: clock[0])
    for number in range(100):
        clock[0] = 0.15 * number
        asking.send_multipart(question)
        doorkeeper.answer()
        assert asking.recv_multipart()[2] == b"400"
    doorkeeper.close()
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


def altered(home, **changes):
    """Rewrites the connection file with other values."""
    path = home / "connection.json"
    values = {**json.loads(path.read_text()), **changes}
    path.unlink()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(values, file)


def test_every_failure_to_connect_has_its_own_sentence(start, home):
    sentences = set()

    def failing(kind, **changes):
        if changes:
            altered(home, **changes)
        with pytest.raises(kind) as caught:
            Client.connect(1.0)
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
        failing(NotAnsweringError, **{**good, "endpoint": f"tcp://127.0.0.1:{port}"})
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
            Client.connect(0.5)
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


def test_an_impostor_is_noticed(home):
    """Something that listens in the daemon's place but cannot prove that it wrote the file."""
    context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    router.bind(f"ipc://{home}/daemon.sock")
    pretend_daemon(home)

    def answer():
        identity, header = router.recv_multipart()
        import msgpack

        welcome = {"type": "welcome", "id": msgpack.unpackb(header)["id"], "server": "server"}
        welcome |= {"proof": "0" * 64, "version": "1", "device": "cpu", "models": [], "limits": {}}
        router.send_multipart([identity, pack(welcome)])

    thread = threading.Thread(target=answer)
    thread.start()
    with pytest.raises(RefusedError, match="Another program"):
        Client.connect()
    thread.join()
    context.destroy(linger=0)


def test_a_daemon_of_another_version_is_told_apart(home):
    context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    router.bind(f"ipc://{home}/daemon.sock")
    pretend_daemon(home)

    def answer():
        import msgpack

        identity, header = router.recv_multipart()
        reply = {"v": 2, "type": "shrug", "id": msgpack.unpackb(header)["id"]}
        router.send_multipart([identity, msgpack.packb(reply)])

    thread = threading.Thread(target=answer)
    thread.start()
    with pytest.raises(ProtocolMismatchError, match="Update MaskUPE"):
        Client.connect()
    thread.join()
    context.destroy(linger=0)


def test_other_machines_need_an_allowed_key(start, home, tmp_path):
    ring = KeyRing(home / "keys")
    ring.create("studio", tmp_path / "studio.key")
    daemon = start("--remote", "tcp://127.0.0.1:*")
    local, far = daemon.status()["endpoints"]
    assert local.startswith("ipc://")
    image, selection = region(np.random.default_rng(3))
    request, planes = request_for(image, selection)
    with RemoteClient.connect_to(far, tmp_path / "studio.key") as client:
        _, answer = client.enhance(request, planes)
        assert_right(answer, image, selection, request)
        with pytest.raises(Exception, match="own machine"):
            client.shutdown()
    # A stranger's key, made for this daemon but not allowed.
    stranger = json.loads((tmp_path / "studio.key").read_text())
    public, secret = zmq.curve_keypair()
    stranger |= {"public": public.decode(), "secret": secret.decode()}
    (tmp_path / "stranger.key").write_text(json.dumps(stranger))
    with pytest.raises(RefusedError, match="does not accept this key"):
        RemoteClient.connect_to(far, tmp_path / "stranger.key", 2.0)
    # The right client, but it expects another daemon.
    other = json.loads((tmp_path / "studio.key").read_text())
    other["server"] = zmq.curve_keypair()[0].decode()
    (tmp_path / "other.key").write_text(json.dumps(other))
    with pytest.raises(RefusedError):
        RemoteClient.connect_to(far, tmp_path / "other.key", 2.0)
    # No key at all, and bytes of any kind.
    context = zmq.Context()
    with context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.connect(far)
        dealer.send(pack({"type": "status", "id": "x"}))
        assert not dealer.poll(500)
    context.term()
    poke(far, GARBAGE["http"])
    poke(far, GARBAGE["zmtp1"])
    # Revoked, it gets in no more; nobody needs to restart anything.
    ring.revoke("studio")
    with pytest.raises(RefusedError):
        RemoteClient.connect_to(far, tmp_path / "studio.key", 2.0)
    still_serves(daemon)


def test_an_eavesdropper_reads_nothing(start, home, tmp_path):
    """Everything between a far client and the daemon goes through a wiretap."""
    KeyRing(home / "keys").create("studio", tmp_path / "studio.key")
    daemon = start("--remote", "tcp://127.0.0.1:*")
    port = int(daemon.status()["endpoints"][1].rsplit(":", 1)[1])
    heard = []

    with socket.socket() as tap:
        tap.bind(("127.0.0.1", 0))
        tap.listen()

        def serve():
            near, _ = tap.accept()
            far = socket.create_connection(("127.0.0.1", port))
            back = threading.Thread(target=pump, args=(far, near, heard), daemon=True)
            back.start()
            pump(near, far, heard)

        threading.Thread(target=serve, daemon=True).start()
        image, selection = region(np.random.default_rng(4))
        image[:] = np.frombuffer(b"pixels", np.uint8)[:3]
        request, planes = request_for(image, selection)
        endpoint = f"tcp://127.0.0.1:{tap.getsockname()[1]}"
        with RemoteClient.connect_to(endpoint, tmp_path / "studio.key") as client:
            client.enhance(request, planes)
    everything = b"".join(heard)
    assert len(everything) > 2 * image.nbytes  # the tap really heard both ways
    assert b"pixpixpix" not in everything
    assert b"enhance" not in everything
    assert request.id.encode() not in everything


def test_nobody_there_and_no_key_file(tmp_path, home):
    KeyRing(home / "keys").create("studio", tmp_path / "studio.key")
    with pytest.raises(NotRunningError):
        RemoteClient.connect_to("tcp://127.0.0.1:9", tmp_path / "studio.key", 2.0)
    with pytest.raises(RefusedError, match="not a key file"):
        RemoteClient.connect_to("tcp://127.0.0.1:9", tmp_path / "nothing.key")


def test_keys_on_the_command_line(home, tmp_path, capsys):
    def keys(*arguments):
        return main(["keys", *arguments])

    path = tmp_path / "desk.key"
    assert keys("create", "desk", str(path)) == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    stored = json.loads(path.read_text())
    capsys.readouterr()
    keys("list")
    listed = capsys.readouterr().out
    assert stored["public"] in listed
    assert stored["server"] in listed
    assert stored["secret"] not in listed
    assert keys("create", "desk", str(tmp_path / "again.key")) == 2
    assert keys("create", "../desk", str(tmp_path / "again.key")) == 2
    assert keys("allow", "lap", "not-a-key") == 2
    assert keys("allow", "lap") == 2
    for name, first in (("lap", 0), ("dash", 63 * 85**4)):  # 63 is the digit "-"
        key = z85.encode(first.to_bytes(4, "big") + bytes(28)).decode()
        assert keys("allow", name, key) == 0
        assert KeyRing(home / "keys").allows(z85.decode(key))
    assert key[0] == "-"
    assert keys("revoke", "desk") == 0
    capsys.readouterr()
    keys("list")
    assert stored["public"] not in capsys.readouterr().out
    assert keys("revoke", "desk") == 2
    for name in (".", "keys"):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o700


def test_a_forwarded_socket_serves_as_well(start, home, tmp_path):
    """What ``ssh -L`` does: another path leads to the same daemon."""
    start()
    with socket.socket(socket.AF_UNIX) as gate:
        gate.bind(str(home / "near.sock"))
        gate.listen()

        def forward():
            near, _ = gate.accept()
            far = socket.socket(socket.AF_UNIX)
            far.connect(str(home / "daemon.sock"))
            threading.Thread(target=pump, args=(far, near), daemon=True).start()
            pump(near, far)

        threading.Thread(target=forward, daemon=True).start()
        altered(home, endpoint=f"ipc://{home}/near.sock")
        with Client.connect() as client:
            image, selection = region(np.random.default_rng(5))
            request, planes = request_for(image, selection)
            _, answer = client.enhance(request, planes)
    assert_right(answer, image, selection, request)


def pump(source, target, heard=None):
    """Copies bytes from one socket to another, and into ``heard``."""
    try:
        while data := source.recv(65536):
            if heard is not None:
                heard.append(data)
            target.sendall(data)
    except OSError:
        pass


def test_a_key_that_cannot_be_written_is_not_allowed(home, tmp_path):
    ring = KeyRing(home / "keys")
    with pytest.raises(InputError):
        ring.create("desk", tmp_path / "no" / "such" / "folder")
    assert ring.allowed() == {}
