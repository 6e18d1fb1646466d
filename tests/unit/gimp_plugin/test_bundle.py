"""What the installer puts into GIMP: complete, self-contained, standard library and gi only."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from maskupe import __version__
from maskupe_gimp import NAME, bundle
from tests.untrained import needs_research_weights


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plug-in as it is installed."""
    return bundle.copy_to(tmp_path_factory.mktemp("profile") / "plug-ins")


def modules(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def test_folder_and_script_share_their_name_and_the_script_can_run(built: Path) -> None:
    script = built / f"{built.name}.py"
    assert script.read_bytes().startswith(b"#!/usr/bin/env python3\n")
    assert os.access(script, os.X_OK)
    assert not [p for p in built.rglob("*") if p.suffix in (".pyc", ".so", ".pyd", ".po")]


def test_only_the_standard_library_and_gi_are_imported(built: Path) -> None:
    own = {"maskupe_plugin", "maskupe_client", "msgpack", "gi"}
    foreign = set()
    for path in modules(built):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            tops = {name.split(".")[0] for name in names}
            foreign |= {(path.name, top) for top in tops - own - set(sys.stdlib_module_names)}
    # msgpack tries its compiled half and PyPy's builder first, and does without.
    assert foreign <= {("fallback.py", "__pypy__")}


@pytest.mark.parametrize("minor", [10, 11, 12, 13, 14])
def test_the_syntax_is_that_of_every_python_that_gimp_may_bring(built: Path, minor: int) -> None:
    for path in modules(built):
        ast.parse(path.read_text("utf-8"), feature_version=(3, minor))


def test_the_client_works_from_the_copy_alone(built: Path) -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "import maskupe_client.client, maskupe_client.launcher, msgpack\n"
        "from maskupe_client.framing import pack, unpack\n"
        "assert unpack(pack({'a': 1}))['a'] == 1\n"
        "print(msgpack.__file__, msgpack.Packer.__module__)"
    )
    # -I and -S: no site packages, so that only the copy is there.
    command = [sys.executable, "-I", "-S", "-c", code, str(built), str(built / "vendored")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == [str(built / "vendored/msgpack/__init__.py"), "msgpack.fallback"]


def test_how_to_start_the_daemon_is_recorded(built: Path) -> None:
    launcher = json.loads((built / "launcher.json").read_text("utf-8"))
    assert launcher["version"] == __version__
    ran = subprocess.run(
        [*launcher["command"][:-1], "--version"], capture_output=True, text=True, check=False
    )
    assert __version__ in ran.stdout, ran.stderr


def test_the_service_s_command_takes_no_module_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "argparse.py").write_text("raise SystemExit('somebody else')\n")
    monkeypatch.chdir(tmp_path)
    ran = bundle.service("--help")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "install" in ran.stdout


def test_an_older_copy_is_replaced_and_a_loose_one_removed(tmp_path: Path) -> None:
    old = tmp_path / NAME
    old.mkdir()
    (old / "left-over.py").touch()
    (tmp_path / f"{NAME}.py").touch()
    (tmp_path / "another-plug-in").mkdir()
    assert bundle.copy_to(tmp_path) == old
    assert not (old / "left-over.py").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["another-plug-in", NAME]
    assert bundle.differences(old) == []
    (old / "vendored/maskupe_client/framing.py").write_text("changed")
    assert bundle.differences(old) == ["vendored/maskupe_client/framing.py"]
    assert bundle.remove_from(tmp_path)
    assert not bundle.remove_from(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["another-plug-in"]


@needs_research_weights
def test_models_for_research_are_offered_only_on_demand(built: Path, tmp_path: Path) -> None:
    usual = json.loads((built / bundle.LAUNCHER).read_text("utf-8"))["models"]
    assert usual == {"default": {"purpose": "For every photograph.", "licence": "any use"}}
    folder = bundle.copy_to(tmp_path / "plug-ins", research=True)
    found = json.loads((folder / bundle.LAUNCHER).read_text("utf-8"))["models"]
    assert next(iter(found)) == "default"
    assert found["lantern-uieb-research"] == {
        "purpose": "For photographs taken under water.",
        "licence": "research use, non-commercial",
    }
    assert not [name for name in found if name in ("lantern", "deepupe", "star-dce")]
    assert bundle.differences(folder) == []
