"""Walks through README.md as somebody who is new here does: python -m tools.walk ROOT WHEELS

ROOT is the root folder of a Linux distribution, with Python and venv, as debootstrap or
`dnf --installroot` leave it. WHEELS is a folder with the wheel of MaskUPE and of all that it needs:
`pip download --dest WHEELS dist/maskupe-*.whl`, with ROOT's version of Python.

A user who is not root, with a home folder that has a space in its name and an empty folder in it,
runs the commands of README.md in their order, all in one shell: those to install MaskUPE, from the
wheel instead of a checkout, and those that use it. Then the results are looked at. Nothing can be
downloaded: the walk has no network. It needs root, for chroot and mounts, which end with it. In
ROOT, it adds the user and replaces that user's home.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from tools.docs.markdown import ROOT as CHECKOUT
from tools.docs.markdown import code_blocks, read, shell_lines

USER, NUMBER = "newcomer", 4321
HOME = f"/home/{USER} of today"
#: Below HOME, where the commands are run.
FOLDER = "my photos"
#: Where the wheels are in the root while the walk lasts.
_WHEELS = "/mnt"
_PHOTO = CHECKOUT / "daemon" / "maskupe_daemon" / "data" / "portrait.jpg"

#: The sections of README.md that are walked, in their order. Of the others, those for researchers
#: and developers need a checkout, and the dialog a person; tests/gimp has a program for that.
INSTALL, USE = "## Install", "## Without GIMP"


def section(text: str, heading: str) -> str:
    """Return a section of a document, without its heading.

    Raises:
        ValueError: if there is none.
    """
    _, found, rest = f"\n{text}".partition(f"\n{heading}\n")
    if not found:
        raise ValueError(f"README.md has no section {heading!r}.")
    return rest.partition("\n## ")[0]


def steps(text: str, *, gimp: bool) -> Iterator[str]:
    """Yield the shell commands of a walk through README.md, as they stand there.

    Args:
        text: README.md.
        gimp: whether there is a GIMP 3; without one, its plug-in cannot be installed.
    """
    if gimp:
        yield "xvfb-run -a gimp --quit"  # "Start GIMP once before installing."
    for line in shell_lines(code_blocks(section(text, INSTALL))):
        if line == "pip install .":
            yield "pip install --quiet maskupe"
        elif line == "maskupe-gimp install" and not gimp:
            yield f"! {line}"
        else:
            yield line
    if gimp:
        yield "maskupe-gimp doctor"
    yield from shell_lines(code_blocks(section(text, USE)))
    yield "python example.py"
    yield "maskupe demo --out demo"
    if gimp:
        yield "maskupe-gimp uninstall"


def script(text: str, *, gimp: bool) -> str:
    """Return the walk as a script for sh that shows each command and ends at the first failure."""
    lines = ["set -eu", f"cd {shlex.quote(f'{HOME}/{FOLDER}')}", 'test -z "$(ls)"']
    # What the reader is expected to have.
    lines.append("cp -r ../given/. .")
    for step in steps(text, gimp=gimp):
        lines += [f"printf '%s\\n' {shlex.quote(f'$ {step}')}", step]
    return "\n".join(lines) + "\n"


def example(text: str) -> str:
    """Return README.md's lines of Python, with the picture that they take for granted."""
    block = next(b for b in code_blocks(section(text, USE)) if b.language == "python")
    return (
        "import numpy\nfrom PIL import Image\n"
        "image = numpy.asarray(Image.open('photo.jpg'))\n"
        "selection = numpy.asarray(Image.open('mask.png')) > 0\n"
        f"{block.text}"
        "assert result.shape == image.shape\n"
        "assert result[selection].mean() > image[selection].mean() + 10\n"
    )


def prepare(root: Path, text: str, *, gimp: bool) -> None:
    """Make the user, an empty folder, and beside it the photographs that README.md names."""
    for file, line in (
        ("passwd", f"{USER}:x:{NUMBER}:{NUMBER}::{HOME}:/bin/sh"),
        ("group", f"{USER}:x:{NUMBER}:"),
    ):
        path = root / "etc" / file
        kept = [old for old in path.read_text().splitlines() if not old.startswith(f"{USER}:")]
        path.write_text("\n".join([*kept, line]) + "\n")
    home = root / HOME.lstrip("/")
    shutil.rmtree(home, ignore_errors=True)
    given = home / "given"
    given.mkdir(parents=True)
    (home / FOLDER).mkdir()
    shutil.copy(_PHOTO, given / "photo.jpg")
    with Image.open(_PHOTO) as photo:
        photo.save(given / "scan.tif")
        mask = Image.new("L", photo.size)
        width, height = photo.size
        ImageDraw.Draw(mask).ellipse(
            (width // 4, height // 4, width * 3 // 4, height * 3 // 4), fill=255
        )
    mask.save(given / "mask.png")
    (given / "jobs.csv").write_text("photo,mask,output\nphoto.jpg,mask.png,batch.png\n")
    (given / "example.py").write_text(example(text))
    (home / "walk.sh").write_text(script(text, gimp=gimp))
    for path in (home, *home.rglob("*")):
        os.chown(path, NUMBER, NUMBER)


def walk(root: Path, wheels: Path) -> int:
    """Run the script in the root as the user; returns its exit status."""
    inside = (
        'set -e; mount -t proc proc "$1/proc"; mount --rbind /dev "$1/dev"; '
        'mount -t tmpfs -o mode=1777 tmpfs "$1/tmp"; mount --bind "$2" "$1$3"; '
        'exec chroot --userspec="$4:$4" "$1" env -i "HOME=$5" "USER=$6" "LOGNAME=$6" '
        'PATH=/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 "PIP_FIND_LINKS=$3" PIP_NO_INDEX=1 '
        'PIP_DISABLE_PIP_VERSION_CHECK=1 sh "$5/walk.sh"'
    )
    command = ["unshare", "--mount", "--net", "--ipc", "--pid", "--fork", "--kill-child"]
    command += ["sh", "-c", inside, "walk", str(root), str(wheels), _WHEELS, str(NUMBER)]
    return subprocess.run([*command, HOME, USER], check=False).returncode


def complaints(root: Path) -> list[str]:
    """Return what is wrong with the results, in sentences; nothing if all is well."""
    folder = root / HOME.lstrip("/") / FOLDER
    made = ("result.jpg", "batch.png", "demo/sheet.png")
    wrong = [f"there is no {name}" for name in made if not (folder / name).is_file()]
    with Image.open(_PHOTO) as photo, Image.open(folder / "mask.png") as mask:
        before, inside = np.asarray(photo).astype(int), np.asarray(mask) > 0
    with Image.open(folder / "scan.tif") as scan:
        after = np.asarray(scan).astype(int)
    # What follows the subject's edges may reach beyond the mask a little, not to the border.
    height, width = inside.shape
    far = np.ones_like(inside)
    far[height // 8 : -(height // 8), width // 8 : -(width // 8)] = False
    if after.shape != before.shape or (after != before)[far].any():
        wrong.append("scan.tif changed far from its mask")
    elif after[inside].mean() < before[inside].mean() + 10:
        wrong.append("scan.tif was not brightened inside of its mask")
    return wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Walk and look; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.walk", description=__doc__)
    parser.add_argument("root", type=Path, metavar="ROOT")
    parser.add_argument("wheels", type=Path, metavar="WHEELS")
    options = parser.parse_args(arguments)
    root, wheels = options.root.resolve(), options.wheels.resolve()
    about = dict(
        line.split("=", 1) for line in read(root / "etc/os-release").splitlines() if "=" in line
    )
    name = about.get("PRETTY_NAME", str(root)).strip('"')
    gimp = any((root / "usr/bin").glob("gimp-3*"))
    text = read(CHECKOUT / "README.md")
    prepare(root, text, gimp=gimp)
    status = walk(root, wheels)
    if status:
        print(f"The walk on {name} ended at the command above, with status {status}.")
        return 1
    wrong = complaints(root)
    for sentence in wrong:
        print(f"The walk on {name}: {sentence}.")
    if wrong:
        return 1
    count = len(list(steps(text, gimp=gimp)))
    print(
        f"The walk on {name}, {'with' if gimp else 'without'} GIMP 3: {count} commands, all well."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
