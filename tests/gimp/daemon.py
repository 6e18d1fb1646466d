"""A daemon as a program of its own, to be started, killed and asked by tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from maskupe_client.client import Client
from maskupe_client.errors import ClientError


class Daemon:
    """``maskupe-daemon run`` with its state in the work folder."""

    def __init__(self, work: Path, command: list[str] | None = None) -> None:
        self.state = work / "state"
        self._log = work / "daemon.log"
        self._command = command or [sys.executable, "-m", "maskupe_daemon", "run"]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the program is still there."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts it, if it is not running, and waits until it answers."""
        if self.running:
            return
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=log,
                env={**os.environ, "MASKUPE_STATE_DIR": str(self.state)},
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                self.client().close()
                return
            except ClientError:
                if not self.running or time.monotonic() > deadline:
                    raise AssertionError(f"The daemon did not come up: {self.log()}") from None
                time.sleep(0.05)

    def client(self) -> Client:
        """A client of it."""
        return Client.connect(directory=self.state, name="tests")

    def kill(self) -> None:
        """Ends it as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ends it politely."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(20)
            self._process = None

    def log(self) -> str:
        """The end of what it printed."""
        return self._log.read_text("utf-8", "replace")[-3000:] if self._log.exists() else ""
