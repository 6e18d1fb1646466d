"""``maskupe-daemon forward``: another machine's daemon in the place of this one's."""

import json
import os
import signal
import stat
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from maskupe import __version__
from maskupe_client.connection import read_connection
from maskupe_client.errors import LinkDownError, NotRunningError
from maskupe_client.launcher import ensure_running
from maskupe_daemon.cli import main
from tests.daemon.far import NoSshdError, Pretence, SecondUser, far_machine
from tests.daemon.running import ROOT, assert_right, region, request_for, serves

REQUIRED = os.environ.get("MASKUPE_REQUIRE_SSHD") == "1"


@pytest.fixture(scope="module", params=[Pretence, SecondUser], ids=["pretence", "sshd"])
def machine(request):
    try:
        with far_machine(request.param) as far:
            yield far
    except NoSshdError as error:
        if REQUIRED:
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture
def far(machine):
    yield machine
    machine.stop_daemons()


@pytest.fixture
def link(far, home):
    """Starts ``forward``; whatever still runs in the end is killed."""
    running = []

    def start(**options):
        forward = far.forward(home, **options)
        running.append(forward)
        return forward

    yield start
    for forward in running:
        forward.kill()


def refused(forward):
    """What it says when it ends with a failure at once."""
    assert forward.wait(60) == 1
    assert "Traceback" not in forward.stderr
    return forward.stderr


def await_link_down(forward):
    deadline = time.monotonic() + 30
    while True:
        try:
            forward.status()
        except LinkDownError as error:
            return error
        except Exception as error:  # the connection breaks first
            last = error
        else:
            last = None
        assert time.monotonic() < deadline, last
        time.sleep(0.02)


def test_the_work_is_done_there(far, home, link, capsys):
    forward = link()
    report = forward.await_serving()
    connection = read_connection(home)
    assert connection.host == "studio" and connection.pid == forward.process.pid
    assert connection.endpoint == f"ipc://{home}/forward.sock"
    for name in ("connection.json", "forward.sock", "daemon.lock"):
        assert stat.S_IMODE((home / name).stat().st_mode) & 0o077 == 0
    serves(forward)
    forward.await_status(served=1)  # the line is written once the outcome shows there
    assert "ok client=python" in far.log()
    if isinstance(far, SecondUser):
        assert psutil.Process(report["pid"]).username() == far.user
    assert main(["status", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["forwarded_to"] == "studio" and shown["pid"] == report["pid"]
    assert main(["status"]) == 0
    assert "forwarded to    studio" in capsys.readouterr().out
    # A client that would start the daemon finds one.
    ensure_running(["/bin/false"]).close()
    assert main(["stop"]) == 0
    assert "daemon there goes on" in capsys.readouterr().out
    assert forward.wait() == 0
    left = sorted(p.name for p in home.iterdir() if not p.name.startswith("stderr"))
    assert left == ["daemon.lock", "daemon.log"]
    assert psutil.pid_exists(report["pid"])
    # The same daemon serves the next link.
    again = link()
    assert again.await_serving()["pid"] == report["pid"]


def test_a_signal_ends_it(far, home, link):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        forward = link()
        forward.await_serving()
        forward.process.send_signal(number)
        assert forward.wait() == 0, number
        with pytest.raises(NotRunningError):
            forward.connect()


def test_the_link_is_restored(far, home, link):
    forward = link()
    forward.await_serving()
    far.break_link()
    error = await_link_down(forward)
    assert "studio is down" in str(error) and "maskupe-daemon stop" in str(error)
    # Nobody starts a daemon here meanwhile.
    second = subprocess.run(
        [sys.executable, "-m", "tests.daemon.stand_in", "run"], cwd=ROOT, capture_output=True
    )
    assert second.returncode == 3
    far.restore_link()
    forward.await_serving()
    serves(forward)
    assert "cannot be reached" in forward.stderr and "Trying again in 1 s" in forward.stderr


def test_a_client_that_waits_goes_on_after_the_link_is_restored(far, home, link):
    """It holds a connection of the old link, and the daemon there has ended besides."""
    forward = link()
    pid = forward.await_serving()["pid"]
    client = forward.connect()
    image, selection = region(np.random.default_rng(1))
    request, planes = request_for(image, selection)
    assert_right(client.enhance(request, planes)[1], image, selection, request)
    far.stop_daemons()
    deadline = time.monotonic() + 60
    while True:
        try:
            report = client.status()
            break
        except NotRunningError:
            assert time.monotonic() < deadline, forward.stderr
            time.sleep(0.1)
    assert report["pid"] != pid
    request, planes = request_for(image, selection)
    assert_right(client.enhance(request, planes)[1], image, selection, request)


def test_killed_it_leaves_nothing_that_is_in_the_way(far, home, link, start):
    forward = link()
    forward.await_serving()
    children = psutil.Process(forward.process.pid).children(recursive=True)
    forward.process.kill()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
    with pytest.raises(LinkDownError):
        forward.connect()
    assert main(["stop"]) == 0
    with pytest.raises(NotRunningError):
        forward.connect()
    serves(start())


def test_it_does_not_take_a_running_daemon_s_place(far, home, link, start):
    daemon = start()
    forward = link()
    assert forward.wait() == 3
    assert "running already" in forward.stderr
    serves(daemon)


def test_a_socket_path_of_any_kind(far, home, link):
    state = far.folder / "a b:c%h\\d"
    state.mkdir(mode=0o777)
    state.chmod(0o777)
    forward = link(command=far.command(state / "x"))
    forward.await_serving()
    serves(forward)


def test_a_daemon_there_that_listens_on_a_port(far, home, link):
    """Its path is too long for a socket file; the token travels with the connection."""
    (far.folder / ("d" * 100)).mkdir(exist_ok=True)
    state = far.folder / ("d" * 100)
    state.chmod(0o777)
    forward = link(command=far.command(state / "x"))
    forward.await_serving()
    assert read_connection(home).mechanism == "PLAIN"
    serves(forward)


def test_no_program_there(far, link):
    message = refused(link(command="maskupe-daemon-of-nobody"))
    assert "There is no maskupe-daemon-of-nobody to run on studio" in message
    assert "--command" in message


def test_another_program_there(far, link):
    assert "does not say how" in refused(link(command="echo"))


def test_another_version_there(far, link):
    values = {"maskupe-daemon": {"protocol": 2, "version": "9.0"}}
    script = far.folder / "other"
    script.write_text(f"#!/bin/sh\necho '{json.dumps(values)}'\n")
    script.chmod(0o755)
    message = refused(link(command=str(script)))
    assert f"studio has MaskUPE 9.0, which does not understand {__version__}" in message


def test_nonsense_in_the_answer_from_there(far, link):
    script = far.folder / "nonsense"
    script.write_text(f"#!/bin/sh\necho '{json.dumps({'maskupe-daemon': [5]})}'\n")
    script.chmod(0o755)
    assert "studio has MaskUPE unknown, which does not" in refused(link(command=str(script)))


def test_an_older_version_there(far, link):
    script = far.folder / "older"
    text = "maskupe-daemon: error: unrecognized arguments: locate"
    script.write_text(f"#!/bin/sh\necho '{text}' >&2\nexit 2\n")
    script.chmod(0o755)
    assert "too old" in refused(link(command=str(script)))


def test_a_daemon_that_does_not_come_up_there(far, link):
    script = far.folder / "failing"
    script.write_text("#!/bin/sh\necho 'maskupe-daemon: It is too hot. Wait.' >&2\nexit 1\n")
    script.chmod(0o755)
    assert "studio says: It is too hot. Wait." in refused(link(command=str(script)))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("me@studio: Permission denied (publickey).", "accepts none of your keys"),
        ("Host key verification failed.", "does not know studio"),
        ("ssh: Could not resolve hostname studio: Name or service not known", "not known"),
        ("Could not request local forwarding.", "cannot forward a socket"),
        ("", "no reason given"),
    ],
)
def test_what_ssh_says_is_a_sentence(far, link, said, words):
    if not isinstance(far, Pretence):
        pytest.skip("the real one says it below")
    far.fail(said)
    try:
        assert words in refused(link())
    finally:
        far.restore_link()


# ------------------------------------------------------------------ what only a real ssh says


@pytest.fixture
def real(far):
    if not isinstance(far, SecondUser):
        pytest.skip("says what the real ssh says elsewhere")
    return far


def test_a_host_that_accepts_no_key(real, link):
    with real.emptied("authorized"):
        message = refused(link())
    assert "accepts none of your keys" in message and "ssh-copy-id studio" in message


def test_a_host_that_is_not_known(real, link):
    with real.emptied("known"):
        message = refused(link())
    assert "does not know studio" in message and "ssh studio" in message


def test_a_host_that_is_not_there(real, link):
    real.break_link()
    try:
        message = refused(link())
    finally:
        real.restore_link()
    assert "cannot be reached" in message and "Connection refused" in message


def test_a_host_that_forwards_no_sockets(real, link):
    real.allow_forwarding(False)
    try:
        message = refused(link())
    finally:
        real.allow_forwarding(True)
    assert "does not lead to the daemon" in message
    assert "AllowStreamLocalForwarding" in message


# ----------------------------------------------------------------------------- on this side


def test_no_ssh_here(home, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(home))
    assert main(["forward", "studio"]) == 1
    assert "no ssh" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["-oProxyCommand=touch /tmp/x", "", "a b", "--"])
def test_what_ssh_could_take_for_an_option_is_no_host(home, capsys, host):
    assert main(["forward", "--", host]) == 2
    assert "is not a host" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["", "'open"])
def test_a_command_that_is_none(home, capsys, command):
    assert main(["forward", "studio", "--command", command]) == 2
    assert "--command" in capsys.readouterr().err


def test_something_in_the_way_of_the_socket_is_left_alone(home, capsys):
    (home / "forward.sock").write_text("precious")
    assert main(["forward", "studio"]) == 4
    assert (home / "forward.sock").read_text() == "precious"
    assert "in the way" in capsys.readouterr().err


def test_a_path_too_long_for_a_socket(home, monkeypatch, capsys):
    monkeypatch.setenv("MASKUPE_STATE_DIR", str(home / ("d" * 100)))
    assert main(["forward", "studio"]) == 4
    assert "too long" in capsys.readouterr().err


def test_stopping_without_a_link_or_a_daemon(home, capsys):
    assert main(["stop"]) == 1
    assert "nothing to stop" in capsys.readouterr().err
