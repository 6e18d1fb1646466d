"""A daemon under random clients, kills and garbage for as long as you like, and its figures.

``python -m tests.daemon.soak --seconds 600`` starts a daemon with the stand-in models and ends
with status 0 if every good job was answered right, none was lost, and memory stayed flat.
"""

import argparse
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np

from maskupe_client.client import Client
from maskupe_client.connection import read_connection
from maskupe_client.errors import AnswerError
from maskupe_client.framing import pack
from tests.daemon.garbage import GARBAGE, poke
from tests.daemon.running import ROOT, assert_right, region, request_for, running_daemon

#: Memory may be this much more at the end than after the first tenth.
MOST_GROWTH = 1.05
STAGES = ("sending", "waiting", "receiving")
MODELS = ("quick", "quick", "quick", "slow-4", "broken")


class StopWorkError(Exception):
    """Raised in a progress callback to cancel."""


class Soak:
    """The threads that use and abuse a daemon, and what they counted."""

    def __init__(self, daemon, seconds, seed):
        self.daemon = daemon
        self.end = time.monotonic() + seconds
        self.seconds = seconds
        self.seed = seed
        self.counts = Counter()
        self.problems = []
        self.latencies = []
        self.resident = []
        self._lock = threading.Lock()

    def count(self, what):
        with self._lock:
            self.counts[what] += 1

    def run(self, clients):
        roles = [self.good_client] * clients + [self.killer, self.garbage, self.sampler]
        threads = [
            threading.Thread(target=self.guarded, args=(role, self.seed + number))
            for number, role in enumerate(roles)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.daemon.await_status(running=0, queued=0, unread_bytes=0, timeout=90)
        time.sleep(4)  # memory is given back after two seconds of rest
        self.last = self.daemon.status()

    def guarded(self, role, seed):
        rng = np.random.default_rng(seed)
        while time.monotonic() < self.end:
            try:
                role(rng)
            except Exception as error:
                with self._lock:
                    self.problems.append(f"{role.__name__}: {type(error).__name__}: {error}")

    def good_client(self, rng):
        """One connection and some jobs; every answer is compared with the library's."""
        with self.daemon.connect(name="good") as client:
            for _ in range(int(rng.integers(1, 20))):
                if time.monotonic() > self.end:
                    return
                shape = tuple(int(n) for n in rng.integers([8, 8, 1], [400, 400, 5]))
                image, selection = region(rng, shape, rng.choice(["u8", "u16", "f32"]))
                model = str(rng.choice(MODELS))
                strength = float(rng.uniform(0, 2))
                request, planes = request_for(image, selection, model=model, strength=strength)
                self.one_job(client, request, planes, cancels=rng.random() < 0.1)

    def one_job(self, client, request, planes, cancels):
        def progress(now):
            if cancels and now.stage == "running":
                raise StopWorkError

        try:
            _, answer = client.enhance(request, planes, progress)
            assert_right(answer, *planes, request)
            self.count("right")
        except StopWorkError:
            self.count("cancelled")
        except AnswerError as error:
            if error.code == "failed" and request.model == "broken":
                self.count("failed as they should")
            else:
                raise

    def killer(self, rng):
        """A client in its own process, killed or stopped in the middle."""
        stage = str(rng.choice(STAGES))
        victim = subprocess.Popen(
            [sys.executable, "-m", "tests.daemon.victim", stage, str(self.daemon.home)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        victim.stdout.readline()
        if rng.random() < 0.3:
            victim.send_signal(signal.SIGSTOP)
            time.sleep(float(rng.uniform(0, 2)))
        victim.kill()
        victim.wait()
        self.count("clients killed")

    def garbage(self, rng):
        """Raw bytes, and messages that are wrong in every way."""
        endpoint = read_connection(self.daemon.home).endpoint
        poke(endpoint, GARBAGE[str(rng.choice(list(GARBAGE)))])
        header = bytearray(pack({"type": "hello", "id": "x", "client": "garbage"}))
        header[int(rng.integers(len(header)))] = int(rng.integers(256))
        with Client.connect(directory=self.daemon.home, timeout=20) as client:
            for frames in ([bytes(header)], [rng.bytes(50)], [bytes(header), b"x"] * 3):
                client._channel.send(frames)
                client._channel.receive(timeout=5)
        self.count("rounds of garbage")

    def sampler(self, _rng):
        """How long a control message takes, and how much memory the daemon holds."""
        with self.daemon.connect(name="sampler") as client:
            while time.monotonic() < self.end:
                began = time.perf_counter()
                status = client.status()
                self.latencies.append(time.perf_counter() - began)
                self.resident.append(status["resident_bytes"])
                time.sleep(0.1)

    def report(self):
        """Prints the figures; True if all is well."""
        latencies = np.array(self.latencies) * 1000
        tenth = max(1, len(self.resident) // 10)
        early = float(np.median(self.resident[tenth : 2 * tenth]))
        late = float(np.median(self.resident[-tenth:]))
        handles = len(list(Path(f"/proc/{self.daemon.process.pid}/fd").iterdir()))
        flat = late <= early * MOST_GROWTH
        print(f"seconds                    {self.seconds}")
        for what in sorted(self.counts):
            print(f"{what:26} {self.counts[what]}")
        print(f"wrong or lost              {len(self.problems)}")
        print(
            f"status answered in         {np.median(latencies):.1f} ms median, "
            f"{np.percentile(latencies, 99):.1f} ms 99 %, {latencies.max():.1f} ms at most"
        )
        print(f"resident, second tenth     {early / 1e6:.1f} MB")
        print(f"resident, last tenth       {late / 1e6:.1f} MB{'' if flat else '  NOT FLAT'}")
        print(f"resident, at rest          {self.last['resident_bytes'] / 1e6:.1f} MB")
        print(f"open files at rest         {handles}")
        for problem in self.problems[:20]:
            print(f"problem: {problem}")
        return not self.problems and flat


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with running_daemon("--idle-unload", "5") as daemon:
        soak = Soak(daemon, options.seconds, options.seed)
        soak.run(options.clients)
        return 0 if soak.report() else 1


if __name__ == "__main__":
    sys.exit(main())
