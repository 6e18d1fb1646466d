"""What lies where the daemon's files belong, limits of the shell, and endpoints that cannot be."""

import os
import resource
import subprocess
import sys
import time

import pytest

from maskupe_client.client import Client
from maskupe_client.errors import ClientError, RefusedError
from maskupe_daemon.cli import main
from tests.daemon.running import ROOT, altered, serves

MB = 1 << 20


def test_a_connection_file_that_is_a_folder(home, capsys):
    (home / "connection.json").mkdir()
    assert main(["run"]) == 4
    assert "connection.json" in capsys.readouterr().err
    assert sorted(path.name for path in home.iterdir()) == [
        "connection.json",
        "daemon.lock",
        "daemon.log",
    ]
    for words in (["status"], ["stop"]):
        assert main(words) == 1
        assert "is a folder. Remove it." in capsys.readouterr().err


def test_a_connection_file_that_is_a_pipe_holds_nobody_up(home):
    os.mkfifo(home / "connection.json", 0o600)
    with pytest.raises(RefusedError, match="is no file"):
        Client.connect(1.0)


def test_a_log_that_is_a_pipe_does_not_hold_up_the_daemon(start, home):
    os.mkfifo(home / "daemon.log")
    daemon = start()
    serves(daemon)
    daemon.terminate()
    assert daemon.wait() == 0


@pytest.mark.parametrize("port", ["99999", "999999999999"])
def test_a_port_that_there_is_not(home, capsys, port):
    assert main(["run", "--endpoint", f"tcp://127.0.0.1:{port}"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert port in error
    assert "Traceback" not in error


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:99999", "tcp://127.0.0.1:x", "ipc:///a\0b"])
def test_an_endpoint_in_the_connection_file_that_cannot_be(start, home, endpoint):
    start()
    altered(home, endpoint=endpoint)
    with pytest.raises(ClientError, match=r"cannot be used|is not running"):
        Client.connect(1.0)


def limited(megabytes, *command, home):
    """Runs a Python command that may have so much address space; returns the process."""

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (megabytes * MB, megabytes * MB))

    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        env={**os.environ, "MASKUPE_STATE_DIR": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=limit,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="ulimit -v is Linux's")
@pytest.mark.parametrize("megabytes", [100, 300, 400, 500, 600, 900])
def test_little_address_space_is_a_sentence_or_enough(home, megabytes):
    daemon = limited(megabytes, "-m", "maskupe_daemon", "run", "--device", "cpu", home=home)
    while daemon.poll() is None:
        if main(["status"]) == 0:
            daemon.terminate()
            break
        time.sleep(0.05)
    words = daemon.communicate(timeout=30)[0]
    assert "Traceback" not in words
    if daemon.returncode:
        assert daemon.returncode == 1
        assert words.strip().splitlines()[-1].startswith("maskupe-daemon: The")
        assert "ulimit -v" in words
    else:
        assert megabytes > 500


@pytest.mark.skipif(sys.platform != "linux", reason="ulimit -v is Linux's")
@pytest.mark.parametrize("megabytes", [100, 300, 400, 500, 900])
def test_the_command_line_with_little_address_space(home, tmp_path, megabytes):
    from PIL import Image

    from tests import photographs as ph

    Image.fromarray(ph.scene()).save(tmp_path / "in.png")
    Image.fromarray(ph.disc()).save(tmp_path / "mask.png")
    command = ["enhance", tmp_path / "in.png", "--mask", tmp_path / "mask.png"]
    command += ["-o", tmp_path / "out.png", "--device", "cpu"]
    process = limited(megabytes, "-m", "maskupe.cli", *command, home=home)
    words = process.communicate(timeout=60)[0].strip()
    assert "Traceback" not in words and "unexpected" not in words
    if process.returncode:
        assert process.returncode == 1
        assert words.splitlines()[-1].startswith("maskupe: The")
        assert not (tmp_path / "out.png").exists()
    else:
        assert megabytes > 500 and (tmp_path / "out.png").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="ulimit -v is Linux's")
@pytest.mark.parametrize("megabytes", [100, 300, 500])
@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("maskupe.cli", ["models"]),
        ("maskupe.cli", ["demo", "--out", "out"]),
        ("maskupe_training.cli", ["fit", "lantern", "--data", "data", "--out", "run"]),
    ],
)
def test_every_command_says_that_the_limit_is_too_low(home, module, arguments, megabytes):
    program = f"import sys; from {module} import main; sys.exit(main())"
    process = limited(megabytes, "-c", program, *arguments, home=home)
    words = process.communicate(timeout=60)[0].strip()
    assert process.returncode == 1
    assert f"The limit of {megabytes} MB of memory for a program is too low" in words
    assert len(words.splitlines()) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="ulimit -v is Linux's")
@pytest.mark.parametrize("megabytes", [100, 300, 500, 900])
def test_gimp_s_installer_with_little_address_space(home, tmp_path, megabytes):
    """It needs none of the libraries; that the daemon does is a finding of the doctor's."""
    profile = tmp_path / "GIMP" / "3.0"
    profile.mkdir(parents=True)
    installed = limited(
        megabytes, "-m", "maskupe_gimp.cli", "install", "--profile", profile, home=home
    )
    words = installed.communicate(timeout=60)[0]
    assert installed.returncode == 0, words
    assert (profile / "plug-ins" / "maskupe-local-underexposure").is_dir()
    doctor = limited(megabytes, "-m", "maskupe_gimp.cli", "doctor", "--profile", profile, home=home)
    words = doctor.communicate(timeout=120)[0]
    assert "Traceback" not in words
    last = words.strip().splitlines()[-2:]
    if megabytes < 512:
        assert doctor.returncode == 1
        assert f"The limit of {megabytes} MB of memory for a program is too low" in last[0]
        assert "-> Raise it with: ulimit -v" in last[1]


def test_gimp_s_installer_without_any_memory(tmp_path, monkeypatch, capsys):
    from maskupe_gimp import bundle, cli

    def none_left(*_, **__):
        raise MemoryError

    monkeypatch.setattr(bundle, "copy_to", none_left)
    profile = tmp_path / "GIMP" / "3.0"
    profile.mkdir(parents=True)
    assert cli.main(["install", "--profile", str(profile)]) == 1
    assert capsys.readouterr().err.startswith("maskupe-gimp: There is not enough memory.")
