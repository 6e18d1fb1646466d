"""Builds the wheel of every platform on this machine and looks into each: python -m tools.wheels

A wheel is accepted if it holds the kernel of its platform, each file for the right system and
processor, and none of another; if a library for Linux asks for no newer glibc than the wheel's tag
promises; if those that this machine can load do load, with ctypes as the package does it; and if it
holds only weights that may be used for anything. Those for research are a wheel of their own, for
all platforms.
"""

from __future__ import annotations

import argparse
import os
import re
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import build_kernels
from build_kernels import PLATFORMS, ROOT
from maskupe import registry, weights_file
from maskupe.errors import WeightsError
from maskupe.native import library, sources

_INSIDE = "maskupe/native/lib/"
_GLIBC = re.compile(rb"GLIBC_(\d+)\.(\d+)")
_PROMISED = re.compile(r"manylinux_(\d+)_(\d+)_")
RESEARCH = "research-weights"
_RESEARCH = ROOT / "research_weights" / "pyproject.toml"


class WheelError(Exception):
    """A wheel that must not be published; the text says why."""


class Binary(NamedTuple):
    """What a library says it is for: ``system`` and ``processor`` as in the keys of PLATFORMS."""

    system: str
    processor: str


def binary(content: bytes) -> Binary:
    """Return what a library is for, from its header: ELF, Mach-O or PE.

    Raises:
        WheelError: if it is none of these, or for a processor that we do not build for.
    """
    try:
        if content.startswith(b"\x7fELF"):
            number = struct.unpack_from("<H", content, 18)[0]
            return Binary("linux", {62: "x86_64", 183: "aarch64"}[number])
        if content.startswith(b"\xcf\xfa\xed\xfe"):
            number = struct.unpack_from("<I", content, 4)[0]
            return Binary("macos", {0x01000007: "x86_64", 0x0100000C: "aarch64"}[number])
        if content.startswith(b"MZ"):
            header = struct.unpack_from("<I", content, 0x3C)[0]
            if content[header : header + 4] == b"PE\0\0":
                number = struct.unpack_from("<H", content, header + 4)[0]
                return Binary("windows", {0x8664: "x86_64", 0xAA64: "aarch64"}[number])
    except (KeyError, struct.error):
        pass
    raise WheelError("it is no library for a system and processor that we build for.")


def check(wheel: Path, name: str) -> list[str]:
    """Look into the wheel of a platform.

    Args:
        wheel: the file.
        name: a key of PLATFORMS.

    Returns:
        The names of the libraries that could be loaded here and were; none for other platforms.

    Raises:
        WheelError: if something is missing, is too much, or is not what it should be.
    """
    check_weights(wheel, registry.ANY_USE)
    wanted = PLATFORMS[name]
    with zipfile.ZipFile(wheel) as archive:
        contents = {
            member.removeprefix(_INSIDE): archive.read(member)
            for member in archive.namelist()
            if member.startswith(_INSIDE)
        }
        tags = next(m for m in archive.namelist() if m.endswith(".dist-info/WHEEL"))
        tagged = set(re.findall(r"^Tag: (.+)$", archive.read(tags).decode(), re.MULTILINE))
    expected = {f"py3-none-{tag}" for tag in wanted.tag.split(".")}
    if tagged != expected or not wheel.name.endswith(f"-py3-none-{wanted.tag}.whl"):
        raise WheelError(f"{wheel.name} is tagged {sorted(tagged)} and not {sorted(expected)}.")
    needed = {f"kernel-{level}{wanted.suffix}" for level in wanted.processors}
    if set(contents) != needed:
        raise WheelError(f"{wheel.name} holds {sorted(contents)} and not {sorted(needed)}.")
    for member, content in contents.items():
        try:
            found = binary(content)
            if "-".join(found) != name:
                raise WheelError(f"it is for {'-'.join(found)} and not {name}.")
            check_glibc(content, wanted.tag)
        except WheelError as error:
            raise WheelError(f"{member} in {wheel.name}: {error}") from None
    return _load(contents) if name == build_kernels.this_machine() else []


def check_weights(wheel: Path, licence: str) -> list[str]:
    """Look whether a wheel's weights may all be used as it is said, and are complete.

    Args:
        wheel: the file.
        licence: of the weights, as in :mod:`maskupe.registry`.

    Returns:
        The names of the weight files.

    Raises:
        WheelError: if there are none, or a file is under another licence, damaged, or without its
            graph or its card.
    """
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as folder:
        names = archive.namelist()
        weights = sorted(name for name in names if name.endswith(".safetensors"))
        if not weights:
            raise WheelError(f"{wheel.name} holds no weights.")
        for name in weights:
            absent = {str(Path(name).with_suffix(end)) for end in (".onnx", ".md")} - set(names)
            if absent:
                raise WheelError(f"{wheel.name} holds {name} without {sorted(absent)}.")
            try:
                header = weights_file.read_header(archive.extract(name, folder))
            except WeightsError as error:
                raise WheelError(f"{wheel.name}: {error}") from None
            found = header.metadata.get("licence")
            if found != licence:
                raise WheelError(
                    f"{wheel.name} holds {name}, which is for {found!r} and not for {licence!r}."
                )
    return [Path(name).name for name in weights]


def check_glibc(content: bytes, tag: str) -> None:
    """Look whether a library runs wherever its wheel's tag says so.

    Raises:
        WheelError: if it asks for a newer glibc.
    """
    promised = _PROMISED.match(tag)
    if promised is None:
        return
    most = tuple(map(int, promised.groups()))
    newest = max(((int(a), int(b)) for a, b in _GLIBC.findall(content)), default=(0, 0))
    if newest > most:
        raise WheelError(f"it needs glibc {newest[0]}.{newest[1]}, newer than its tag promises.")


def _load(contents: dict[str, bytes]) -> list[str]:
    """Load libraries as the package does, and compare what they were built from.

    Loading runs nothing in them but that comparison, so that also those for a processor with more
    instructions than this one's load.
    """
    made_of = sources.digest(ROOT / build_kernels.NATIVE)
    with tempfile.TemporaryDirectory() as folder:
        for member, content in contents.items():
            path = Path(folder, member)
            path.write_bytes(content)
            try:
                loaded = library.open_library(path)
            except (OSError, AttributeError) as error:
                raise WheelError(f"{member} does not load: {error}") from None
            if loaded.maskupe_sources() != made_of:
                raise WheelError(f"{member} was built from other sources than these.")
    return sorted(contents)


def build(name: str, folder: Path) -> Path:
    """Build a wheel into a folder, replacing one of the same name.

    Args:
        name: a key of PLATFORMS, or RESEARCH.
        folder: where to.

    Raises:
        WheelError: if it cannot be built; the text ends with the build's own words.
    """
    with tempfile.TemporaryDirectory() as temporary:
        done = subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", temporary],
            cwd=_RESEARCH.parent if name == RESEARCH else ROOT,
            env=os.environ | {"MASKUPE_WHEEL_PLATFORM": name},
            capture_output=True,
            text=True,
            check=False,
        )
        made = list(Path(temporary).glob("*.whl"))
        if done.returncode or len(made) != 1:
            raise WheelError(f"the wheel {name} cannot be built:\n{done.stdout}{done.stderr}")
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / made[0].name
        target.write_bytes(made[0].read_bytes())
    return target


def main(arguments: Sequence[str] | None = None) -> int:
    """Build and check the wheels; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.wheels", description=__doc__)
    known = (*PLATFORMS, RESEARCH)
    parser.add_argument("wheels", nargs="*", metavar="WHEEL", help=", ".join(known))
    parser.add_argument("--out", type=Path, default=Path("dist"), help="folder (default: dist)")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.wheels) - set(known))
    if unknown:
        parser.error(f"there is no wheel {', '.join(unknown)}; use {', '.join(known)}")
    # The source archive has no weights for research.
    here = [name for name in known if name != RESEARCH or _RESEARCH.is_file()]
    for name in options.wheels or here:
        try:
            wheel = build(name, options.out)
            what = _checked(wheel, name)
        except WheelError as error:
            print(f"tools.wheels: {error}", file=sys.stderr)
            return 1
        print(f"{name}: {wheel}, {wheel.stat().st_size / 1e6:.1f} MB, {what}", flush=True)
    return 0


def _checked(wheel: Path, name: str) -> str:
    """Check a wheel and say what was found."""
    if name == RESEARCH:
        found = check_weights(wheel, registry.RESEARCH_USE)
        if set(found) != registry.RESEARCH_WEIGHTS:
            raise WheelError(f"{wheel.name} holds {found} and not what the registry lists.")
        return f"holds {len(found)} weight files, for {registry.RESEARCH_USE} alone"
    loaded = check(wheel, name)
    what = f"loaded here: {', '.join(loaded)}" if loaded else "cannot be loaded on this machine"
    return f"holds its own kernel alone, and weights for {registry.ANY_USE}; {what}"


if __name__ == "__main__":
    sys.exit(main())
