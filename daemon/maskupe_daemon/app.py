"""The daemon's life: one at a time, found by its connection file, gone without a trace."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import zmq

from maskupe import __version__
from maskupe.errors import InputError, MaskUPEError, MemoryLimitError
from maskupe_client.connection import Connection, state_directory
from maskupe_client.framing import MAX_PLANE_BYTES
from maskupe_client.launcher import WANTED_VARIABLE
from maskupe_daemon import memory
from maskupe_daemon.auth import ZapAuthenticator
from maskupe_daemon.logfile import logging_to
from maskupe_daemon.models import Library, Models
from maskupe_daemon.permissions import owner_only, secure_directory
from maskupe_daemon.presence import announce, only_one, withdraw
from maskupe_daemon.proxy import Bounds
from maskupe_daemon.scheduler import Limits
from maskupe_daemon.server import Server
from maskupe_daemon.sockets import IO_THREADS, Listener, default_endpoint, listen, new_token

log = logging.getLogger("maskupe_daemon")

#: No client's pixels may take more than this share of the memory there is.
_SHARE = 0.25
#: Connections at once. Each takes three descriptors: the client's and both ends of the proxy's.
_CONNECTIONS, _DESCRIPTORS_EACH = 1024, 3
#: There, no more than 512 sockets can be waited for at a time, two for each connection.
_CONNECTIONS_OF_WINDOWS = 200
#: Descriptors for all else: libraries, models, libzmq's threads, the graphics card.
_DESCRIPTORS_ELSE = 256
#: Files, so also connections, that may be open at once where the system lets us choose; macOS
#: takes no larger number.
_OPEN_FILES = 10_240


class DeviceError(MaskUPEError):
    """The device asked for is not there."""

    code = "device"
    exit_status = 5


@dataclass(frozen=True)
class Options:
    """How to run the daemon.

    Attributes:
        endpoint: where local clients are expected, or None for the usual place.
        tcp: expect local clients on a loopback port even where ipc is to be had.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        idle_unload: seconds without work after which models are dropped; 0 for never.
        verbose: log debugging messages.
    """

    endpoint: str | None = None
    tcp: bool = False
    device: str = "auto"
    idle_unload: float = 600.0
    verbose: bool = False


def run(options: Options) -> None:
    """Run the daemon in the foreground until SIGTERM, SIGINT or a ``shutdown`` message.

    Raises:
        AccessError: if its directory or an endpoint is not safe or not to be had.
        AlreadyRunningError: if there is one.
        DeviceError: if the device is not there.
        InputError: for options that cannot be used.
    """
    directory = state_directory()
    secure_directory(directory)
    with owner_only(), logging_to(directory, verbose=options.verbose):
        try:
            with only_one(directory):
                _check_device(options.device)
                memory.configure_malloc()
                _allow_open_files()
                _check_threads()
                _serve(directory, options)
        except MaskUPEError as error:
            log.error("%s", error, extra={"is_reported": True})
            raise
        except Exception as error:
            log.error("the daemon failed", exc_info=error, extra={"is_reported": True})
            raise


def _serve(directory: Path, options: Options) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=IO_THREADS)
    limits = _limits()
    token = new_token()
    authenticator = ZapAuthenticator(context, token)
    listener: Listener | None = None
    server: Server | None = None
    try:
        # Nothing must claim to be a running daemon before we are one.
        withdraw(directory)
        endpoint = options.endpoint or (
            "tcp://127.0.0.1:*" if options.tcp else default_endpoint(directory)
        )
        bounds = Bounds(_most_connections(), limits.max_plane, limits.max_total)
        listener = listen(context, endpoint, bounds)
        connection = Connection(
            endpoint=listener.endpoint,
            mechanism=listener.mechanism,
            token=token if listener.mechanism == "PLAIN" else "",
            secret=new_token(),
            server=secrets.token_hex(8),
            pid=os.getpid(),
            version=__version__,
        )
        models = Models(Library(), options.device)
        server = Server(connection, listener, authenticator, models, limits, options.idle_unload)
        with _signals(server), contextlib.ExitStack() as stack:
            stack.callback(withdraw, directory)
            announce(connection, directory)
            place = listener.endpoint
            log.info("version %s listens at %s (pid %d)", __version__, place, os.getpid())
            notify("READY=1")
            if os.environ.get(WANTED_VARIABLE):
                server.load_ahead()
            server.run()
            notify("STOPPING=1")
    finally:
        if server:
            server.close()
        else:
            authenticator.close()
            if listener:
                listener.close(linger_ms=0)
        context.term()
        if listener:
            listener.finish(timeout=1.0)
    log.info("stopped")


def _limits() -> Limits:
    most = int(min(MAX_PLANE_BYTES, memory.total_bytes() * _SHARE))
    return Limits(max_plane=most, max_total=most)


def _check_device(device: str) -> None:
    """Fail now, not at the first job, if a device that was asked for is not there."""
    from maskupe.inference.loading import DEVICES, choose_device

    if device not in DEVICES:
        raise InputError(f"The device {device!r} is unknown.", f"Use one of {', '.join(DEVICES)}.")
    if device in ("auto", "cpu"):
        return  # always there; looking for a GPU can wait until a job comes
    try:
        choose_device(device)
    except InputError as error:
        raise DeviceError(error.message, error.hint) from error


def _allow_open_files() -> None:
    """Raise the process's own limit of open files as far as it may.

    Many systems start with as few as 256 or 1024.
    """
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _check_threads() -> None:
    """Make sure that there can be as many threads as are needed: libzmq ends the process if not.

    Raises:
        MemoryLimitError: if their stacks do not fit into memory, or there may be no more threads.
    """
    end = threading.Event()
    # libzmq's, its two of its own, and ours; what the work itself takes is reported as it fails.
    threads = [threading.Thread(target=end.wait, daemon=True) for _ in range(IO_THREADS + 6)]
    try:
        for thread in threads:
            thread.start()
    except (RuntimeError, MemoryError) as error:
        raise MemoryLimitError(
            "There is not enough memory for the daemon's threads.",
            "Close other programs, or raise the limit (ulimit -v, ulimit -u).",
        ) from error
    finally:
        end.set()
        for thread in threads:
            if thread.ident is not None:
                thread.join()


def _most_connections() -> int:
    """As many connections as there are descriptors for: without one libzmq ends the process."""
    if sys.platform == "win32":
        return _CONNECTIONS_OF_WINDOWS
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _CONNECTIONS
    spare = max(soft - _DESCRIPTORS_ELSE, soft // 4)
    return max(1, min(_CONNECTIONS, spare // _DESCRIPTORS_EACH))


@contextlib.contextmanager
def _signals(server: Server) -> Iterator[None]:
    """SIGTERM and SIGINT stop the server. The wake-up descriptor ends a poll that waits."""
    names = [signal.SIGTERM, signal.SIGINT]
    before = {name: signal.signal(name, lambda *_: server.stop()) for name in names}
    wakeup = signal.set_wakeup_fd(server.wakeup_fd(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        for name, handler in before.items():
            signal.signal(name, handler)


def notify(state: str) -> None:
    """Tell systemd, if it started us with ``Type=notify``, how we are."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address and hasattr(socket, "AF_UNIX"):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.connect("\0" + address[1:] if address.startswith("@") else address)
            sock.sendall(state.encode())
