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
        tag: the wheel's platform tag.
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
    "macos-x86_64": Platform("x86_64-macos.11.0", _X86, ".dylib", "macosx_11_0_x86_64"),
    "macos-aarch64": Platform(
        "aarch64-macos.11.0", {"aarch64": "apple_m1"}, ".dylib", "macosx_11_0_arm64"
    ),
}


def this_platform() -> str | None:
    """The key of this machine's platform, or None if there is no kernel for it."""
    wanted = os.environ.get("MASKUPE_WHEEL_PLATFORM")
    if wanted:
        if wanted not in PLATFORMS:
            raise SystemExit(
                f"MASKUPE_WHEEL_PLATFORM is {wanted!r}; use one of {', '.join(PLATFORMS)}."
            )
        return wanted
    if sys.platform == "linux" and platform.libc_ver()[0] != "glibc":
        return None
    system = {"linux": "linux", "win32": "windows", "darwin": "macos"}.get(sys.platform)
    machine = platform.machine().lower()
    name = f"{system}-{ {'amd64': 'x86_64', 'arm64': 'aarch64'}.get(machine, machine) }"
    return name if name in PLATFORMS else None


def compile_kernels(name: str) -> list[Path]:
    """Compiles every processor level of a platform into the source tree.

    Returns:
        The libraries' paths, relative to the root.

    Raises:
        OSError: if there is no compiler.
        subprocess.CalledProcessError: if it fails.
    """
    wanted = PLATFORMS[name]
    folder = ROOT / NATIVE / "lib"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    built = []
    digest = _digest_of_sources()
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
            shutil.copy(library, folder / library.name)
            built.append(NATIVE / "lib" / library.name)
    return built


def _digest_of_sources() -> int:
    """As the loader computes it; run by path, as the package's dependencies are not here yet."""
    digest: int = runpy.run_path(str(ROOT / NATIVE / "sources.py"))["digest"](ROOT / NATIVE)
    return digest


def try_compile() -> tuple[str | None, list[Path]]:
    """The platform and its libraries; none of them, with a warning, where that cannot be."""
    if os.environ.get("MASKUPE_WITHOUT_KERNEL"):
        return None, []
    name = this_platform()
    if name is None:
        _warn("there is no compiled renderer for this platform")
        return None, []
    try:
        return name, compile_kernels(name)
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
        name, libraries = try_compile()
        if name is None:
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{PLATFORMS[name].tag}"
        if version == "editable":
            return  # the source tree itself is what is imported
        for library in libraries:
            build_data["force_include"][str(ROOT / library)] = library.as_posix()


if __name__ == "__main__":
    _, paths = try_compile()
    print("\n".join(str(path) for path in paths))
    sys.exit(0 if paths else 1)
