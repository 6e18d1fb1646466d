"""Another machine for the tests of ``forward``: a second user behind a real sshd, or a pretence."""

import contextlib
import json
import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import psutil

from tests.daemon.running import ROOT, RunningDaemon

#: What a daemon with stand-in models imports, of what is installed.
_PACKAGES = ("numpy*", "cv2", "opencv*", "zmq", "pyzmq*", "msgpack", "filelock*", "psutil")


class NoSshdError(Exception):
    """There can be no second user behind a real sshd here."""


class Forward(RunningDaemon):
    """``maskupe-daemon forward`` in its own process; ``home`` is the state directory here."""

    command = "forward"

    links = 0

    def await_serving(self, timeout=60):
        """Waits until it has linked once more than at the last call; returns the status."""
        deadline = time.monotonic() + timeout
        while (links := self.stderr.count("now work on studio")) <= self.links:
            assert self.process.poll() is None, self.stderr
            assert time.monotonic() < deadline, self.stderr
            time.sleep(0.05)
        self.links = links
        return self.status()


class Far:
    """What both have in common.

    Attributes:
        host: what ``forward`` calls it.
        path: the folder in which ``ssh`` is found.
        program: ``maskupe-daemon`` there, with stand-in models.
        state: the state directory there.
    """

    host = "studio"

    def __init__(self, folder):
        self.folder = folder
        self.path = folder / "bin"
        self.path.mkdir()
        self.env = {"PATH": f"{self.path}:{os.environ['PATH']}"}

    def command(self, state=None):
        state = state or self.state
        return f"env MASKUPE_STATE_DIR={shlex.quote(str(state))} {self.program}"

    def forward(self, home, *, command=None):
        words = ["--command", command or self.command(), self.host]
        return Forward(home, *words, module="maskupe_daemon", env=self.env)

    def log(self):
        return (self.state / "daemon.log").read_text()

    def stop_daemons(self):
        for process in psutil.process_iter(["cmdline"]):
            if {str(self.program), "run"} <= set(process.info["cmdline"] or ()):
                with contextlib.suppress(psutil.Error):
                    process.kill()
                    process.wait(10)

    def _script(self, name, *lines):
        path = self.path / name
        path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        path.chmod(0o755)


class Pretence(Far):
    """The same machine and user, another state directory, and a program in place of ssh."""

    def __init__(self, folder):
        super().__init__(folder)
        self.state = folder / "far"
        self.program = install(folder / "there", sys.executable, [ROOT, site_packages()])
        self._behaviour = folder / "behaviour"
        self.env["PRETEND_SSH"] = str(self._behaviour)
        script = Path(__file__).with_name("pretend_ssh.py")
        self._script("ssh", f'exec {sys.executable} {script} "$@"')

    def fail(self, stderr, status=255):
        self._behaviour.write_text(json.dumps({"stderr": stderr, "status": status}))

    def break_link(self):
        self.fail("ssh: connect to host studio port 22: No route to host")
        os.kill(int((self.folder / "forwarding").read_text()), signal.SIGKILL)

    def restore_link(self):
        self._behaviour.unlink()

    def close(self):
        self.stop_daemons()


class SecondUser(Far):
    """Another user of this machine behind a real sshd on a port of its own.

    Raises:
        NoSshdError: if that cannot be had here.
    """

    def __init__(self, folder):
        self._sshd = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:" + os.environ["PATH"])
        if self._sshd is None or shutil.which("ssh") is None:
            raise NoSshdError("needs OpenSSH's sshd and ssh")
        if os.geteuid() != 0 or shutil.which("useradd") is None:
            raise NoSshdError("needs root, to make a second user")
        super().__init__(folder)
        folder.chmod(0o755)
        self._server = None
        self.user = f"maskupe-{os.getpid()}"
        self.home = folder / "home"
        useradd = ["useradd", "-M", "-d", self.home, "-s", "/bin/sh", "-p", "*", self.user]
        subprocess.run(useradd, check=True, capture_output=True)
        try:
            uid = pwd.getpwnam(self.user).pw_uid
            self.home.mkdir(0o700)
            os.chown(self.home, uid, -1)
            self.state = self.home / ".local" / "state" / "maskupe"
            self.program = install(folder / "there", self._python(), self._readable())
            self._configure()
            self.restore_link()
        except BaseException:
            self.close()
            raise

    def command(self, state=None):
        return super().command(state) if state else str(self.program)

    def break_link(self):
        """Stops the sshd with its connections; daemons go on."""
        for process in [self._server, *psutil.Process(self._server.pid).children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                process.kill()
        self._server.wait()

    def restore_link(self):
        arguments = [self._sshd, "-D", "-e", "-f", self.folder / "sshd_config"]
        with (self.folder / "sshd.log").open("ab") as log:
            self._server = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stderr=log)
        deadline = time.monotonic() + 20
        while not _answers(self.port):
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise NoSshdError((self.folder / "sshd.log").read_text())
            time.sleep(0.05)

    def allow_forwarding(self, allowed):
        self.break_link()
        path = self.folder / "sshd_config"
        line = "AllowStreamLocalForwarding no\n"
        path.write_text(path.read_text().replace(line, "") + ("" if allowed else line))
        self.restore_link()

    @contextlib.contextmanager
    def emptied(self, name):
        """A file of the set-up is empty meanwhile."""
        path = self.folder / name
        before = path.read_text()
        path.write_text("")
        yield
        path.write_text(before)

    def close(self):
        if self._server and self._server.poll() is None:
            self.break_link()
        uid = pwd.getpwnam(self.user).pw_uid
        for process in psutil.process_iter(["uids"]):
            if process.info["uids"] and process.info["uids"].real == uid:
                with contextlib.suppress(psutil.Error):
                    process.kill()
                    process.wait(10)
        subprocess.run(["userdel", self.user], check=True, capture_output=True)

    def _configure(self):
        for name in ("host_key", "key"):
            keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / name]
            subprocess.run(keygen, check=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        (self.folder / "authorized").write_text((self.folder / "key.pub").read_text())
        host_key = (self.folder / "host_key.pub").read_text()
        (self.folder / "known").write_text(f"[127.0.0.1]:{self.port} {host_key}")
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd locks itself in
        server = {
            "ListenAddress": "127.0.0.1",
            "Port": self.port,
            "HostKey": self.folder / "host_key",
            "AuthorizedKeysFile": self.folder / "authorized",
            "PidFile": "none",
            "UsePAM": "no",
            "StrictModes": "no",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
        }
        client = {
            "Host": self.host,
            "HostName": "127.0.0.1",
            "Port": self.port,
            "User": self.user,
            "IdentityFile": self.folder / "key",
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": self.folder / "known",
        }
        for name, options in (("sshd_config", server), ("ssh_config", client)):
            text = "".join(f"{key} {value}\n" for key, value in options.items())
            (self.folder / name).write_text(text)
        # ssh asks the user database for the home directory, so HOME would not do.
        ssh = shlex.quote(shutil.which("ssh"))
        self._script("ssh", f'exec {ssh} -F {self.folder}/ssh_config "$@"')

    def _may_read(self, *paths):
        test = " && ".join(f"test -r {path} -a -x {path}" for path in paths)
        ran = subprocess.run(["su", self.user, "-s", "/bin/sh", "-c", test], capture_output=True)
        return ran.returncode == 0

    def _python(self):
        """An interpreter for the user; that of the tests may be somebody's own."""
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        for path in (Path(sys.executable).resolve(), Path("/usr/bin") / version):
            if path.exists() and self._may_read(path):
                return path
        raise NoSshdError(f"needs a {version} that other users may run")

    def _readable(self):
        """The folders with sources and packages, or copies of what is needed of them."""
        folders = [ROOT, site_packages()]
        if self._may_read(*folders):
            return folders
        copy = self.folder / "copy"
        wanted = [ROOT / "maskupe", ROOT / "daemon", ROOT / "tests"]
        wanted += [path for name in _PACKAGES for path in site_packages().glob(name)]
        for path in wanted:
            if path.is_dir():
                shutil.copytree(path, copy / path.name)
            else:
                shutil.copy(path, copy)
        return [copy]


def site_packages():
    return Path(sysconfig.get_paths()["platlib"])


def install(folder, python, folders):
    """An environment whose ``maskupe-daemon`` is the stand-in; returns that program's path."""
    venv = [python, "-m", "venv", "--without-pip", folder]
    subprocess.run(venv, check=True, capture_output=True)
    lines = [str(path) for base in folders for path in (base, base / "daemon")]
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "stand_in.pth").write_text("\n".join([*lines, ""]))
    program = folder / "bin" / "maskupe-daemon"
    program.write_text(
        f"#!{folder}/bin/python\nimport sys\n"
        "if 'run' in sys.argv:\n"
        "    from tests.daemon.stand_in import main\n"
        "else:  # nothing of a model is needed to find the daemon\n"
        "    from maskupe_daemon.cli import main\n"
        "sys.exit(main())\n"
    )
    program.chmod(0o755)
    return program


def _answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextlib.contextmanager
def far_machine(kind):
    """A machine of a kind; its folder is right under /tmp, as a socket's path must be short."""
    folder = Path(tempfile.mkdtemp(prefix="mf", dir="/tmp"))
    try:
        with contextlib.closing(kind(folder)) as far:
            yield far
    finally:
        shutil.rmtree(folder, ignore_errors=True)
