"""The log file: bounded, for its owner only, and what is in it but not on stderr."""

import logging
import stat

from maskupe_daemon import logfile
from maskupe_daemon.permissions import owner_only

log = logging.getLogger("maskupe_daemon.test")


def test_it_is_rotated_and_stays_its_owners_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(logfile, "_MOST_BYTES", 5000)
    with owner_only(), logfile.logging_to(tmp_path, verbose=False):
        for number in range(1000):
            log.info("line %d", number)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"daemon.log", "daemon.log.1", "daemon.log.2", "daemon.log.3"}
    for path in tmp_path.iterdir():
        assert path.stat().st_size <= 5000
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (tmp_path / "daemon.log").read_text().endswith("line 999\n")


def test_what_a_command_says_itself_is_not_said_twice(tmp_path, capsys):
    with logfile.logging_to(tmp_path, verbose=False):
        log.error("for all")
        log.error("for the file", extra={"is_reported": True})
    assert "for all" in capsys.readouterr().err
    written = (tmp_path / "daemon.log").read_text()
    assert "for all" in written
    assert "for the file" in written
