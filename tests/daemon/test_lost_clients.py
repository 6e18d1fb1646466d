"""Clients that are killed, stopped or cut off in the middle: their jobs end, the others go on."""

import signal
import subprocess
import sys

import numpy as np
import pytest
import zmq

from maskupe_client.framing import pack
from tests.daemon.running import ROOT, dealer_to, region, request_for, serves


def victim(daemon, stage):
    """A client process that has reached a stage of its job."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.daemon.victim", stage, str(daemon.home)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"reached\n"
    return process


@pytest.mark.parametrize("stage", ["sending", "waiting", "receiving"])
def test_a_client_killed_in_the_middle(daemon, stage):
    process = victim(daemon, stage)
    if stage == "waiting":
        daemon.await_status(running=1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    daemon.await_status(running=0, queued=0, unread_bytes=0)
    serves(daemon)
    if stage == "waiting":  # it would have been done in ten seconds, and this line another
        assert "lost client=victim-waiting" in daemon.log


def test_a_stopped_client_does_not_hold_up_the_others(daemon):
    served = daemon.status()["served"]
    process = victim(daemon, "receiving")
    process.send_signal(signal.SIGSTOP)
    try:
        daemon.await_status(served=served + 1)
        for _ in range(3):
            serves(daemon)
        status = daemon.status()
        assert 0 < status["unread_bytes"] <= 2000 * 3000 * 4
    finally:
        process.kill()
        process.wait()
    daemon.await_status(unread_bytes=0)


def test_a_header_without_its_planes(daemon):
    """The rest of the message never comes; the others do not notice."""
    image, selection = region(np.random.default_rng(1))
    request, _ = request_for(image, selection)
    context, dealer = dealer_to(daemon)
    dealer.send(pack(request.header()), zmq.SNDMORE)
    serves(daemon)
    with daemon.connect() as client:  # a half frame, by hand
        header = pack(request.header())
        client._channel.stream.write(bytes([3]) + len(header).to_bytes(8, "big") + header[:10])
        serves(daemon)
    context.destroy(linger=0)


@pytest.mark.parametrize(("stage", "limit"), [("waiting", "HEARTBEAT"), ("receiving", "PATIENCE")])
def test_a_client_that_hangs_is_dropped_in_the_end(start, stage, limit):
    """It is there but does nothing; what it was owed is freed, its job ends."""
    hurried = start(env={f"MASKUPE_TEST_{limit}": "1"})
    process = victim(hurried, stage)
    process.send_signal(signal.SIGSTOP)
    try:
        if stage == "receiving":
            hurried.await_status(served=1)
        hurried.await_status(running=0, queued=0, unread_bytes=0)
        assert hurried.status()["served"] == (1 if stage == "receiving" else 0)
        assert ("does not take its result" in hurried.log) == (stage == "receiving")
        serves(hurried)
    finally:
        process.kill()
        process.wait()
