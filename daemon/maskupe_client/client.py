"""The daemon's client: connect, enhance, cancel.

    with Client.connect() as client:
        header, planes = client.enhance(request, [pixels, selection, context], progress=show)

A client is used by one thread. It reconnects by itself when an idle connection was dropped, waits
for its turn when the daemon is busy, and a request may be repeated with the same object after an
error: its id stays the same, so the daemon never does the same work twice at once.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from maskupe_client.errors import AnswerError, ClientError, ConnectionLostError, NotRunningError
from maskupe_client.framing import MAX_HEADER, PlaneSpec, WireError, new_id, pack
from maskupe_client.messages import parse
from maskupe_client.request import EnhanceRequest, Progress
from maskupe_client.session import Session
from maskupe_client.stream import POLL_INTERVAL, Buffer
from maskupe_client.zmtp import ChunkedFrame, Consumed, FrameSink, feed, frame_size

__all__ = [
    "ChunkedFrame",
    "Client",
    "EnhanceRequest",
    "FrameSink",
    "PlaneSpec",
    "Progress",
    "feed",
]

#: Seconds for which a job is offered again and again to a daemon that is too busy to queue it, …
BUSY_TIMEOUT = 120.0
#: … and the longest pause between two attempts, which double from what the daemon proposes.
_LONGEST_PAUSE = 10.0
#: A result with all its outputs has less than this many times the bytes of the image.
_MAX_GROWTH = 32

ProgressCall = Callable[[Progress], None]
#: The header of a ``result`` and its planes.
Result = tuple[dict[str, Any], dict[str, memoryview]]
_Self = TypeVar("_Self", bound="Client")


class Client(Session):
    """A connection that takes jobs. Use :meth:`connect`, and close it in the end."""

    def __init__(self, directory: Path | None, name: str, timeout: float) -> None:
        super().__init__(directory, name, timeout)
        self._answered = self._sent = False
        #: Bytes of the largest answer to any job so far: that to one that was cancelled too late
        #: comes while a smaller one is waited for.
        self._largest = 0

    @classmethod
    def connect(
        cls, timeout: float = 2.0, *, directory: Path | None = None, name: str = "python"
    ) -> Client:
        """Connect to the daemon and greet it, within ``timeout`` seconds.

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

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def status(self) -> dict[str, Any]:
        """Return what the daemon is doing: device, memory, models, queue, uptime, jobs served."""
        report: dict[str, Any] = self._ask({"type": "status"}, "report")["report"]
        return report

    def shutdown(self) -> None:
        """Ask the daemon to stop; running jobs get a few seconds.

        A daemon that has ended before its answer arrived did what it was asked for.
        """
        with contextlib.suppress(NotRunningError):
            self._ask({"type": "shutdown"}, "ok")

    def cancel(self, job: str) -> bool:
        """Cancel a job by its id, also another client's; False if there is no such job."""
        return bool(self._ask({"type": "cancel", "job": job}, "ok")["found"])

    def enhance(
        self,
        request: EnhanceRequest,
        planes: Sequence[Buffer | ChunkedFrame],
        progress: ProgressCall | None = None,
        *,
        takers: Mapping[str, FrameSink] | None = None,
        busy_timeout: float = BUSY_TIMEOUT,
    ) -> Result:
        """Have a region enhanced.

        Args:
            request: what to do.
            planes: the pixels of image, selection and context, those that are not None, in this
                order: contiguous bytes-like objects, or :class:`ChunkedFrame`.
            progress: called at least every 50 ms, so that a user interface stays alive. What it
                raises cancels the job and comes out of this method.
            takers: for outputs that are to be used while they arrive, by their names. They are
                not among the planes that are returned; after an error a taker may have got a part.
            busy_timeout: for how many seconds the job is offered again to a daemon whose queue is
                full; meanwhile ``progress`` hears ``"queued"`` and how many jobs are ahead.

        Returns:
            The ``result`` header, and the planes by name as writable memoryviews of bytes.

        Raises:
            AnswerError: if the daemon cannot do it; ``code`` says why.
            ConnectionLostError, NotAnsweringError: if the daemon is gone or stuck. The same
                request may be sent again.
            NotRunningError, RefusedError, ProtocolMismatchError: when reconnecting.
        """
        self._check_limits(request, planes)
        attempt = partial(self._send_and_wait, request, planes, progress, takers or {})
        deadline = time.monotonic() + busy_timeout
        pause = 0.0
        while True:
            try:
                return self._reconnected(attempt)
            except AnswerError as refusal:
                left = deadline - time.monotonic()
                if refusal.code != "busy" or left <= 0:
                    raise
                # Twice as long each time: many clients that wait must not fill the line.
                pause = min(_LONGEST_PAUSE, max(2 * pause, refusal.retry_after))
                self._wait_in_line(min(pause, left), refusal.position, progress)

    def _wait_in_line(self, seconds: float, position: int, progress: ProgressCall | None) -> None:
        """Wait before the next attempt at a full queue."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if progress:
                progress(Progress("queued", 0.0, position))
            time.sleep(min(POLL_INTERVAL, left))

    def _reconnected(self, attempt: Callable[[], Result]) -> Result:
        """Make an attempt, and another one over a new connection if the old one was lost."""
        try:
            return attempt()
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
            return attempt()

    def _send_and_wait(
        self,
        request: EnhanceRequest,
        planes: Sequence[Buffer | ChunkedFrame],
        progress: ProgressCall | None,
        takers: Mapping[str, FrameSink],
    ) -> Result:
        latest = Progress("sending", 0.0, 0)
        self._answered = self._sent = False

        def wait() -> None:
            if progress:
                progress(latest)

        def taking(parts: list[Any], size: int) -> FrameSink | None:
            return _taker(parts, size, request.id, takers)

        channel = self._open_channel()
        channel.send([pack(request.header()), *planes], wait)
        self._sent = True
        latest = Progress("queued", 0.0, 0)
        self._largest = max(self._largest, MAX_HEADER + _MAX_GROWTH * request.image.nbytes)
        try:
            while True:
                parts = channel.receive(wait, largest=self._largest, taking=taking)
                assert parts is not None  # without a timeout it waits or raises
                answer = self._read(parts, request.id)
                if answer is None:
                    continue
                self._answered = True
                if answer["type"] == "progress":
                    latest = Progress(answer["stage"], answer["fraction"], answer["position"])
                    wait()
                elif answer["type"] == "result":
                    return answer, _kept(answer, parts[1:], takers)
        except (ClientError, WireError):
            raise
        except BaseException:
            self._forget(request.id)
            raise

    def _forget(self, job: str) -> None:
        """Cancel a job without waiting for the answer; what still comes is skipped later."""
        if self._channel and not self._channel.broken:
            try:
                self._channel.send([pack({"type": "cancel", "id": new_id(), "job": job})])
            except ClientError:
                self.close()

    def _check_limits(
        self, request: EnhanceRequest, planes: Sequence[Buffer | ChunkedFrame]
    ) -> None:
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


def _taker(
    parts: list[Any], size: int, job: str, takers: Mapping[str, FrameSink]
) -> FrameSink | None:
    """Who takes the frame that follows these, if it is a plane of the job's result."""
    if not takers:
        return None
    try:
        answer = parse(parts[0], "daemon")
    except WireError:
        return None  # told when the message is complete
    planes = answer["planes"] if answer["type"] == "result" and answer["id"] == job else ()
    if len(parts) > len(planes) or planes[len(parts) - 1][1].nbytes != size:
        return None
    return takers.get(planes[len(parts) - 1][0])


def _kept(
    answer: dict[str, Any], frames: list[Any], takers: Mapping[str, FrameSink]
) -> dict[str, memoryview]:
    """Return the result's planes that nobody took.

    Where the channel keeps all, takers get theirs now.
    """
    kept = {}
    for (name, _), frame in zip(answer["planes"], frames, strict=True):
        if isinstance(frame, Consumed):
            continue
        if name not in takers:
            kept[name] = frame
            continue
        feed(takers[name], frame)
    return kept
