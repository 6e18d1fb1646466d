"""Compiles the rendering kernel when a wheel is built: the build hook of the package.

The C compiler is the one that the `ziglang` package carries, so a developer needs none installed
and one machine builds for every platform; users get a wheel with the finished library. Where no
compiler can be had the package is built without the kernel, and renders with numpy and OpenCV.

Environment:
    MASKUPE_WHEEL_PLATFORM: build for that platform (a key of PLATFORMS) and not for this machine.
    MASKUPE_WITHOUT_KERNEL: set to anything to build without the kernel.

`python build_kernels.py` compiles in place, for developers who changed the C sources.
"""

from __future__ import annotations

import os
import platform
import runpy
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
NATIVE = Path("maskupe", "native")
#: Where a checkout has its libraries, and where they are in a wheel.
IN_PLACE = ROOT / NATIVE / "lib"

FLAGS = [
    *("-std=c11", "-O3", "-shared", "-fvisibility=hidden", "-fno-sanitize=undefined", "-g0"),
    # Neither changes a result: they only let loops with square roots and choices vectorise.
    *("-fno-math-errno", "-fno-trapping-math"),
    "-ffp-contract=fast",
    *("-Wall", "-Wextra", "-Werror"),
]


#: Of single levels: compilers are shy of 512 bits unless told, for the sake of the first processors
#: that had them.
LEVEL_FLAGS = {"x86_64_v4": ["-mprefer-vector-width=512"]}


class Platform(NamedTuple):
    """What is built for one platform.

    Attributes:
        target: the compiler's name of the platform.
        processors: library file suffix by processor level, e.g. ``x86_64_v3``.
        suffix: of library files.
        tag: the wheel's platform tag, or several with dots between.
    """

    target: str
    processors: dict[str, str]
    suffix: str
    tag: str


_X86 = {level: level for level in ("x86_64", "x86_64_v3", "x86_64_v4")}

PLATFORMS = {
    "linux-x86_64": Platform(
        "x86_64-linux-gnu.2.17", _X86, ".so", "manylinux_2_17_x86_64.manylinux2014_x86_64"
    ),
    "linux-aarch64": Platform(
        "aarch64-linux-gnu.2.17",
        {"aarch64": "generic"},
        ".so",
        "manylinux_2_17_aarch64.manylinux2014_aarch64",
    ),
    "windows-x86_64": Platform("x86_64-windows-gnu", _X86, ".dll", "win_amd64"),
    "windows-aarch64": Platform("aarch64-windows-gnu", {"aarch64": "generic"}, ".dll", "win_arm64"),
    "macos-x86_64": Platform("x86_64-macos.11.0", _X86, ".dylib", "macosx_11_0_x86_64"),
    "macos-aarch64": Platform(
        "aarch64-macos.11.0", {"aarch64": "apple_m1"}, ".dylib", "macosx_11_0_arm64"
    ),
}


def wanted_platform() -> str | None:
    """The key of the platform to build for, or None if there is no kernel for this machine's."""
    wanted = os.environ.get("MASKUPE_WHEEL_PLATFORM")
    if not wanted:
        return this_machine()
    if wanted not in PLATFORMS:
        raise SystemExit(
            f"MASKUPE_WHEEL_PLATFORM is {wanted!r}; use one of {', '.join(PLATFORMS)}."
        )
    return wanted


def this_machine() -> str | None:
    """The key of this machine's platform, or None if there is no kernel for it."""
    if sys.platform == "linux" and platform.libc_ver()[0] != "glibc":
        return None
    system = {"linux": "linux", "win32": "windows", "darwin": "macos"}.get(sys.platform)
    machine = platform.machine().lower()
    name = f"{system}-{ {'amd64': 'x86_64', 'arm64': 'aarch64'}.get(machine, machine) }"
    return name if name in PLATFORMS else None


def compile_kernels(name: str, folder: Path) -> list[Path]:
    """Compiles every processor level of a platform into a folder, where others are removed.

    Raises:
        OSError: if there is no compiler.
        subprocess.CalledProcessError: if it fails.
    """
    wanted = PLATFORMS[name]
    built = []
    digest = _digest_of_sources()
    # The compiler leaves import libraries and debugging files beside what it is asked for.
    with tempfile.TemporaryDirectory() as temporary:
        for level, processor in wanted.processors.items():
            library = Path(temporary, f"kernel-{level}{wanted.suffix}")
            command = [sys.executable, "-m", "ziglang", "cc", "-target", wanted.target]
            command += [f"-mcpu={processor}", *FLAGS, *LEVEL_FLAGS.get(level, [])]
            command += [f"-DMASKUPE_SOURCES={digest}ull", "-o", str(library)]
            command += sorted(str(path) for path in (ROOT / NATIVE).glob("*.c"))
            if wanted.suffix != ".dll":
                command.append("-fPIC")
            subprocess.run(command, check=True, capture_output=True, text=True)
            built.append(library)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return [Path(shutil.copy(library, folder)) for library in built]


def _digest_of_sources() -> int:
    """As the loader computes it; run by path, as the package's dependencies are not here yet."""
    digest: int = runpy.run_path(str(ROOT / NATIVE / "sources.py"))["digest"](ROOT / NATIVE)
    return digest


def try_compile(folder: Path) -> tuple[str | None, list[Path]]:
    """The platform and its libraries in a folder; none, with a warning, where that cannot be."""
    if os.environ.get("MASKUPE_WITHOUT_KERNEL"):
        return None, []
    name = wanted_platform()
    if name is None:
        _warn("there is no compiled renderer for this platform")
        return None, []
    try:
        return name, compile_kernels(name, folder)
    except OSError as error:
        _warn(f"the compiler could not be run ({error})")
    except subprocess.CalledProcessError as error:
        _warn(f"the compiler failed:\n{error.stderr}")
    return None, []


def _warn(reason: str) -> None:
    print(
        f"WARNING: {reason}; MaskUPE is built without it and renders more slowly.",
        file=sys.stderr,
    )


class KernelBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Puts the compiled libraries into the wheel and names its platform."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compiles before hatchling collects the files; ``version`` may be ``editable``."""
        # In the source tree stays what runs on this machine, for whichever one a wheel is built.
        self._folder = IN_PLACE if version == "editable" else Path(tempfile.mkdtemp())
        name, libraries = try_compile(self._folder)
        if name is None:
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{PLATFORMS[name].tag}"
        if version == "editable":
            return  # the source tree itself is what is imported
        for library in libraries:
            inside = (IN_PLACE / library.name).relative_to(ROOT)
            build_data["force_include"][str(library)] = inside.as_posix()

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Removes what was compiled, which is in the wheel now."""
        if self._folder != IN_PLACE:
            shutil.rmtree(self._folder, ignore_errors=True)


if __name__ == "__main__":
    _, paths = try_compile(IN_PLACE)
    print("\n".join(str(path) for path in paths))
    sys.exit(0 if paths else 1)
