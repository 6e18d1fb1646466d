"""The doctor runs the plug-in by the Python that a real GIMP uses."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from pathlib import Path

import pytest

from maskupe_gimp import bundle
from maskupe_gimp.doctor import examine
from maskupe_gimp.profiles import GimpProfile
from tests.gimp.finding import Gimp
from tests.gimp.session import prepare


def test_the_plug_in_is_loaded_with_gimps_own_python(
    installed_gimp: Gimp, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Path(tempfile.mkdtemp(prefix="maskupe-"))
    try:
        folder = bundle.copy_to(prepare(work))
        monkeypatch.setenv("MASKUPE_STATE_DIR", str(work / "state"))
        if installed_gimp.root is not None:
            # Its Python lives in the root.
            programs = work / "bin"
            programs.mkdir()
            home = {"HOME": str(work / "home")}
            command = shlex.join(installed_gimp.command(["python3"], work, home))
            (programs / "python3").write_text(f'#!/bin/sh\nexec {command} "$@"\n', "utf-8")
            (programs / "python3").chmod(0o755)
            monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
        place = GimpProfile("test", installed_gimp.version, work / "profile")

        def told() -> list[str]:
            return [f.what for f in examine([place]) if "the plug-in" in f.what]

        assert any(what.endswith("starts and loads the plug-in") for what in told())
        (folder / "maskupe_plugin" / "region.py").write_text("no Python", "utf-8")
        assert any("cannot load the plug-in: SyntaxError" in what for what in told())
    finally:
        shutil.rmtree(work, ignore_errors=True)
