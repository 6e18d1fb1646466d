"""The daemon's sockets: which kinds there are, and how each is bound safely."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

import zmq

from maskupe.errors import InputError
from maskupe_daemon.private import AccessError, secure_directory

#: The longest path of a socket file in bytes: ``sun_path`` less its end mark.
LONGEST_SOCKET_PATH = 107 if sys.platform == "linux" else 103
#: Seconds between heartbeats to silent peers, and until one that answers none is dropped. The
#: latter is long because a frame of a gigabyte on a slow line is silence to libzmq.
HEARTBEAT, HEARTBEAT_TIMEOUT = 5, 60
#: libzmq's threads, among which it spreads connections. Over a socket file it moves as much of a
#: plane in one system call as the other side keeps up with, for some tenths of a second at times,
#: and connections of the same thread wait for that.
IO_THREADS = 8

Context = zmq.Context[zmq.Socket[bytes]]


class BindError(AccessError):
    """The daemon cannot listen where it was told to."""

    code = "bind"


@dataclass
class Listener:
    """One listening socket.

    Attributes:
        router: the socket.
        endpoint: where it listens, with the port that was picked.
        mechanism: ``"NULL"`` or ``"PLAIN"``.
        path: its file, for ipc.
    """

    router: zmq.Socket[bytes]
    endpoint: str
    mechanism: str
    path: Path | None = None

    def close(self, linger_ms: int) -> None:
        """Closes the socket and removes its file; unsent answers get ``linger_ms``."""
        self.router.close(linger=linger_ms)
        if self.path:
            with contextlib.suppress(OSError):
                self.path.unlink()


def default_endpoint(directory: Path) -> str:
    """ipc in the state directory, or loopback tcp where ipc is not to be had."""
    path = directory / "daemon.sock"
    if zmq.has("ipc") and len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return f"ipc://{path}"
    return "tcp://127.0.0.1:*"


def listen(context: Context, endpoint: str, max_plane: int) -> Listener:
    """Listens for clients of this machine: ipc in an owner-only directory, or tcp with a token.

    Raises:
        InputError: for an endpoint that is neither, or a tcp address that is not loopback.
        AccessError: if the socket's directory is not safe.
        BindError: if it cannot be bound.
    """
    router = _router(context, max_plane)
    if endpoint.startswith("ipc://"):
        path = Path(endpoint.removeprefix("ipc://"))
        try:
            _bind_file(router, path)
        except BaseException:
            router.close()
            raise
        return Listener(router, endpoint, "NULL", path)
    if not re.fullmatch(r"tcp://(127\.0\.0\.1|\[::1\]|localhost):(\*|\d+)", endpoint):
        router.close()
        raise InputError(
            f"The endpoint {endpoint!r} is not for local clients.",
            "Use ipc://PATH or tcp://127.0.0.1:PORT; for other machines see 'forward'.",
        )
    router.plain_server = True
    router.zap_domain = b"local"
    return Listener(router, _bind(router, endpoint), "PLAIN")


def new_token() -> str:
    """256 random bits as text."""
    return secrets.token_hex(32)


def _router(context: Context, max_plane: int) -> zmq.Socket[bytes]:
    router = context.socket(zmq.ROUTER)
    # Sending to a client that is gone raises instead of being ignored: that ends its job.
    router.router_mandatory = True
    router.maxmsgsize = max_plane
    router.handshake_ivl = 5000
    router.heartbeat_ivl = HEARTBEAT * 1000
    router.heartbeat_timeout = HEARTBEAT_TIMEOUT * 1000
    router.backlog = 1024
    router.rcvhwm = 4  # messages are large; more wait in the client
    router.sndhwm = 256
    router.linger = 0
    return router


def _bind(router: zmq.Socket[bytes], endpoint: str) -> str:
    router.ipv6 = "[" in endpoint
    try:
        router.bind(endpoint)
    except zmq.ZMQError as error:
        router.close()
        raise BindError(
            f"The daemon cannot listen at {endpoint}: {os.strerror(error.errno or 0)}.",
            "Choose another one with --endpoint.",
        ) from error
    bound: str = router.getsockopt_string(zmq.LAST_ENDPOINT)
    return bound.rstrip("\0")


def _bind_file(router: zmq.Socket[bytes], path: Path) -> None:
    if not zmq.has("ipc"):
        raise BindError("This system has no ipc sockets.", "Use --tcp.")
    if not path.is_absolute() or len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
        raise BindError(
            f"The socket path {path} is not absolute or longer than {LONGEST_SOCKET_PATH} bytes.",
            "Choose a shorter one with --endpoint, or use --tcp.",
        )
    secure_directory(path.parent, close=False)
    _clear_stale(path)
    _bind(router, f"ipc://{path}")


def _clear_stale(path: Path) -> None:
    """Removes the socket file of a daemon that died."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise BindError(f"{path} is in the way and not a socket.", "Remove it.")
        if _is_served(path):
            raise BindError(
                f"Another program listens at {path}.", "Choose another path with --endpoint."
            )
        path.unlink()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise BindError(f"The old socket {path} cannot be removed: {error.strerror}.") from error


def _is_served(path: Path) -> bool:
    """Whether somebody listens at a socket file: libzmq would take it away from them."""
    with socket.socket(socket.AF_UNIX) as visitor:
        visitor.settimeout(1)
        try:
            visitor.connect(str(path))
        except ConnectionRefusedError:
            return False
        except (BlockingIOError, TimeoutError):  # there is a queue
            pass
        return True
