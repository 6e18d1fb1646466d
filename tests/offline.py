"""Running a command where nothing can leave, and seeing what would have.

``unshare --user --map-root-user --net --mount python -m tests.offline REPORT SECONDS COMMAND…``
gives the command a loopback interface and nothing else, an empty home directory, and a name server
that writes every question down. REPORT becomes JSON: ``status``, ``output``, ``questions`` (the
names asked for) and ``files`` (what lies in the home directory in the end). The command's end is
reported after at least SECONDS, or as soon as there was a question.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ISOLATED = ("unshare", "--user", "--map-root-user", "--net", "--mount")
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1
# Variables by which ONNX Runtime sees a test, where it reports nothing.
_HUSHED = (
    "ORT_DISABLE_TELEMETRY",
    "ORT_RUNNING_UNIT_TESTS",
    "PYTEST_CURRENT_TEST",
    "CI",
    "GITHUB_ACTIONS",
    "TF_BUILD",
    "GITLAB_CI",
    "JENKINS_URL",
)


def _name_server(questions: list[str]) -> None:
    """Answer on 127.0.0.1:53 that no name exists, and note each that is asked for."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))

    def serve() -> None:
        while True:
            question, client = server.recvfrom(2048)
            labels, rest = [], question[12:]
            while rest and rest[0]:
                labels.append(rest[1 : 1 + rest[0]].decode("ascii", "replace"))
                rest = rest[1 + rest[0] :]
            questions.append(".".join(labels))
            server.sendto(question[:2] + b"\x81\x83" + question[4:], client)

    threading.Thread(target=serve, daemon=True).start()


def main() -> None:
    """Run the command and write the report."""
    report, seconds, command = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))
    questions: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        resolver, home = Path(folder, "resolv.conf"), Path(folder, "home")
        resolver.write_text("nameserver 127.0.0.1\noptions attempts:1 timeout:1\n")
        home.mkdir()
        subprocess.run(["mount", "--bind", resolver, "/etc/resolv.conf"], check=True)
        _name_server(questions)
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in _HUSHED and not name.startswith("XDG_")
        }
        began = time.monotonic()
        done = subprocess.run(
            command,
            env={**kept, "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        while not questions and time.monotonic() < began + seconds:
            time.sleep(0.05)
        files = sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())
    found = {"status": done.returncode, "output": done.stdout}
    report.write_text(json.dumps({**found, "questions": questions, "files": files}))


if __name__ == "__main__":
    main()
