"""The I/O loop: receives, answers, queues and sends, and never waits for anything else.

One thread runs :meth:`Server.run`; it alone touches the sockets. The worker thread does the work
and wakes the loop through a socket pair when a job has ended. So control messages are answered
while a job runs, and a client that is gone is noticed when it is told about its job's progress.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import socket
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import zmq

from maskupe_client.connection import Connection
from maskupe_client.framing import MAX_HEADER, MAX_PLANES, PROTOCOL, WireError
from maskupe_client.messages import check_sizes, parse
from maskupe_daemon import memory
from maskupe_daemon.auth import ZapAuthenticator
from maskupe_daemon.hardware import host_name
from maskupe_daemon.models import Models
from maskupe_daemon.queue import Route
from maskupe_daemon.reply_sender import GoneError, ReplySender
from maskupe_daemon.scheduler import JobScheduler, Limits
from maskupe_daemon.sockets import Listener
from maskupe_daemon.worker import Outcome, Worker

log = logging.getLogger("maskupe_daemon.server")

#: Seconds between two looks at the jobs while there are any.
_TICK = 0.1
#: Messages taken from the socket before anything else has its turn.
_AT_ONCE = 32
#: Seconds without work after which freed memory goes back to the system.
_REST = 2.0
#: Seconds that a running job gets to end by itself when the daemon stops, and once it is cancelled.
_GRACE, _CANCEL_TIMEOUT = 3.5, 1.0


class Server:
    """The daemon's loop.

    Args:
        connection: what the connection file says; proves to clients who we are.
        listener: where clients connect.
        authenticator: answers libzmq's questions about who may connect.
        models: where the worker finds its models.
        limits: what is taken at most.
        idle_unload: seconds without work after which the models are dropped; 0 for never.
    """

    def __init__(
        self,
        connection: Connection,
        listener: Listener,
        authenticator: ZapAuthenticator,
        models: Models,
        limits: Limits,
        idle_unload: float,
    ) -> None:
        self._connection = connection
        self._listener = listener
        self._authenticator = authenticator
        self._models = models
        self._limits = limits
        self._idle_unload = idle_unload
        self._outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._outbox = ReplySender(listener, limits.max_total)
        self._worker = Worker(models, self._worker_done)
        self._scheduler = JobScheduler(self._worker, self._outbox, limits)
        self._began = time.monotonic()
        self._stop_asked = False
        self._stop_at: float | None = None
        self._rested = True
        self._answers: dict[str, Callable[[Route, dict[str, Any]], dict[str, Any]]] = {
            "hello": self._hello,
            "status": self._status,
            "cancel": self._cancel,
            "shutdown": self._shutdown,
        }

    def wakeup_fd(self) -> int:
        """Return a descriptor that wakes the loop when a byte is written to it."""
        return self._wake_out.fileno()

    def stop(self) -> None:
        """Ask the loop to end; may be called from a signal handler or another thread."""
        self._stop_asked = True
        self._wake()

    def run(self) -> None:
        """Serve until it is asked to stop."""
        poller = zmq.Poller()
        poller.register(self._listener.router, zmq.POLLIN)
        poller.register(self._authenticator.socket, zmq.POLLIN)
        poller.register(self._wake_in.fileno(), zmq.POLLIN)
        while not self._finished():
            ready = dict(poller.poll(round(self._timeout() * 1000)))
            if self._authenticator.socket in ready:
                self._authenticator.answer()
            if self._wake_in.fileno() in ready:
                with contextlib.suppress(BlockingIOError):
                    self._wake_in.recv(4096)
            if self._listener.router in ready:
                self._receive()
            self._collect()
            self._scheduler.send_progress()
            self._outbox.drop_stalled()
            self._rest()

    def close(self) -> None:
        """Tell the last client, close the sockets and let the worker go."""
        self._scheduler.notify_shutdown()
        self._listener.close(linger_ms=1000)
        self._authenticator.close()
        self._worker.close(timeout=0.5)
        self._wake_in.close()
        self._wake_out.close()

    def _wake(self) -> None:
        # A full buffer means that the loop will wake up anyway.
        with contextlib.suppress(OSError):
            self._wake_out.send(b"\0")

    def _worker_done(self, outcome: Outcome) -> None:
        self._outcomes.put(outcome)
        self._wake()

    def load_ahead(self) -> None:
        """Load the default model before a job asks for it."""
        self._worker.load_ahead(self._loaded_ahead)

    def _loaded_ahead(self) -> None:
        # Called in the worker's thread. What loading has left behind is given back at rest.
        self._scheduler.last_work = time.monotonic()
        self._rested = False
        self._wake()

    def _collect(self) -> None:
        while not self._outcomes.empty():
            self._scheduler.ended(self._outcomes.get())

    def _timeout(self) -> float:
        """Seconds until something must be done although no message comes."""
        if self._scheduler.busy or self._stop_at is not None:
            return _TICK
        if not self._rested or self._outbox.waiting_bytes():
            return _REST
        if self._idle_unload and self._models.loaded():
            return max(0.0, self._scheduler.last_work + self._idle_unload - time.monotonic()) + 0.01
        return 3600.0

    def _rest(self) -> None:
        """What is done when there is nothing to do: giving back memory, then the models."""
        if self._scheduler.busy:
            self._rested = False
            return
        idle = time.monotonic() - self._scheduler.last_work
        if self._outbox.waiting_bytes():
            self._rested = False
        elif not self._rested and idle >= _REST:
            memory.give_back()
            self._rested = True
        if self._idle_unload and idle >= self._idle_unload and self._models.unload():
            memory.give_back()
            log.info("idle for %.0f s, the models were unloaded", idle)

    def _finished(self) -> bool:
        """Return whether the loop may end: asked to, and the running job ended or had its time."""
        if not self._stop_asked:
            return False
        now = time.monotonic()
        if self._stop_at is None:
            log.info("stopping")
            self._stop_at = now
            self._scheduler.stop()
        if now - self._stop_at >= _GRACE:
            self._scheduler.cancel_running()
        return not self._scheduler.busy or now - self._stop_at >= _GRACE + _CANCEL_TIMEOUT

    def _receive(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                identity, *frames = self._listener.router.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            route = Route(identity.bytes, _descriptor(frames))
            try:
                self._handle(route, frames)
            except WireError as error:
                fields = {"code": error.code, "message": error.message, "hint": error.hint}
                self._reply(route, {"type": "error", "id": error.id, **fields})
            except Exception:
                log.exception("a message could not be handled")
                fields = {"code": "failed", "message": "The daemon could not handle the message."}
                self._reply(route, {"type": "error", "id": "", **fields})
            if len(frames) > 1:
                memory.free_in_background(frames)

    def _handle(self, route: Route, frames: list[zmq.Frame]) -> None:
        """Check one message and act on it.

        Raises:
            WireError: if it breaks the protocol.
        """
        if not frames or len(frames) > 1 + MAX_PLANES:
            raise WireError(
                "bad-planes", f"A message has 1 header and at most {MAX_PLANES} planes."
            )
        planes = [frame.buffer for frame in frames[1:]]
        fields = parse(frames[0].buffer, "client")
        self._scheduler.check_total(fields)  # such a message comes without all of its planes
        check_sizes(fields, [plane.nbytes for plane in planes])
        if fields["type"] == "enhance":
            self._scheduler.enhance(route, fields, planes)
        else:
            answer = self._answers[fields["type"]](route, fields)
            self._reply(route, {"id": fields["id"], **answer})

    def _reply(self, route: Route, header: dict[str, Any]) -> None:
        with contextlib.suppress(GoneError):  # nobody is left to be told
            self._outbox.send(route, header)

    def _hello(self, route: Route, fields: dict[str, Any]) -> dict[str, Any]:
        self._scheduler.introduce(route, fields["client"])
        limits = {**asdict(self._limits), "max_header": MAX_HEADER, "max_planes": MAX_PLANES}
        return {
            "type": "welcome",
            "server": self._connection.server,
            "proof": self._connection.proof(fields["nonce"]),
            "version": self._connection.version,
            "device": self._models.device,
            **self._models.provenance,
            "host": host_name(),
            "models": self._models.names(),
            "limits": limits,
        }

    def _status(self, _route: Route, _fields: dict[str, Any]) -> dict[str, Any]:
        scheduler = self._scheduler
        report = {
            "server": self._connection.server,
            "pid": self._connection.pid,
            "version": self._connection.version,
            "protocol": PROTOCOL,
            "endpoints": [self._listener.endpoint],
            "host": host_name(),
            "device": self._models.device,
            "network": "",
            "renderer": "",
            "hardware": "",
            **self._models.provenance,
            "models": self._models.names(),
            "loaded": self._models.loaded(),
            "running": 1 if scheduler.running else 0,
            "queued": len(scheduler.queue),
            "queued_bytes": scheduler.queue.nbytes,
            "unread_bytes": self._outbox.waiting_bytes(),
            "served": scheduler.served,
            "failed": scheduler.failed,
            "uptime_seconds": round(time.monotonic() - self._began, 1),
            "resident_bytes": memory.resident_bytes(),
            "free_bytes": memory.free_bytes(),
            "stopping": scheduler.stopping,
        }
        return {"type": "report", "report": report}

    def _cancel(self, _route: Route, fields: dict[str, Any]) -> dict[str, Any]:
        return {"type": "ok", "found": self._scheduler.cancel(fields["job"])}

    def _shutdown(self, _route: Route, _fields: dict[str, Any]) -> dict[str, Any]:
        self.stop()
        return {"type": "ok", "found": True}


def _descriptor(frames: list[zmq.Frame]) -> int:
    """Return the file descriptor of the connection a message came by, as libzmq notes it.

    -1 if not.
    """
    try:
        return int(frames[0].get("__fd"))
    except (IndexError, ValueError, TypeError, zmq.ZMQError):
        return -1
