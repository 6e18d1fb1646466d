"""The daemon's sockets: which kinds there are, and how each is bound safely.

Clients connect to a socket of ours; what a :class:`.proxy.Proxy` lets in goes on to libzmq's ROUTER
by another one, which is for this process alone.
"""

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
from maskupe_daemon.permissions import AccessError, secure_directory
from maskupe_daemon.proxy import Bounds, Proxy

#: The longest path of a socket file in bytes: ``sun_path`` less its end mark.
LONGEST_SOCKET_PATH = 107 if sys.platform == "linux" else 103
#: Seconds between heartbeats to silent peers, and until one that answers none is dropped. The
#: latter is long because a frame of a gigabyte on a slow line is silence to libzmq.
HEARTBEAT, HEARTBEAT_TIMEOUT = 5, 60
#: libzmq's threads, among which it spreads connections. Over a socket file it moves as much of a
#: plane in one system call as the other side keeps up with, for some tenths of a second at times,
#: and connections of the same thread wait for that.
IO_THREADS = 8

#: Whether sockets can have a name that is no file's.
_NAMED_BY_ADDRESS = sys.platform == "linux"
#: Connections that wait until they are taken.
_BACKLOG = 1024

Context = zmq.Context[zmq.Socket[bytes]]


class BindError(AccessError):
    """The daemon cannot listen where it was told to."""

    code = "bind"


@dataclass
class Listener:
    """The listening socket, and the ROUTER behind it.

    Attributes:
        router: the socket.
        proxy: what stands between it and the clients.
        endpoint: where clients connect, with the port that was picked.
        mechanism: ``"NULL"`` or ``"PLAIN"``.
        paths: the files of its sockets.
    """

    router: zmq.Socket[bytes]
    proxy: Proxy
    endpoint: str
    mechanism: str
    paths: list[Path]

    def close(self, linger_ms: int) -> None:
        """Close the ROUTER; unsent answers get ``linger_ms``, until :meth:`finish`."""
        self.router.close(linger=linger_ms)

    def finish(self, timeout: float) -> None:
        """Close the connections; call it when the context has ended. Removes the files."""
        self.proxy.close(timeout)
        for path in self.paths:
            with contextlib.suppress(OSError):
                path.unlink()


def default_endpoint(directory: Path) -> str:
    """Return ipc in the state directory, or loopback tcp where ipc is not to be had."""
    path = directory / "daemon.sock"
    if zmq.has("ipc") and len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return f"ipc://{path}"
    return "tcp://127.0.0.1:*"


def listen(context: Context, endpoint: str, bounds: Bounds) -> Listener:
    """Listen for clients of this machine: ipc in an owner-only directory, or tcp with a token.

    Raises:
        InputError: for an endpoint that is neither, or a tcp address that is not loopback.
        AccessError: if the socket's directory is not safe.
        BindError: if it cannot be bound.
    """
    with contextlib.ExitStack() as undo:
        paths: list[Path] = []
        if endpoint.startswith("ipc://"):
            mechanism, path = "NULL", Path(endpoint.removeprefix("ipc://"))
            entrance = undo.enter_context(_bound_file(path))
            paths.append(path)
            undo.callback(path.unlink, missing_ok=True)
            inner = _inner_endpoint(path.parent)
        else:
            mechanism, inner = "PLAIN", _inner_endpoint(None)
            entrance = undo.enter_context(_bound_port(endpoint))
            host = endpoint.rpartition(":")[0]
            endpoint = f"{host}:{entrance.getsockname()[1]}"
        router = undo.enter_context(_router(context, bounds.frame))
        if mechanism == "PLAIN":
            router.plain_server = True
            router.zap_domain = b"local"
        address = _bind(router, inner)
        if isinstance(address, str) and not address.startswith("\0"):
            paths.append(Path(address))
        proxy = Proxy(entrance, lambda: _connected(address), bounds)
        undo.pop_all()
    return Listener(router, proxy, endpoint, mechanism, paths)


def new_token() -> str:
    """Return 256 random bits as text."""
    return secrets.token_hex(32)


def _router(context: Context, max_plane: int) -> zmq.Socket[bytes]:
    router = context.socket(zmq.ROUTER)
    # Sending to a client that is gone raises instead of being ignored: that ends its job.
    router.router_mandatory = True
    router.maxmsgsize = max_plane
    router.handshake_ivl = 5000
    router.heartbeat_ivl = HEARTBEAT * 1000
    router.heartbeat_timeout = HEARTBEAT_TIMEOUT * 1000
    router.backlog = _BACKLOG
    router.rcvhwm = 4  # messages are large; more wait in the client
    router.sndhwm = 256
    router.linger = 0
    return router


def _inner_endpoint(directory: Path | None) -> str:
    """Return where the ROUTER listens for the proxy.

    Linux has addresses without a file, and libzmq lets nobody but this process connect to it there.
    Elsewhere it is a file in the directory that is the owner's alone or, where clients must show a
    token in any case, a port.
    """
    if _NAMED_BY_ADDRESS:
        return f"ipc://@maskupe-{secrets.token_hex(16)}"
    if directory is None:
        return "tcp://127.0.0.1:*"
    path = directory / "router.sock"
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
        raise BindError(
            f"The directory {directory} is too long a name for a socket.",
            "Choose a shorter one with --endpoint, or use --tcp.",
        )
    _clear_stale(path)
    return f"ipc://{path}"


def _bind(router: zmq.Socket[bytes], endpoint: str) -> str | tuple[str, int]:
    """Bind the ROUTER; return the address as :mod:`socket` knows it."""
    if endpoint.startswith("ipc://@"):
        router.setsockopt(zmq.IPC_FILTER_PID, os.getpid())
    try:
        router.bind(endpoint)
    except zmq.ZMQError as error:
        raise BindError(f"The daemon cannot listen: {os.strerror(error.errno or 0)}.") from error
    bound = router.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
    if endpoint.startswith("ipc://"):
        return bound.removeprefix("ipc://").replace("@", "\0", 1)
    host, _, port = bound.removeprefix("tcp://").rpartition(":")
    return host, int(port)


def _connected(address: str | tuple[str, int]) -> socket.socket:
    """Return a connection to the ROUTER."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    sock = socket.socket(family)
    try:
        sock.settimeout(1)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _bound_port(endpoint: str) -> socket.socket:
    match = re.fullmatch(r"tcp://(127\.0\.0\.1|\[::1\]|localhost):(\*|\d{1,9})", endpoint)
    if not match:
        raise InputError(
            f"The endpoint {endpoint!r} is not for local clients.",
            "Use ipc://PATH or tcp://127.0.0.1:PORT; for other machines see 'forward'.",
        )
    host, port = match[1], 0 if match[2] == "*" else int(match[2])
    if port > 65535:
        raise InputError(f"There is no port {port}.", "Ports go from 1 to 65535.")
    sock = socket.socket(socket.AF_INET6 if host == "[::1]" else socket.AF_INET)
    if os.name == "posix":  # elsewhere it would let two programs have the same port
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return _bound(sock, (host.strip("[]"), port), endpoint)


def _bound(sock: socket.socket, address: str | tuple[str, int], endpoint: str) -> socket.socket:
    try:
        sock.bind(address)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise BindError(
            f"The daemon cannot listen at {endpoint}: {error.strerror or error}.",
            "Choose another one with --endpoint.",
        ) from error
    return sock


def _bound_file(path: Path) -> socket.socket:
    if not zmq.has("ipc"):
        raise BindError("This system has no ipc sockets.", "Use --tcp.")
    if not path.is_absolute() or len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
        raise BindError(
            f"The socket path {path} is not absolute or longer than {LONGEST_SOCKET_PATH} bytes.",
            "Choose a shorter one with --endpoint, or use --tcp.",
        )
    secure_directory(path.parent, close=False)
    _clear_stale(path)
    return _bound(socket.socket(socket.AF_UNIX), str(path), f"ipc://{path}")


def _clear_stale(path: Path) -> None:
    """Remove the socket file of a daemon that died."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise BindError(f"{path} is in the way and not a socket.", "Remove it.")
        if is_served(path):  # libzmq would take it away from them
            raise BindError(
                f"Another program listens at {path}.", "Choose another path with --endpoint."
            )
        path.unlink()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise BindError(f"The old socket {path} cannot be removed: {error.strerror}.") from error


def is_served(path: Path) -> bool:
    """Return whether somebody listens at a socket file.

    Raises:
        OSError: if it cannot be tried, for want of permission say.
    """
    with socket.socket(socket.AF_UNIX) as visitor:
        visitor.settimeout(1)
        try:
            visitor.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except (BlockingIOError, TimeoutError):  # there is a queue
            pass
        return True
