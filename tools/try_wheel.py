"""Installs the wheels for this machine into an empty environment and uses them: try_wheel.py FOLDER

pip itself chooses among the wheels in the folder; what they depend on comes from the package index.
Standard library only, on any system. The environment, in build/wheel, has no PyTorch.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ("maskupe", "maskupe-daemon", "maskupe-gimp", "maskupe-train")
RENDERER = "from maskupe.rendering import native_backend; assert native_backend.available()"


def main(wheels: Path) -> None:
    """Install and use; raises ``CalledProcessError`` where something fails."""
    work = ROOT / "build" / "wheel"
    shutil.rmtree(work, ignore_errors=True)
    venv.create(work / "venv", with_pip=True)
    programs = work / "venv" / ("Scripts" if sys.platform == "win32" else "bin")

    def run(program: str, *arguments: str) -> None:
        print(f"$ {program} {' '.join(arguments)}", flush=True)
        # Elsewhere than in the checkout, so that nothing is imported from there.
        subprocess.run([programs / program, *arguments], cwd=work, check=True)

    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run("python", *pip, "--no-index", "--no-deps", "--find-links", str(wheels), "maskupe")
    run("python", *pip, "maskupe")  # which is there: the rest
    for program in PROGRAMS:
        run(program, "--version")
    run("maskupe", "models")
    run("python", "-c", RENDERER)
    shutil.copy(ROOT / "daemon" / "maskupe_daemon" / "data" / "portrait.jpg", work / "photo.jpg")
    run("maskupe", "enhance", "photo.jpg", "-o", "lit.png")
    run("maskupe", "demo", "--out", "demo")
    weights = "maskupe-research-weights"
    run("python", *pip, "--no-index", "--no-deps", "--find-links", str(wheels), weights)
    run("maskupe", "enhance", "photo.jpg", "-o", "other.png", "--model", "star-dce-mconcat")
    print("The wheel installs, and its programs do their work.")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        main(Path(sys.argv[1]).resolve())
    except subprocess.CalledProcessError as error:
        sys.exit(f"try_wheel.py: {error}")
