"""Where the GIMP 3 versions of this machine keep their plug-ins.

GIMP has one profile folder per minor version (``GIMP/3.0``, ``GIMP/3.2``), in a place that
depends on the system and on how GIMP was packaged. Development versions use the same scheme.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

#: GIMP's own variable: when set, it is the profile and no other is used.
PROFILE_VARIABLE = "GIMP3_DIRECTORY"

_FLATPAK = "org.gimp.GIMP"
_VERSION = re.compile(r"3\.\d+")
_OLD_VERSION = re.compile(r"[012]\.\d+")
_ANY_VERSION = re.compile(r"\d+\.\d+")
#: Of these, every GIMP has some in its profile.
_KNOWN = {"gimprc", "pluginrc", "sessionrc", "plug-ins", "brushes", "tool-options"}


@dataclass(frozen=True)
class GimpProfile:
    """One GIMP profile.

    Attributes:
        label: how it got onto the machine, for the person.
        version: ``"3.0"``, ``"3.2"`` …, or ``"3"`` where the folder does not tell.
        folder: the profile folder.
        sandboxed: whether GIMP runs in a sandbox, where it cannot start programs of the host.
    """

    label: str
    version: str
    folder: Path
    sandboxed: bool = False

    @property
    def plug_ins(self) -> Path:
        """The folder that GIMP looks for plug-ins in."""
        return self.folder / "plug-ins"

    def refusal(self) -> str:
        """Why this is no profile of a GIMP 3, in a sentence with the remedy; "" if it is one."""
        name, found = self.folder.name, {path.name for path in self.folder.iterdir()}
        hint = "GIMP shows its own under Edit > Preferences > Folders."
        if name == "plug-ins":
            return f"{self.folder} is the folder of plug-ins; give the profile that it lies in."
        if _OLD_VERSION.fullmatch(name):
            return f"{self.folder} belongs to GIMP {name}; the plug-in needs GIMP 3. {hint}"
        if not (_VERSION.fullmatch(name) or found & _KNOWN):
            return f"{self.folder} does not look like a GIMP profile. {hint}"
        return ""

    def unstarted(self) -> str:
        """Why GIMP must be started before it gets anything, in a sentence; "" if it need not.

        It takes the settings of an older version over at its first start, which it knows by its
        own profile not being there.
        """
        if self.folder.exists() or not self.folder.parent.is_dir():
            return ""
        names = [path.name for path in self.folder.parent.iterdir()]
        known = [_numbers(name) for name in names if _ANY_VERSION.fullmatch(name)]
        older = [numbers for numbers in known if numbers < _numbers(self.version)]
        if not older:
            return ""
        newest = ".".join(map(str, max(older)))
        return (
            f"Start it once, so that it takes over the settings of GIMP {newest}; "
            "then run this command again."
        )

    def __str__(self) -> str:
        return f"GIMP {self.version} ({self.label})"


def find_profiles(
    *,
    platform: str = sys.platform,
    home: Path | None = None,
    environment: Mapping[str, str] = os.environ,
) -> list[GimpProfile]:
    """Return every profile of a GIMP 3 on this machine, in a stable order.

    A GIMP that is installed but was never started has no profile yet; then the folder where it
    will look is given. See :meth:`GimpProfile.unstarted`.
    """
    home = home or Path.home()
    own = environment.get(PROFILE_VARIABLE)
    if own:
        name = Path(own).name
        version = name if _VERSION.fullmatch(name) else "3"
        return [GimpProfile(f"from {PROFILE_VARIABLE}", version, Path(own))]
    profiles: list[GimpProfile] = []
    for label, base, sandboxed in _bases(platform, home, environment):
        found = sorted(_profiles(base))
        profiles += [GimpProfile(label, path.name, path, sandboxed) for path in found]
    version = _installed_version(environment)
    if version and not any(not profile.sandboxed for profile in profiles):
        label, base, _ = next(_bases(platform, home, environment))
        profiles.insert(0, GimpProfile(label, version, base / version))
    if platform == "linux" and _has_flatpak(home, environment):
        profiles = list(_with_flatpak(profiles, alone=not version))
    return profiles


def _has_flatpak(home: Path, environment: Mapping[str, str]) -> bool:
    """Return whether GIMP is installed as a Flatpak, for everybody or for this user."""
    everybody = Path(environment.get("FLATPAK_SYSTEM_DIR", "/var/lib/flatpak"))
    user = Path(environment.get("FLATPAK_USER_DIR", home / ".local" / "share" / "flatpak"))
    return any((folder / "app" / _FLATPAK).is_dir() for folder in (everybody, user))


def _with_flatpak(profiles: list[GimpProfile], *, alone: bool) -> Iterator[GimpProfile]:
    """The profiles where a Flatpak shares the profiles of the system's GIMP, as its manifest says.

    Args:
        profiles: those found; each shared one is also the Flatpak's.
        alone: whether there is no other GIMP, so that the Flatpak's they are.
    """
    for profile in profiles:
        if profile.sandboxed:
            yield profile
            continue
        if not alone:
            yield profile
        yield GimpProfile("Flatpak", profile.version, profile.folder, sandboxed=True)


def _bases(
    platform: str, home: Path, environment: Mapping[str, str]
) -> Iterator[tuple[str, Path, bool]]:
    """Yield folders that hold profiles: label, folder, sandboxed; the system's own GIMP first."""
    if platform == "win32":
        roaming = environment.get("APPDATA")
        yield "Windows", (Path(roaming) if roaming else home / "AppData/Roaming") / "GIMP", False
        return
    if platform == "darwin":
        yield "macOS", home / "Library" / "Application Support" / "GIMP", False
        return
    config = environment.get("XDG_CONFIG_HOME")
    yield "system or AppImage", (Path(config) if config else home / ".config") / "GIMP", False
    # Where somebody took the permission for the folder above away from the Flatpak.
    own = home / ".var" / "app" / _FLATPAK / "config" / "GIMP"
    if not own.is_symlink():
        yield "Flatpak", own, True
    yield "Snap", home / "snap" / "gimp" / "current" / ".config" / "GIMP", True


def _profiles(base: Path) -> list[Path]:
    if not base.is_dir():
        return []
    return [path for path in base.iterdir() if path.is_dir() and _VERSION.fullmatch(path.name)]


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def _installed_version(environment: Mapping[str, str]) -> str:
    """Return minor version of a GIMP 3 on the search path, or ""."""
    path = environment.get("PATH")
    for name in ("gimp-console-3.2", "gimp-console-3.0", "gimp-console", "gimp-3.0", "gimp"):
        program = shutil.which(name, path=path)
        if not program:
            continue
        try:
            done = subprocess.run(
                [program, "--version"], capture_output=True, text=True, timeout=30, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        match = re.search(r"version (3\.\d+)\.\d+", done.stdout)
        if match:
            return match[1]
    return ""
