"""What the daemon does with each message: the jobs, their queue and their answers.

No sockets here: messages come in as checked fields, answers leave through an outbox.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from maskupe_client.framing import WireError
from maskupe_client.messages import plane_specs
from maskupe_daemon import memory
from maskupe_daemon.queue import FairQueue, Job, Route
from maskupe_daemon.reply_sender import GoneError, ReplySender
from maskupe_daemon.worker import Outcome, Worker

log = logging.getLogger("maskupe_daemon.queue")

#: A client hears of its job when something changed, but not more often than this, …
_PROGRESS_INTERVAL = 0.1
#: … and at least this often (seconds): a sign of life for it, a check that it lives for us.
_HEARTBEAT_INTERVAL = 0.5
#: How many clients' names are remembered for the log.
_MAX_CLIENT_NAMES = 256


@dataclass(frozen=True)
class Limits:
    """What the daemon takes at most; announced in ``welcome``.

    Attributes:
        max_plane: bytes of one plane.
        max_total: bytes of all planes of a message.
        max_queue: jobs that wait.
        max_queue_each: jobs of one client that wait.
    """

    max_plane: int
    max_total: int
    max_queue: int = 64
    max_queue_each: int = 16


class JobScheduler:
    """Takes jobs in, hands them to the worker in turn, answers, and forgets them."""

    def __init__(
        self,
        worker: Worker,
        outbox: ReplySender,
        limits: Limits,
    ) -> None:
        self._worker = worker
        self._outbox = outbox
        self._limits = limits
        self._jobs: dict[str, Job] = {}
        self._names: OrderedDict[Route, str] = OrderedDict()
        #: What a job usually takes, for those that cannot wait in the queue.
        self._usual_seconds = 1.0
        self.queue = FairQueue(limits.max_queue, limits.max_queue_each, limits.max_total)
        self.running: Job | None = None
        self.stopping = False
        self.served = 0
        self.failed = 0
        self.last_work = time.monotonic()

    @property
    def busy(self) -> bool:
        """Whether a job runs or waits."""
        return self.running is not None or len(self.queue) > 0

    def introduce(self, route: Route, name: str) -> None:
        """Remember what a client calls itself, for the log."""
        printable = "".join(c for c in name if c.isalnum() or c in " ._-/")
        self._names[route] = printable
        self._names.move_to_end(route)
        while len(self._names) > _MAX_CLIENT_NAMES:
            self._names.popitem(last=False)

    def enhance(self, route: Route, fields: dict[str, Any], planes: list[Any]) -> None:
        """Take a job in, re-attaches a repeated one, or says why not."""
        job = Job(route, self._name(route), fields, planes, received=time.monotonic())
        known = self._jobs.get(job.id)
        if known is not None:
            self._again(known, job)
            return
        if fields["replaces"]:
            older = self._jobs.get(fields["replaces"])
            if older is not None and older.route == route:
                self._stop(older, "replaced")
        refusal = self._admit(job)
        if refusal:
            self._send(route, {"type": "error", "id": job.id, **refusal})
            return
        self._jobs[job.id] = job
        self._next()

    def check_total(self, fields: Mapping[str, Any]) -> None:
        """Compare what a message announces with what the daemon takes.

        Raises:
            WireError: ``too-large``.
        """
        size = sum(spec.nbytes for spec in plane_specs(fields))
        if size > self._limits.max_total:
            raise WireError(
                "too-large",
                f"The job has {size / 1e6:.0f} MB of pixels; "
                f"the daemon takes at most {self._limits.max_total / 1e6:.0f} MB.",
                "Select a smaller part, or work at a lower precision.",
                request_id=fields["id"],
            )

    def cancel(self, job_id: str) -> bool:
        """Stop a job; False if it is not known."""
        job = self._jobs.get(job_id)
        if job is None:
            return False
        self._stop(job, "cancelled")
        return True

    def ended(self, outcome: Outcome) -> None:
        """Answer for a job that the worker has done with, and start the next."""
        job = outcome.job
        self.running = None
        self.last_work = time.monotonic()
        if self._jobs.get(job.id) is job:
            del self._jobs[job.id]
        if job.stop in ("cancelled", "replaced") or (job.stop and not outcome.ok):
            outcome.fields = _stopped(job.stop)
            outcome.planes = []
        if outcome.ok:
            self._usual_seconds = 0.7 * self._usual_seconds + 0.3 * outcome.fields["seconds"]
        if job.stop != "lost":
            header = {**outcome.fields, "id": job.id}
            if not self._send(job.route, header, outcome.planes):
                job.stop = "lost"
        self._count(outcome)
        self._next()

    def send_progress(self) -> None:
        """Tell clients how their jobs are doing; ends the jobs of those that are gone."""
        now = time.monotonic()
        ahead = 1 if self.running else 0
        jobs = [(self.running, 0)] if self.running and not self.running.stop else []
        jobs += [(job, ahead + number) for number, job in enumerate(self.queue)]
        for job, position in jobs:
            assert job is not None
            measure = job.fraction if job.running else -1.0 - position
            moved = measure != job.reported_measure
            if now - job.reported_at < (_PROGRESS_INTERVAL if moved else _HEARTBEAT_INTERVAL):
                continue
            job.reported_at, job.reported_measure = now, measure
            header = {
                "type": "progress",
                "id": job.id,
                "stage": "running" if job.running else "queued",
                "fraction": job.fraction,
                "position": position,
            }
            if not self._send(job.route, header):
                self._stop(job, "lost")

    def stop(self) -> None:
        """Take no more work and turn away what waits; what runs may still end."""
        self.stopping = True
        for job in list(self.queue):
            self._stop(job, "shutting-down")

    def cancel_running(self) -> None:
        """Ask the running job to end at its next strip."""
        if self.running and not self.running.stop:
            self.running.stop = "shutting-down"

    def notify_shutdown(self) -> None:
        """Tell the client of the running job that it will not be finished."""
        if self.running and self.running.stop != "lost":
            header = {**_stopped("shutting-down"), "id": self.running.id}
            self._send(self.running.route, header)

    def _again(self, known: Job, job: Job) -> None:
        """The same id once more: the same job by a client that reconnected, or a mistake."""
        if known.fingerprint() != job.fingerprint():
            fields = {
                "code": "id-in-use",
                "message": "Another job with this id is waiting or running.",
            }
            self._send(job.route, {"type": "error", "id": job.id, **fields})
        elif known.running:
            known.route = job.route
        else:
            self.queue.move(known, job.route)
        known.reported_at = 0.0

    def _admit(self, job: Job) -> dict[str, Any] | None:
        """Put a job into the queue; or says why not, as fields of an error."""
        if self.stopping:
            return _stopped("shutting-down")
        unread = self._outbox.waiting_bytes(job.route)
        if unread > self._limits.max_total or not self.queue.offer(job):
            ahead = len(self.queue) + (1 if self.running else 0)
            return {
                "code": "busy",
                "message": f"The daemon is busy: {ahead} jobs are ahead.",
                "hint": "Try again in a moment.",
                "position": ahead,
                "retry_after": min(60.0, max(0.1, self._usual_seconds)),
            }
        return None

    def _next(self) -> None:
        if self.running is None and (job := self.queue.take()):
            job.running = True
            job.started = time.monotonic()
            self.running = job
            self._worker.start(job)

    def _stop(self, job: Job, code: str) -> None:
        """End a job early: at once if it waits, at its next strip if it runs."""
        self._jobs.pop(job.id, None)
        job.stop = job.stop or code
        if self.queue.remove(job):
            memory.free_in_background(job.planes)
            self._count(Outcome(job, _stopped(code)))
            if code != "lost":
                self._send(job.route, {**_stopped(code), "id": job.id})

    def _send(self, route: Route, header: dict[str, Any], planes: Sequence[Any] = ()) -> bool:
        try:
            self._outbox.send(route, header, planes)
        except GoneError:
            return False
        return True

    def _name(self, route: Route) -> str:
        return f"{self._names.get(route, 'unnamed')}#{route.identity.hex()[-4:]}"

    def _count(self, outcome: Outcome) -> None:
        """One line a job: never pixels, never names of files."""
        job, now = outcome.job, time.monotonic()
        self.served += outcome.ok and job.stop != "lost"
        self.failed += not outcome.ok
        image = job.fields["image"]
        ending = job.stop or ("ok" if outcome.ok else outcome.fields["code"])
        waited = (job.started or now) - job.received
        log.info(
            "%s client=%s job=%s size=%s dtype=%s model=%s device=%s "
            "queued=%.3fs load=%.3fs run=%.3fs total=%.3fs peak=%.0fMB",
            ending,
            job.client,
            job.id[:8],
            "x".join(map(str, image.shape)),
            image.dtype,
            outcome.fields.get("model", job.fields["model"]),
            outcome.fields.get("device", "-"),
            waited,
            outcome.timing.load,
            outcome.timing.run,
            now - job.received,
            outcome.peak_bytes / 1e6,
        )


def _stopped(code: str) -> dict[str, Any]:
    """Return an error for a job that was ended early."""
    words = {
        "cancelled": ("The job was cancelled.", ""),
        "replaced": ("A newer job took this one's place.", ""),
        "shutting-down": ("The daemon is stopping.", "Start it again and retry."),
        "lost": ("The client is gone.", ""),
    }
    message, hint = words[code]
    return {"type": "error", "code": code, "message": message, "hint": hint}
