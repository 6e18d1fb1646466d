"""How long the daemon takes to answer a question while it works on large jobs.

``python -m tests.daemon.latency --megapixels 24 100`` starts the real daemon with the real default
model. One process sends it a job of each size and depth, another asks for its status all the time
from before the sending until after the answer, the first job's loading of the model included. In
between it asks a process that does nothing else, to tell the daemon's delays from the machine's.
"""

import argparse
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from maskupe_client.client import Client, EnhanceRequest
from tests.daemon.running import DTYPES, ROOT, running_daemon, spec

#: Seconds between an answer and the next question.
PAUSE = 0.003


def send_job(home, megapixels, dtype):
    """One job of so many pixels, RGBA, with a disc selected; prints when it begins and ends."""
    side = round((megapixels * 1e6) ** 0.5)
    image = np.empty((side, side, 4), DTYPES[dtype])
    ramp = np.linspace(0.02, 1, side)
    top = 1 if dtype == "f32" else np.iinfo(image.dtype).max
    image[:] = (ramp * top).astype(image.dtype)[:, None, None]
    line = (np.arange(side) - side / 2) ** 2
    selection = (line[:, None] + line < (side * 0.4) ** 2).astype(np.uint8) * np.uint8(255)
    request = EnhanceRequest(spec(image), image.shape[:2], selection=spec(selection))
    with Client.connect(directory=home, timeout=20, name="large") as client:
        print("ready", flush=True)
        sys.stdin.readline()
        header, _ = client.enhance(request, [image, selection])
    print(f"{header['seconds']:.2f}", flush=True)


def measure(daemon, echo, megapixels, dtype):
    """Milliseconds of every answer during one job, of every echo, and the seconds of the job."""
    command = [sys.executable, "-m", "tests.daemon.latency", "--send", str(daemon.home)]
    sender = subprocess.Popen(
        [*command, "--megapixels", str(megapixels), "--dtypes", dtype],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert sender.stdout.readline() == "ready\n"
    answers, echoes = [], []
    with daemon.connect(name="asking") as client:
        client.status()
        sender.stdin.write("\n")
        sender.stdin.flush()
        while sender.poll() is None:
            for ask, waits in ((client.status, answers), (echo, echoes)):
                time.sleep(PAUSE)
                began = time.perf_counter()
                ask()
                waits.append((time.perf_counter() - began) * 1000)
    seconds = sender.stdout.read().strip()
    assert sender.returncode == 0
    return np.array(answers), np.array(echoes), seconds


def start_echo():
    """Asks a process that does nothing but answer: what the machine itself takes meanwhile."""
    here, there = socket.socketpair()
    program = f"import os\nwhile os.write({there.fileno()}, os.read({there.fileno()}, 1)): pass"
    partner = subprocess.Popen([sys.executable, "-c", program], pass_fds=[there.fileno()])
    there.close()

    def ask():
        here.send(b"?")
        here.recv(1)

    return partner, ask


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megapixels", type=float, nargs="+", default=[24, 100])
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=["u8", "u16", "f32"])
    parser.add_argument("--send", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.send:
        send_job(options.send, options.megapixels[0], options.dtypes[0])
        return
    partner, echo = start_echo()
    try:
        with running_daemon(module="maskupe_daemon") as daemon:
            report(daemon, echo, options)
    finally:
        partner.kill()


def report(daemon, echo, options):
    """One line for each size and depth."""
    figures = ("median", "99 %", "longest")
    print("megapixels  dtype  job in s  answers   ", "  ".join(f"{f:>9}" for f in figures * 2))
    for megapixels in options.megapixels:
        for dtype in options.dtypes:
            answers, echoes, seconds = measure(daemon, echo, megapixels, dtype)
            waits = [f(w) for w in (answers, echoes) for f in (np.median, late, np.max)]
            print(
                f"{megapixels:10g}  {dtype:>5}  {seconds:>8}  {len(answers):7}   ",
                "  ".join(f"{wait:6.1f} ms" for wait in waits),
                flush=True,
            )


def late(waits):
    """The 99th percentile."""
    return np.percentile(waits, 99)


if __name__ == "__main__":
    main()
