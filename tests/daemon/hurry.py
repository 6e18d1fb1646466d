"""Shorter waits for daemons under test, as the environment asks for; everything else is real.

``MASKUPE_TEST_HEARTBEAT`` and ``MASKUPE_TEST_PATIENCE=SECONDS`` make the time shorter until silent
clients, and those that do not take their result, are dropped; ``MASKUPE_TEST_REST=SECONDS`` the
time without work after which memory is given back, ``MASKUPE_TEST_STALLED=SECONDS`` that in which a
message that keeps others out must go on.
"""

import os
from contextlib import ExitStack
from unittest.mock import patch

from maskupe_daemon import proxy, reply_sender, server, sockets


def _seconds(name):
    value = os.environ.get(f"MASKUPE_TEST_{name}")
    return float(value) if value else None


def hurried():
    """A context in which the daemon waits as briefly as the environment says."""
    stack = ExitStack()
    beat, patience, rest = _seconds("HEARTBEAT"), _seconds("PATIENCE"), _seconds("REST")
    if beat is not None:
        stack.enter_context(patch.object(sockets, "HEARTBEAT", int(beat)))
        stack.enter_context(patch.object(sockets, "HEARTBEAT_TIMEOUT", int(2 * beat)))
    if patience is not None:
        stack.enter_context(patch.object(reply_sender, "READ_TIMEOUT", patience))
        stack.enter_context(patch.object(reply_sender, "SLOWEST", 1e8))
    if rest is not None:
        stack.enter_context(patch.object(server, "_REST", rest))
    stalled = _seconds("STALLED")
    if stalled is not None:
        stack.enter_context(patch.object(proxy, "STALLED", stalled))
    return stack
