"""Clients on other machines: keys and CURVE, an eavesdropper, a socket forwarded by ssh."""

import json
import socket
import stat
import threading

import numpy as np
import pytest
import zmq
from zmq.utils import z85

from maskupe.errors import InputError
from maskupe_daemon.cli import main
from maskupe_daemon.client import Client
from maskupe_daemon.failures import AnswerError, NotRunningError, RefusedError
from maskupe_daemon.keys import KeyRing
from maskupe_daemon.remote import RemoteClient
from maskupe_daemon.wire import pack
from tests.daemon.garbage import GARBAGE, poke
from tests.daemon.running import Keeper, altered, assert_right, region, request_for, serves


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
        keeper = Keeper(1000, image.nbytes - 1000)
        _, rest = client.enhance(*request_for(image, selection), takers={"image": keeper})
        assert keeper.got == bytes(answer["image"]) and not rest
        with pytest.raises(AnswerError, match="own machine"):
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
    serves(daemon)


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
