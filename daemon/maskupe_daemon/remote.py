"""A client of a daemon on another machine: the same requests, over CURVE.

It needs pyzmq, because CURVE's cryptography does not belong into the standard-library client that
GIMP uses. For GIMP, forward the daemon's socket with ``ssh -L`` instead; see ``docs/daemon.md``.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import zmq
import zmq.utils.monitor

from maskupe_daemon.client import Client
from maskupe_daemon.failures import (
    ConnectionLostError,
    NotAnsweringError,
    NotRunningError,
    RefusedError,
)
from maskupe_daemon.link import SILENCE
from maskupe_daemon.stream import SLICE, Buffer, Wait
from maskupe_daemon.zmtp import Bands, Taking

_DROPPED = zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
_REFUSED = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL


class RemoteClient(Client):
    """A :class:`maskupe_daemon.client.Client` over CURVE; made by :meth:`connect_to`."""

    _endpoint: str
    _keys: dict[str, str]

    @classmethod
    def connect_to(
        cls, endpoint: str, key_file: Path, timeout: float = 5.0, *, name: str = "python"
    ) -> RemoteClient:
        """Connects to ``tcp://ADDRESS:PORT`` with a file that ``maskupe-daemon keys create`` made.

        Raises:
            NotRunningError: if nothing listens there.
            RefusedError: if the key file is unusable, or the daemon does not let this key in, or
                is not the one whose key the file holds.
            NotAnsweringError: if it does not answer in time.
        """
        client = cls(None, name[:64], timeout)
        client._endpoint = endpoint
        client._keys = _read_keys(key_file)
        client._reconnect()
        return client

    def _reconnect(self) -> None:
        self.close()
        self._channel = CurveChannel(self._endpoint, self._keys, self._timeout)
        # The handshake has proved that the daemon holds the key that the file names.
        self.hello()


class CurveChannel:
    """A DEALER of libzmq as a :class:`maskupe_daemon.link.AnyChannel`."""

    def __init__(self, endpoint: str, keys: dict[str, str], timeout: float) -> None:
        self.broken = False
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._dealer = self._context.socket(zmq.DEALER)
        self._dealer.linger = 0
        # A frame for a daemon that is not there must fail, and a new one is a new connection.
        self._dealer.immediate = 1
        self._dealer.ipv6 = "[" in endpoint
        self._dealer.reconnect_ivl = -1
        try:
            self._dealer.curve_publickey = keys["public"].encode()
            self._dealer.curve_secretkey = keys["secret"].encode()
            self._dealer.curve_serverkey = keys["server"].encode()
            self._monitor = self._dealer.get_monitor_socket()
            self._dealer.connect(endpoint)
            self._await_handshake(endpoint, timeout)
        except zmq.ZMQError as error:
            self.close()
            raise RefusedError(f"{endpoint} cannot be used: {error.strerror}.") from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the connection; harmless when repeated."""
        if not self._context.closed:
            self.broken = True
            self._dealer.disable_monitor()
            self._context.destroy(linger=0)

    def send(self, parts: list[Buffer | Bands], wait: Wait | None = None) -> None:
        """Sends one message; libzmq takes the planes without a copy."""
        try:
            for number, part in enumerate(parts):
                flags = zmq.SNDMORE if number < len(parts) - 1 else 0
                data = b"".join(part.pieces()) if isinstance(part, Bands) else part
                self._dealer.send(data, flags | zmq.NOBLOCK, copy=False)
        except zmq.ZMQError as error:
            self.close()
            raise ConnectionLostError from error
        except BaseException:
            self.close()
            raise

    def receive(
        self,
        wait: Wait | None = None,
        timeout: float | None = None,
        largest: int = 1 << 40,
        taking: Taking | None = None,
    ) -> list[Any] | None:
        """The next message, or None if none has come after ``timeout`` seconds.

        libzmq gives it when it is complete, so nothing of it can be taken before.
        """
        began = time.monotonic()
        while not self._dealer.poll(round(SLICE * 1000)):
            if wait:
                wait()
            self._raise_if_lost()
            waited = time.monotonic() - began
            if timeout is not None and waited >= timeout:
                return None
            if waited >= SILENCE:
                self.close()
                raise NotAnsweringError(waited)
        frames = self._dealer.recv_multipart(copy=False)
        if sum(len(frame) for frame in frames) > largest:
            self.close()
            raise RefusedError("The daemon's answer is larger than what was asked for.")
        # Writable, as the other channel's are.
        return [memoryview(bytearray(frame.buffer)) for frame in frames]

    def _await_handshake(self, endpoint: str, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        connected = False
        while (left := deadline - time.monotonic()) > 0:
            if not self._monitor.poll(round(left * 1000)):
                break
            event = zmq.utils.monitor.recv_monitor_message(self._monitor)["event"]
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                return
            if event == zmq.EVENT_CONNECTED:
                connected = True
            elif event & _REFUSED or (connected and event & _DROPPED):
                break
            elif event in (zmq.EVENT_CLOSED, zmq.EVENT_CONNECT_RETRIED):
                raise NotRunningError(f"nothing listens at {endpoint}")
        if connected:
            raise RefusedError(
                f"The daemon at {endpoint} does not accept this key, or is another daemon.",
                "Ask its owner for 'maskupe-daemon keys create'.",
            )
        raise NotAnsweringError(timeout)

    def _raise_if_lost(self) -> None:
        while self._monitor.poll(0):
            event = zmq.utils.monitor.recv_monitor_message(self._monitor)["event"]
            if event & _DROPPED:
                self.close()
                raise ConnectionLostError


def _read_keys(path: Path) -> dict[str, str]:
    try:
        keys = json.loads(path.read_text(encoding="ascii"))
        return {name: str(keys[name]) for name in ("public", "secret", "server")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RefusedError(f"{path} is not a key file of 'maskupe-daemon keys create'.") from error
