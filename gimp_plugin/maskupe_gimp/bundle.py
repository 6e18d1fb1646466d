"""What the plug-in consists of on a user's machine, and copying it there or into an archive.

GIMP's Python has nothing but the standard library and gi. So the daemon's client modules and the
pure-Python files of msgpack are copied beside the plug-in; nothing is ever installed into GIMP.

``python -m maskupe_gimp.bundle FOLDER`` writes the archive.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import maskupe_client
from maskupe import __version__
from maskupe_gimp import NAME, source
from maskupe_gimp.models import offered

#: Beside the plug-in: how to start the daemon, and which version was installed.
LAUNCHER = "launcher.json"

_VENDORED = "vendored"
#: Only in the archive: how to unpack it.
_README = "README.txt"
#: The date of all files in an archive, the earliest that there is: the same sources always give
#: the same bytes.
_DATE = (1980, 1, 1, 0, 0, 0)
_MSGPACK_FILES = ("__init__.py", "exceptions.py", "ext.py", "fallback.py")


def daemon_command() -> list[str]:
    """Return the command line that starts the daemon of this installation."""
    return [sys.executable, "-m", "maskupe_daemon", "run"]


def service(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``maskupe-daemon service`` of this installation to its end."""
    command = [sys.executable, "-m", "maskupe_daemon", "service", *arguments]
    # No module of the user's current folder can take another's place there.
    beside = Path(sys.executable).parent
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=beside)


def client_modules() -> list[Path]:
    """Return the files of the daemon's client."""
    return sorted(Path(maskupe_client.__file__).resolve().parent.glob("*.py"))


def copy_to(plug_ins: Path, *, research: bool = False) -> Path:
    """Put the self-contained plug-in into a plug-in folder, replacing an older copy.

    The new copy is made in a hidden folder and then renamed, so GIMP never sees half of it, and an
    older copy stays where a new one cannot be made. The hidden folder is inside, since the folder
    may be a link to another file system.

    Args:
        plug_ins: the folder.
        research: whether its dialog offers models for research too.

    Raises:
        OSError: if the folder cannot be written.
    """
    plug_ins.mkdir(parents=True, exist_ok=True)
    target = plug_ins / NAME
    with tempfile.TemporaryDirectory(dir=plug_ins, prefix=".maskupe-") as hidden:
        made = Path(hidden) / NAME
        build(made, research=research)
        remove_from(plug_ins)
        made.rename(target)
    return target


def build(folder: Path, *, research: bool = False, command: Sequence[str] | None = None) -> None:
    """Write the self-contained plug-in into a new folder; see :func:`copy_to`.

    Args:
        folder: the new folder.
        research: as for :func:`copy_to`.
        command: what starts the daemon, if not :func:`daemon_command`; empty lets the plug-in look.
    """
    from maskupe_gimp import translations

    ignored = shutil.ignore_patterns("__pycache__", "*.pyc", "*.po", "*.pot", _VENDORED, LAUNCHER)
    shutil.copytree(source(), folder, ignore=ignored)
    vendored = folder / _VENDORED
    (vendored / maskupe_client.__name__).mkdir(parents=True)
    for module in client_modules():
        shutil.copyfile(module, vendored / maskupe_client.__name__ / module.name)
    _copy_msgpack(vendored / "msgpack")
    translations.write_catalogues(folder)
    launcher = {
        "command": daemon_command() if command is None else list(command),
        "version": __version__,
        "research": research,
        "models": offered(research=research),
    }
    (folder / LAUNCHER).write_text(json.dumps(launcher, indent=1) + "\n", "utf-8")
    script = folder / f"{NAME}.py"
    script.chmod(script.stat().st_mode | 0o111)


def write_archive(folder: Path) -> Path:
    """Write the plug-in as an archive to unpack into GIMP's plug-in folder.

    The same sources give the same bytes.

    Args:
        folder: where to; made if it is not there.

    Returns:
        The archive, named after the version.

    Raises:
        OSError: if it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / f"{NAME}-{__version__}.zip"
    with tempfile.TemporaryDirectory() as beside:
        made = Path(beside) / NAME
        build(made, command=())
        readme = (Path(__file__).with_name("archive-readme.txt")).read_text("utf-8")
        (made / _README).write_text(readme.replace("{version}", __version__), "utf-8")
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
            for path in sorted(path for path in made.rglob("*") if path.is_file()):
                member = zipfile.ZipInfo(path.relative_to(beside).as_posix(), _DATE)
                member.create_system = 3  # Unix, whose mode follows: the script must be executable
                member.external_attr = (0o100755 if path.stat().st_mode & 0o100 else 0o100644) << 16
                member.compress_type = zipfile.ZIP_DEFLATED
                out.writestr(member, path.read_bytes())
    return archive


def _copy_msgpack(target: Path) -> None:
    spec = importlib.util.find_spec("msgpack")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("The package msgpack is not installed.")
    folder = Path(spec.submodule_search_locations[0])
    target.mkdir()
    for name in _MSGPACK_FILES:
        shutil.copyfile(folder / name, target / name)
    for file in importlib.metadata.files("msgpack") or ():
        if file.name in ("COPYING", "LICENSE"):
            shutil.copyfile(Path(str(file.locate())), target / file.name)


def remove_from(plug_ins: Path) -> bool:
    """Remove the plug-in, also one put down without its folder; whether there was one."""
    folder, loose = plug_ins / NAME, plug_ins / f"{NAME}.py"
    found = folder.exists() or loose.exists()
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.is_dir():
        shutil.rmtree(folder)
    loose.unlink(missing_ok=True)
    return found


def differences(installed: Path) -> list[str]:
    """Files of an installed plug-in that are missing or differ from what would be installed now.

    Raises:
        OSError, ValueError: if its launcher file cannot be read.
    """
    launcher = json.loads((installed / LAUNCHER).read_text("utf-8"))
    with tempfile.TemporaryDirectory() as beside:
        wanted = Path(beside) / NAME
        build(wanted, research=bool(launcher.get("research")))
        different = []
        for path in sorted(wanted.rglob("*")):
            other = installed / path.relative_to(wanted)
            if not path.is_file():
                continue
            if not other.is_file() or path.read_bytes() != other.read_bytes():
                different.append(str(path.relative_to(wanted)))
        return different


if __name__ == "__main__":
    print(write_archive(Path(*sys.argv[1:2])))
