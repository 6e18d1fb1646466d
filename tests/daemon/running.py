"""A daemon process of a test, and the requests that tests send."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import zmq

from maskupe.areas.transition import Transition
from maskupe_client.client import Client, EnhanceRequest, PlaneSpec
from maskupe_client.connection import FILE_NAME, read_connection
from maskupe_client.errors import AnswerError, ClientError
from maskupe_daemon.permissions import replace_json
from tests.daemon.stand_in import enhanced

ROOT = Path(__file__).parents[2]
DTYPES = {"u8": np.uint8, "u16": np.uint16, "f32": np.float32}


class RunningDaemon:
    """A daemon in its own process."""

    command = "run"

    def __init__(self, home, *arguments, module="tests.daemon.stand_in", env=None, before=None):
        self.home = home
        self.stderr_path = home / f"stderr-{time.monotonic_ns()}"
        environment = {**os.environ, "MASKUPE_STATE_DIR": str(home), **(env or {})}
        with self.stderr_path.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, self.command, *arguments],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                preexec_fn=before,
            )

    def await_ready(self, timeout=60):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            try:
                with self.connect() as client:
                    if client.status()["pid"] == self.process.pid:
                        return
            except ClientError:
                pass
            if self.process.poll() is not None:
                raise AssertionError(f"ended with {self.process.returncode}: {self.stderr}")
            time.sleep(0.02)
        raise AssertionError("the daemon did not come up: " + self.stderr)

    def connect(self, **options):
        return Client.connect(directory=self.home, timeout=20, **options)

    def status(self):
        with self.connect() as client:
            return client.status()

    def await_status(self, timeout=20, **wanted):
        """Waits until every named field of the status has its value."""
        deadline = time.monotonic() + timeout
        while True:
            status = self.status()
            if all(status[name] == value for name, value in wanted.items()):
                return status
            assert time.monotonic() < deadline, status
            time.sleep(0.02)

    @property
    def stderr(self):
        """What it wrote. A job's line is there once its outcome shows in the status."""
        return self.stderr_path.read_text(errors="replace")

    @property
    def log(self):
        return (self.home / "daemon.log").read_text()

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout=20):
        return self.process.wait(timeout)

    def await_log(self, words, timeout=20):
        """Waits until words are in the log, which a thread of the daemon's may still write."""
        deadline = time.monotonic() + timeout
        while words not in self.log:
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(20)


@contextlib.contextmanager
def new_home():
    """An empty state directory, right under /tmp: a socket's path is at most 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix="mu", dir="/tmp"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def running_daemon(*arguments, **options):
    """A daemon that is ready, in a state directory of its own."""
    with new_home() as home:
        daemon = RunningDaemon(home, *arguments, **options)
        try:
            daemon.await_ready()
            yield daemon
        finally:
            daemon.kill()


def altered(home, **changes):
    """Rewrites the connection file with other values."""
    path = home / FILE_NAME
    replace_json(path, {**json.loads(path.read_text()), **changes})


def region(rng, shape=(40, 60, 3), dtype="u8", feather=False):
    """A random region and a selection in its middle."""
    if dtype == "f32":
        image = rng.normal(0.3, 0.4, shape).astype(np.float32)
    else:
        image = rng.integers(0, np.iinfo(DTYPES[dtype]).max, shape, DTYPES[dtype], endpoint=True)
    height, width = shape[:2]
    y, x = np.mgrid[:height, :width]
    inside = 0.35 - np.hypot((y - height / 2) / height, (x - width / 2) / width)
    if feather:
        return image, np.clip(inside * 5 + 0.2, 0, 1).astype(np.float32)
    return image, (inside > 0).astype(np.uint8) * np.uint8(255)


def spec(array):
    """How the wire describes an array."""
    names = {np.dtype(dtype): name for name, dtype in DTYPES.items()}
    return PlaneSpec(array.shape, names[array.dtype])


def request_for(image, selection=None, **options):
    """A request whose region is the whole layer, and its planes."""
    planes = [image] if selection is None else [image, selection]
    request = EnhanceRequest(
        image=spec(image),
        layer=image.shape[:2],
        selection=None if selection is None else spec(selection),
        **options,
    )
    return request, planes


def expected(image, selection, request):
    """What the stand-in must answer."""
    transition = Transition(request.width, request.side, request.edges)
    return enhanced(image, selection, request.strength, transition, request.layer)[0]


def assert_right(answer, image, selection, request):
    """Checks an answer against what the stand-in makes of the same pixels in this process.

    One step of tolerance: OpenCV's distance transform rounds the last bit by how memory lies.
    """
    result, wanted = as_array(answer["image"], image), expected(image, selection, request)
    assert result.dtype == wanted.dtype
    step = 1 if image.dtype.kind == "u" else 1e-6
    difference = np.abs(result.astype(np.float64) - wanted.astype(np.float64))
    assert difference.max() <= step


def as_array(plane, like):
    """A plane of an answer as an array of the shape and dtype of another."""
    return np.frombuffer(plane, like.dtype).reshape(like.shape)


def dealer_to(daemon, **options):
    """A plain pyzmq DEALER, for what our own client would never do."""
    context = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.linger = 0
    for name, value in options.items():
        setattr(dealer, name, value)
    dealer.connect(read_connection(daemon.home).endpoint)
    return context, dealer


def serves(daemon, shape=(40, 60, 3)):
    image, selection = region(np.random.default_rng(0), shape)
    request, planes = request_for(image, selection)
    with daemon.connect() as client:
        _, answer = client.enhance(request, planes)
    assert_right(answer, image, selection, request)


#: Seconds without work after which a daemon that hurries gives memory back.
REST = 0.2


def assert_memory_stays_flat(daemon, model, fault):
    """200 jobs of changing sizes leave no more memory behind than the first 50 of them.

    If each left its region behind, that would be 20 MB, several times what is allowed.

    Every tenth asks for the faulty model of ``fault``, (name, error code). The daemon must be one
    with ``MASKUPE_TEST_REST=REST``.
    """
    rng = np.random.default_rng(0)

    def jobs(count):
        with daemon.connect() as client:
            for number in range(count):
                shape = (*(int(side) for side in rng.integers(50, 250, 2)), 3)
                image, selection = region(rng, shape, "u16" if number % 3 else "f32")
                name = fault[0] if number % 10 == 7 else model
                try:
                    client.enhance(*request_for(image, selection, model=name))
                except AnswerError as error:
                    assert error.code == fault[1]

    def settled():
        """The least of two seconds, in which it gives back what it can."""
        looks = []
        for _ in range(20):
            time.sleep(REST / 2)
            looks.append(daemon.status()["resident_bytes"])
        return min(looks)

    jobs(50)
    early = settled()
    jobs(150)
    later = [settled()]
    # The allocator's free pages come and go by some megabytes; what is left behind only grows.
    while later[-1] >= early * 1.05 and len(later) < 4:
        jobs(100)
        later.append(settled())
    print(f"resident {early / 1e6:.1f} MB after 50 jobs, then {[f'{m / 1e6:.1f}' for m in later]}")
    assert later[-1] < early * 1.05


class Keeper:
    """Takes a plane and keeps what it got; ``begun`` counts the attempts."""

    def __init__(self, *sizes):
        self.sizes = sizes
        self.begun = 0
        self.got = b""

    def begin(self):
        self.begun += 1
        self.got = b""
        return self.sizes

    def take(self, piece):
        self.got += bytes(piece)
