"""What ``ssh`` does, without another machine: for tests where there is no sshd.

It takes the arguments that :mod:`maskupe_daemon.ssh` gives and no others, runs the command in a
shell of this machine, and leads a socket file to where ``-L`` says. The file that PRETEND_SSH names
may hold ``{"stderr": TEXT, "status": N}``, to fail with; numbers of processes that forward go into
a file beside it.
"""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path


def main():
    arguments = sys.argv[1:]
    end = arguments.index("--")
    options, (host, line) = arguments[:end], arguments[end + 1 :]
    assert not host.startswith("-")
    assert {"BatchMode=yes", "-T", "-a", "-x"} <= set(options)
    behaviour = Path(os.environ["PRETEND_SSH"])
    if behaviour.exists():
        wanted = json.loads(behaviour.read_text())
        print(wanted["stderr"], file=sys.stderr)
        return wanted["status"]
    if "-L" in options:
        assert line == "cat"
        behaviour.with_name("forwarding").write_text(str(os.getpid()))
        return forward(*halves(options[options.index("-L") + 1]))
    print("Welcome to this machine.\n{}", flush=True)  # as a login shell may greet
    return subprocess.run(["sh", "-c", line], check=False).returncode


def halves(text):
    """The two addresses of ``-L``, as ssh reads them."""
    near, far = re.fullmatch(r"((?:\\.|[^:\\])+):(.+)", text).groups()
    return plain(near), (plain(far) if far.startswith("/") else tuple(far.rsplit(":", 1)))


def plain(path):
    return re.sub(r"\\(.)", r"\1", path).replace("%%", "%")


def forward(near, far):
    with socket.socket(socket.AF_UNIX) as gate:
        gate.bind(near)
        gate.listen()
        threading.Thread(target=serve, args=(gate, far), daemon=True).start()
        sys.stdin.read()
    return 0


def serve(gate, far):
    while True:
        visitor, _ = gate.accept()
        try:
            if isinstance(far, tuple):
                target = socket.create_connection((far[0].strip("[]"), int(far[1])))
            else:
                target = socket.socket(socket.AF_UNIX)
                target.connect(far)
        except OSError:
            visitor.close()
            continue
        for pair in ((visitor, target), (target, visitor)):
            threading.Thread(target=pump, args=pair, daemon=True).start()


def pump(source, target):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    sys.exit(main())
