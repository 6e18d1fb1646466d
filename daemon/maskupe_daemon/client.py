"""The client of the daemon, for GIMP's Python and any other: standard library and msgpack only.

    with Client.connect() as client:
        header, planes = client.enhance(request, [pixels, selection, context], progress=show)

A client is used by one thread. It reconnects by itself when an idle connection was dropped, and
a request may be repeated with the same object after an error: its id stays the same, so the
daemon never does the same work twice at once.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from .connection import Connection, read_connection
from .failures import (
    AnswerError,
    ClientError,
    ConnectionLostError,
    NotAnsweringError,
    NotRunningError,
    ProtocolMismatchError,
    RefusedError,
)
from .messages import check_sizes, parse
from .request import EnhanceRequest, Progress
from .wire import MAX_HEADER, PROTOCOL, PlaneSpec, WireError, new_id, pack
from .zmtp import Bands, Buffer, Channel, frame_size

__all__ = ["BUNDLED", "Bands", "Client", "EnhanceRequest", "PlaneSpec", "Progress"]

#: The files that the plug-in needs beside msgpack's pure-Python ones, all in this folder.
BUNDLED = (
    "__init__.py",
    "client.py",
    "connection.py",
    "failures.py",
    "kinds.py",
    "messages.py",
    "request.py",
    "starter.py",
    "wire.py",
    "zmtp.py",
)

#: Seconds without a sign of life after which a busy daemon counts as stuck. It sends one every
#: half second while a job waits or runs, so this is generous.
SILENCE = 10.0
#: A result with all its outputs has less than this many times the bytes of the image.
_MAX_GROWTH = 32


ProgressCall = Callable[[Progress], None]


class Client:
    """A connection to the running daemon. Use :meth:`connect`, and close it in the end."""

    def __init__(self, directory: Path | None, name: str, timeout: float) -> None:
        self._directory = directory
        self._name = name
        self._timeout = timeout
        self._channel: Channel | None = None
        self._answered = self._sent = False
        #: What the daemon said in ``welcome``: server, version, device, models, limits.
        self.welcome: dict[str, Any] = {}

    @classmethod
    def connect(
        cls, timeout: float = 2.0, *, directory: Path | None = None, name: str = "python"
    ) -> Client:
        """Connects to the daemon and greets it, within ``timeout`` seconds.

        Args:
            timeout: for connecting and greeting, in seconds.
            directory: the state directory with the connection file; the usual one if left out.
            name: what the daemon's log calls this client.

        Raises:
            NotRunningError: if no daemon is there.
            RefusedError: if it does not let this client in, or is not our daemon.
            ProtocolMismatchError: if it speaks another protocol.
            NotAnsweringError: if it does not answer in time.
        """
        client = cls(directory, name[:64], timeout)
        client._reconnect()
        return client

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection. Jobs of this client end."""
        if self._channel:
            self._channel.close()
            self._channel = None

    def hello(self) -> dict[str, Any]:
        """Greets again; returns ``server``, ``version``, ``device``, ``models``, ``limits``."""
        self.welcome = self._ask({"type": "hello", "client": self._name}, "welcome")
        return self.welcome

    def status(self) -> dict[str, Any]:
        """What the daemon is doing: device, memory, models, queue, uptime, jobs served."""
        report: dict[str, Any] = self._ask({"type": "status"}, "report")["report"]
        return report

    def shutdown(self) -> None:
        """Asks the daemon to stop; running jobs get a few seconds."""
        self._ask({"type": "shutdown"}, "ok")

    def cancel(self, job: str) -> bool:
        """Cancels a job by its id, also another client's; False if there is no such job."""
        return bool(self._ask({"type": "cancel", "job": job}, "ok")["found"])

    def enhance(
        self,
        request: EnhanceRequest,
        planes: Sequence[Buffer | Bands],
        progress: ProgressCall | None = None,
    ) -> tuple[dict[str, Any], dict[str, memoryview]]:
        """Has a region enhanced.

        Args:
            request: what to do.
            planes: the pixels of image, selection and context, those that are not None, in this
                order: contiguous bytes-like objects, or :class:`Bands`.
            progress: called at least every 50 ms, so that a user interface stays alive. What it
                raises cancels the job and comes out of this method.

        Returns:
            The ``result`` header, and the planes by name as writable memoryviews of bytes.

        Raises:
            AnswerError: if the daemon cannot do it; ``code`` says why.
            ConnectionLostError, NotAnsweringError: if the daemon is gone or stuck. The same
                request may be sent again.
            NotRunningError, RefusedError, ProtocolMismatchError: when reconnecting.
        """
        self._check_limits(request, planes)
        try:
            return self._enhance(request, planes, progress)
        except ConnectionLostError as lost:
            # A connection that lay idle may have been dropped, or the daemon restarted.
            if self._answered:
                raise
            try:
                self._reconnect()
            except NotRunningError:
                # What had been sent in full was being worked on: the daemon ended under it.
                if self._sent:
                    raise lost from None
                raise
            return self._enhance(request, planes, progress)

    def _enhance(
        self,
        request: EnhanceRequest,
        planes: Sequence[Buffer | Bands],
        progress: ProgressCall | None,
    ) -> tuple[dict[str, Any], dict[str, memoryview]]:
        latest = Progress("sending", 0.0, 0)
        self._answered = self._sent = False

        def wait() -> None:
            if progress:
                progress(latest)

        channel = self._open_channel()
        channel.send([pack(request.header()), *planes], wait)
        self._sent = True
        latest = Progress("queued", 0.0, 0)
        largest = MAX_HEADER + _MAX_GROWTH * request.image.nbytes
        try:
            while True:
                parts = channel.receive(wait, largest=largest)
                assert parts is not None  # without a timeout it waits or raises
                answer = self._read(parts, request.id)
                if answer is None:
                    continue
                self._answered = True
                if answer["type"] == "progress":
                    latest = Progress(answer["stage"], answer["fraction"], answer["position"])
                    wait()
                elif answer["type"] == "result":
                    names = [name for name, _ in answer["planes"]]
                    return answer, dict(zip(names, parts[1:], strict=True))
        except (ClientError, WireError):
            raise
        except BaseException:
            self._forget(request.id)
            raise

    def _forget(self, job: str) -> None:
        """Cancels a job without waiting for the answer; what still comes is skipped later."""
        if self._channel and not self._channel.broken:
            try:
                self._channel.send([pack({"type": "cancel", "id": new_id(), "job": job})])
            except ClientError:
                self.close()

    def _check_limits(self, request: EnhanceRequest, planes: Sequence[Buffer | Bands]) -> None:
        specs = [s for s in (request.image, request.selection, request.context) if s is not None]
        sizes = [frame_size(plane) for plane in planes]
        if sizes != [spec.nbytes for spec in specs]:
            raise ValueError("the planes do not have the sizes that the request names")
        limits = self.welcome.get("limits", {})
        for name, size in (("max_plane", max(sizes)), ("max_total", sum(sizes))):
            if size > limits.get(name, size):
                raise AnswerError(
                    "too-large",
                    f"The region has {size / 1e6:.0f} MB; the daemon takes at most "
                    f"{limits[name] / 1e6:.0f} MB.",
                    "Select a smaller part, or work at a lower precision.",
                )

    def _ask(self, header: dict[str, Any], expected: str) -> dict[str, Any]:
        """Sends a small request and waits for its answer."""
        try:
            return self._ask_once(header, expected)
        except ConnectionLostError:  # an idle connection that was dropped
            self._reconnect()
            return self._ask_once(header, expected)

    def _ask_once(self, header: dict[str, Any], expected: str) -> dict[str, Any]:
        channel = self._open_channel()
        identifier = new_id()
        channel.send([pack({**header, "id": identifier})])
        deadline = time.monotonic() + self._timeout
        while True:
            left = deadline - time.monotonic()
            parts = channel.receive(timeout=left) if left > 0 else None
            if parts is None:
                self.close()
                raise NotAnsweringError(self._timeout)
            answer = self._read(parts, identifier)
            if answer is not None and answer["type"] == expected:
                return answer

    def _read(self, parts: list[memoryview], identifier: str) -> dict[str, Any] | None:
        """The answer to a request; None if the message belongs to an older one.

        Raises:
            AnswerError: if it is an ``error``.
            ProtocolMismatchError, RefusedError: if it cannot be understood.
        """
        try:
            answer = parse(parts[0], "daemon")
            check_sizes(answer, [len(part) for part in parts[1:]])
        except WireError as error:
            self.close()
            if error.code == "version":
                raise ProtocolMismatchError("another version", PROTOCOL) from error
            raise RefusedError(
                f"The daemon's answer cannot be understood: {error.message}", "Update MaskUPE."
            ) from error
        if answer["id"] not in (identifier, ""):
            return None
        if answer["type"] == "error":
            if answer["code"] == "version":
                self.close()
                raise ProtocolMismatchError("another version", PROTOCOL)
            raise AnswerError(
                answer["code"],
                answer["message"],
                answer["hint"],
                position=answer["position"],
                retry_after=answer["retry_after"],
            )
        return answer

    def _open_channel(self) -> Channel:
        if self._channel is None or self._channel.broken:
            self._reconnect()
        assert self._channel is not None
        return self._channel

    def _reconnect(self) -> None:
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                self._connect_once()
                return
            except ConnectionLostError:
                # A daemon that ends may still let clients in; a moment later it is gone.
                if time.monotonic() > deadline:
                    raise RefusedError(
                        "What listens in the daemon's place closes every connection.",
                        "Restart the daemon.",
                    ) from None
                time.sleep(0.05)

    def _connect_once(self) -> None:
        self.close()
        connection = read_connection(self._directory)
        try:
            self._channel = Channel.connect(
                connection.endpoint, connection.token, self._timeout, SILENCE
            )
        except (FileNotFoundError, ConnectionRefusedError):
            raise NotRunningError("it ended without tidying up") from None
        except TimeoutError:
            raise NotAnsweringError(self._timeout) from None
        except OSError as error:
            raise RefusedError(
                f"The MaskUPE daemon at {connection.endpoint} cannot be reached: {error}.",
                "Restart the daemon.",
            ) from error
        self._greet(connection)

    def _greet(self, connection: Connection) -> None:
        nonce = secrets.token_hex(16)
        welcome = self._ask_once({"type": "hello", "client": self._name, "nonce": nonce}, "welcome")
        if not hmac.compare_digest(welcome["proof"], connection.proof(nonce)):
            self.close()
            raise RefusedError(
                "Another program listens in the place of the MaskUPE daemon.",
                "Restart the daemon.",
            )
        self.welcome = welcome
