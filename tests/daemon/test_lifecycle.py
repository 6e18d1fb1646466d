"""The daemon's life as a process: one at a time, found, stopped, killed, started again."""

import errno
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time

import filelock
import numpy as np
import pytest

from maskupe_client import launcher
from maskupe_client.client import Client
from maskupe_client.connection import read_connection
from maskupe_client.errors import AnswerError, ConnectionLostError, NotRunningError
from maskupe_client.launcher import ensure_running
from maskupe_daemon.cli import main
from maskupe_daemon.presence import await_end
from tests.daemon.running import ROOT, RunningDaemon, assert_right, region, request_for, serves


def command(home, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "tests.daemon.stand_in", *arguments],
        cwd=ROOT,
        env={**os.environ, "MASKUPE_STATE_DIR": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def left_behind(home):
    return sorted(p.name for p in home.iterdir() if not p.name.startswith("stderr"))


def in_background(work):
    """Runs ``work`` in a thread; the list it returns gets its result or exception."""
    results = []

    def run():
        try:
            results.append(work())
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, results


def test_run_status_stop(start, home, capsys):
    daemon = start()
    assert main(["status", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["pid"] == daemon.process.pid
    assert report["protocol"] == 1
    wanted = {"device", "models", "loaded", "queued", "uptime_seconds", "served", "resident_bytes"}
    assert wanted <= set(report)
    assert main(["status"]) == 0
    assert f"pid             {daemon.process.pid}" in capsys.readouterr().out
    assert main(["stop"]) == 0
    assert daemon.wait() == 0
    assert left_behind(home) == ["daemon.lock", "daemon.log"]
    for words, remedy in ((["status"], "Start it"), (["stop"], "nothing to stop")):
        assert main(words) == 1
        message = capsys.readouterr().err
        assert "not running" in message and remedy in message


def test_a_second_daemon_exits_3_and_the_first_keeps_serving(start, home):
    first = start()
    second = command(home, "run")
    assert second.returncode == 3
    assert "running already" in second.stderr
    assert "Traceback" not in second.stderr
    serves(first)


def test_everything_is_the_owners_alone(start, home):
    home.chmod(0o755)  # somebody opened it to others
    daemon = start("--debug")
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in [home, *home.iterdir()]}
    assert modes[home.name] == 0o700
    for name in ("connection.json", "daemon.sock", "daemon.lock", "daemon.log"):
        assert modes[name] & 0o077 == 0, name
    daemon.terminate()
    assert daemon.wait() == 0


def test_a_directory_that_is_a_link_is_refused(home, monkeypatch, capsys):
    link = home / "link"
    link.symlink_to(home)
    monkeypatch.setenv("MASKUPE_STATE_DIR", str(link))
    assert main(["run"]) == 4
    assert "link" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root for chown")
def test_a_directory_of_another_user_is_refused(home, capsys):
    os.chown(home, 12345, 12345)
    assert main(["run"]) == 4
    assert "another user" in capsys.readouterr().err


def test_something_else_in_the_sockets_place_is_left_alone(home):
    (home / "daemon.sock").write_text("precious")
    assert main(["run"]) == 4
    assert (home / "daemon.sock").read_text() == "precious"
    assert not (home / "connection.json").exists()


def test_a_socket_that_another_program_serves_is_left_to_it(start, home, tmp_path):
    """Another daemon's, with a state directory of its own; libzmq would take it away."""
    first = start()
    endpoint = read_connection(home).endpoint
    second = command(tmp_path, "run", "--endpoint", endpoint)
    assert second.returncode == 4
    assert "Another program listens" in second.stderr
    serves(first)


def test_the_directory_of_a_socket_is_not_changed(home, tmp_path, monkeypatch, capsys):
    tmp_path.chmod(0o755)
    assert main(["run", "--endpoint", f"ipc://{tmp_path}/x.sock"]) == 4
    assert "entered by others" in capsys.readouterr().err
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_why_it_ended_is_in_its_log_too(home, monkeypatch, capsys):
    """The plug-in starts it without a stderr."""
    assert main(["run", "--endpoint", "http://x"]) == 2
    assert capsys.readouterr().err.count("is not for local clients") == 1
    assert "is not for local clients" in (home / "daemon.log").read_text()

    def fail(_server):
        raise RuntimeError("a fault of the test")

    monkeypatch.setattr("maskupe_daemon.server.Server.run", fail)
    assert main(["run"]) == 1
    (sentence,) = [line for line in capsys.readouterr().err.splitlines() if "unexpected" in line]
    assert "(RuntimeError: a fault of the test)" in sentence and "--debug" in sentence
    with pytest.raises(RuntimeError):
        main(["run", "--debug"])
    assert "RuntimeError: a fault of the test" in (home / "daemon.log").read_text()
    assert left_behind(home) == ["daemon.lock", "daemon.log"]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--endpoint", "tcp://0.0.0.0:5555"], 2),
        (["--endpoint", "http://x"], 2),
        (["--idle-unload", "-1"], 2),
        (["--idle-unload", "soon"], 2),
        (["--nonsense"], 2),
        (["--endpoint", "ipc:///nowhere/at/all/" + "x" * 120], 4),
    ],
)
def test_unusable_options_have_their_exit_status(home, capsys, arguments, status):
    try:
        refused = main(["run", *arguments])
    except SystemExit as error:  # argparse's way
        refused = error.code
    assert refused == status
    told = capsys.readouterr().err
    assert told
    if "--idle-unload" in arguments:
        assert "must be a number of seconds, 0 or more" in told
    assert left_behind(home) in ([], ["daemon.lock", "daemon.log"])


def test_a_missing_device_exits_5(home, capsys):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    assert main(["run", "--device", "cuda"]) == 5
    assert "cuda" in capsys.readouterr().err


def test_version_imports_nothing_heavy():
    script = (
        "import sys; from maskupe_daemon import cli\n"
        "try: cli.main(['--version'])\n"
        "except SystemExit as e: assert e.code == 0\n"
        "print({'torch', 'numpy', 'zmq', 'cv2', 'onnxruntime'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert shown.stdout.startswith("maskupe-daemon ")
    assert shown.stdout.rstrip().endswith("set()")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_lets_a_short_job_finish(start, home, name):
    daemon = start()
    image, selection = region(np.random.default_rng(1))
    request, planes = request_for(image, selection, model="slow-20")
    sent = []

    def stop_it(progress):
        if progress.stage == "running" and not sent:
            sent.append(daemon.process.send_signal(getattr(signal, name)))

    _, answer = daemon.connect().enhance(request, planes, stop_it)
    assert sent
    assert_right(answer, image, selection, request)
    assert daemon.wait() == 0
    assert left_behind(home) == ["daemon.lock", "daemon.log"]


def test_sigterm_cancels_what_takes_longer_and_tells_every_client(start):
    daemon = start()
    image, selection = region(np.random.default_rng(2))
    clients = [daemon.connect() for _ in range(3)]
    jobs = [request_for(image, selection, model="slow-200") for _ in clients]
    work = [
        in_background(lambda client=client, job=job: client.enhance(*job))
        for client, job in zip(clients, jobs, strict=True)
    ]
    daemon.await_status(running=1, queued=2)
    began = time.monotonic()
    daemon.terminate()
    assert daemon.wait(20) == 0
    # Five by contract, more on a crowded machine; the jobs would take thirty.
    assert time.monotonic() - began < 15
    for thread, results in work:
        thread.join(20)
        assert isinstance(results[0], AnswerError), results
        assert results[0].code == "shutting-down"


def test_killed_and_restarted_under_a_waiting_client(start):
    first = start()
    image, selection = region(np.random.default_rng(3))
    request, planes = request_for(image, selection, model="slow-60")
    client = first.connect()
    killed = []

    def kill_it(progress):
        if progress.stage == "running" and not killed:
            first.process.kill()
            killed.append(time.monotonic())

    with pytest.raises(ConnectionLostError):
        client.enhance(request, planes, kill_it)
    assert time.monotonic() - killed[0] < 10  # a silent daemon would be waited for much longer
    with pytest.raises(NotRunningError, match="without tidying up"):
        Client.connect()
    second = start()
    _, answer = client.enhance(request, planes)  # same id, same client
    assert_right(answer, image, selection, request)
    assert second.status()["served"] == 1


def test_a_connection_dropped_while_idle_is_renewed(start):
    first = start()
    client = first.connect()
    first.terminate()
    first.wait()
    with pytest.raises(NotRunningError):
        client.status()
    start()
    assert client.status()["served"] == 0


def test_models_are_dropped_when_idle_and_asking_is_no_work(start):
    daemon = start("--idle-unload", "3.0")
    image, selection = region(np.random.default_rng(4))
    with daemon.connect() as client:
        client.enhance(*request_for(image, selection))
        assert client.status()["loaded"] == ["quick"]
        deadline = time.monotonic() + 20
        while client.status()["loaded"]:  # asking all the time
            assert time.monotonic() < deadline
            time.sleep(0.05)
        client.enhance(*request_for(image, selection))
        assert client.status()["loaded"] == ["quick"]


def test_a_job_is_one_line_in_the_log_without_pixels(start):
    daemon = start()
    image, selection = region(np.random.default_rng(5))
    image[:] = np.frombuffer(b"secret", np.uint8)[:3]
    with daemon.connect(name="maskupe-gimp 1.0\nforged line") as client:
        client.enhance(*request_for(image, selection))
    daemon.await_status(served=1)
    lines = [line for line in daemon.log.splitlines() if " client=" in line]
    assert len(lines) == 1
    for part in ("ok client=maskupe-gimp 1.0", "size=40x60x3", "dtype=u8", "model=quick", "peak="):
        assert part in lines[0]
    assert all(f"{stage}=" in lines[0] for stage in ("queued", "load", "run", "total"))
    assert "secret" not in daemon.log
    assert "\nforged" not in daemon.log


def test_systemd_is_told(start, home):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(home / "notify"))
        listener.settimeout(30)
        daemon = start(env={"NOTIFY_SOCKET": str(home / "notify")})
        assert listener.recv(64) == b"READY=1"
        daemon.terminate()
        assert listener.recv(64) == b"STOPPING=1"


def test_a_long_path_falls_back_to_a_token_on_loopback(home):
    far = home / ("d" * 100)
    far.mkdir(mode=0o700)
    daemon = RunningDaemon(far)
    try:
        daemon.await_ready()
        connection = read_connection(far)
        assert connection.endpoint.startswith("tcp://127.0.0.1:")
        assert connection.mechanism == "PLAIN"
        assert len(connection.token) == 64
    finally:
        daemon.kill()


def test_the_plug_in_can_start_it(home):
    waits = []
    arguments = [sys.executable, str(ROOT / "tests" / "daemon" / "start_stand_in.py"), "run"]
    client = ensure_running(arguments, 60, wait=lambda: waits.append(1))
    try:
        again = ensure_running(["/bin/false"])  # it runs, so nothing is started
        assert again.welcome["server"] == client.welcome["server"]
        again.close()
    finally:
        client.shutdown()
        client.close()
    assert waits
    deadline = time.monotonic() + 20
    while (home / "connection.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_daemon_is_started_when_the_last_one_has_ended_at_last(home):
    """One that is ending can be found no more, but keeps the next from starting."""
    lock, log = filelock.FileLock(home / "daemon.lock"), home / "daemon.log"
    lock.acquire()

    def end_when_one_was_kept_from_starting():
        if log.exists() and "running already" in log.read_text():
            lock.release()

    arguments = [sys.executable, str(ROOT / "tests" / "daemon" / "start_stand_in.py"), "run"]
    with ensure_running(arguments, 20, wait=end_when_one_was_kept_from_starting) as client:
        client.shutdown()
    assert await_end(home, 20)


def test_a_module_in_the_home_folder_takes_no_other_s_place(home, tmp_path, monkeypatch):
    (tmp_path / "random.py").write_text("raise SystemExit('somebody rolls dice')\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with ensure_running([sys.executable, "-m", "maskupe_daemon", "run"], 60) as client:
        client.shutdown()
    assert await_end(home, 20)


def test_windows_opens_no_console_for_it(monkeypatch):
    options = {}

    def start(_command, **given):
        options.update(given)
        raise OSError("a fault of the test")

    monkeypatch.setattr(subprocess, "CREATE_NO_WINDOW", 0x08000000, raising=False)
    monkeypatch.setattr(subprocess, "Popen", start)
    with pytest.raises(NotRunningError, match="cannot be started"):
        launcher._start(["maskupe-daemon", "run"])
    assert options["creationflags"] == 0x08000000


def test_a_program_that_is_gone_is_told_in_words(tmp_path):
    for program in (tmp_path / "gone" / "python", tmp_path / "python"):
        with pytest.raises(NotRunningError) as refusal:
            launcher._start([str(program), "-m", "maskupe_daemon"])
        reason = os.strerror(errno.ENOENT)
        assert f"(it cannot be started: {reason})" in refusal.value.message


def test_stop_waits_until_the_next_one_can_be_started(start, home):
    """A client that does not take its result holds the daemon's end up."""
    daemon = start()
    image, selection = region(np.random.default_rng(0))
    request, planes = request_for(image, selection, model="slow-200")
    with daemon.connect() as client:
        thread, _results = in_background(lambda: client.enhance(request, planes))
        daemon.await_status(running=1)
        assert main(["stop"]) == 0
        assert await_end(home, 0)
        thread.join(20)
    assert daemon.wait() == 0


def test_asking_a_daemon_to_stop_that_has_ended_is_no_error(start):
    daemon = start()
    with daemon.connect() as client:
        client.shutdown()
        daemon.process.wait(30)
        client.shutdown()


@pytest.mark.parametrize("command", [["/bin/false"], ["/no/such/file"]])
def test_a_daemon_that_cannot_be_started_is_an_error_in_words(home, command):
    with pytest.raises(NotRunningError, match=r"status 1|cannot be started"):
        ensure_running(command, 20)
