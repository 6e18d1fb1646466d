"""One job, and the bounded fair queue in which jobs wait."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from maskupe_client.messages import plane_specs

_IDENTITY_FIELDS = (
    "model",
    "strength",
    "denoise",
    "warmth",
    "saturation",
    "width",
    "side",
    "edges",
    "layer",
    "origin",
    "part",
    "outputs",
)


class Route(NamedTuple):
    """Where an answer goes.

    Attributes:
        identity: the client's routing id.
        descriptor: of the connection's file in this process, -1 if unknown.
    """

    identity: bytes
    descriptor: int = -1


@dataclass(eq=False)
class Job:
    """One ``enhance`` on its way through the daemon.

    The I/O loop owns every attribute but two, which it and the worker share without a lock
    because each is a single assignment: the worker writes ``fraction``, the loop writes ``stop``.

    Attributes:
        route: where the answers go; another one after the client reconnected.
        client: what the log calls the client.
        fields: the checked header.
        planes: the pixels, bytes-like, dropped as soon as the work is done.
        stop: the error code with which the job is to end early, or ``""``.
        fraction: how far the worker is, 0…1.
    """

    route: Route
    client: str
    fields: Mapping[str, Any]
    planes: list[Any]
    running: bool = False
    stop: str = ""
    fraction: float = 0.0
    received: float = field(default_factory=time.monotonic)
    started: float = 0.0
    reported_at: float = 0.0
    reported_measure: float = -1.0

    @property
    def id(self) -> str:
        """The identifier the client chose."""
        identifier: str = self.fields["id"]
        return identifier

    @property
    def nbytes(self) -> int:
        """Bytes of pixels the job holds while it waits and runs."""
        return sum(spec.nbytes for spec in plane_specs(self.fields))

    def fingerprint(self) -> bytes:
        """Tell a repeated request from another one under the same id, without the pixels."""
        named = [self.fields[name] for name in _IDENTITY_FIELDS]
        text = repr((named, plane_specs(self.fields)))
        return hashlib.sha256(text.encode()).digest()


class FairQueue:
    """Jobs by client, taken in turn, so that one busy client does not keep the others waiting.

    Args:
        most: jobs that may wait in all.
        most_each: jobs of one client that may wait.
        most_bytes: pixels that may wait in all; a single job is let in whatever its size.
    """

    def __init__(self, most: int, most_each: int, most_bytes: int) -> None:
        self.most = most
        self.most_each = most_each
        self.most_bytes = most_bytes
        self._turns: OrderedDict[Route, deque[Job]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._turns.values()))

    def __iter__(self) -> Iterator[Job]:
        """Yield the jobs in the order in which they will run, if no more arrive."""
        waiting = [list(jobs) for jobs in self._turns.values()]
        for round_number in range(max(map(len, waiting), default=0)):
            for jobs in waiting:
                if round_number < len(jobs):
                    yield jobs[round_number]

    @property
    def nbytes(self) -> int:
        """Bytes of pixels that wait."""
        return sum(job.nbytes for job in self)

    def offer(self, job: Job) -> bool:
        """Take the job in; False if the queue is full for this client."""
        waiting = self._turns.get(job.route, ())
        too_many = len(self) >= self.most or len(waiting) >= self.most_each
        too_large = len(self) > 0 and self.nbytes + job.nbytes > self.most_bytes
        if too_many or too_large:
            return False
        self._turns.setdefault(job.route, deque()).append(job)
        return True

    def take(self) -> Job | None:
        """Return the next job: the oldest of the client whose turn it is."""
        if not self._turns:
            return None
        route, jobs = next(iter(self._turns.items()))
        job = jobs.popleft()
        if jobs:
            self._turns.move_to_end(route)
        else:
            del self._turns[route]
        return job

    def remove(self, job: Job) -> bool:
        """Take a job out of the queue; False if it is not in it."""
        jobs = self._turns.get(job.route)
        if not jobs or job not in jobs:
            return False
        jobs.remove(job)
        if not jobs:
            del self._turns[job.route]
        return True

    def move(self, job: Job, route: Route) -> None:
        """Give a waiting job to the same client under its new route, at the end of its line."""
        if self.remove(job):
            job.route = route
            self._turns.setdefault(route, deque()).append(job)
