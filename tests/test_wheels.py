"""Each platform's wheel holds the kernel for it and no other, and what does not is refused."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling")
pytest.importorskip("ziglang")

import build_kernels
from tools import wheels

HERE = build_kernels.this_machine()
#: The cheapest to build: one level, and a C library that the compiler need not make first.
FOREIGN = "macos-aarch64" if HERE != "macos-aarch64" else "linux-aarch64"

pytestmark = [
    pytest.mark.skipif(HERE is None, reason="there is no kernel for this platform"),
    pytest.mark.timeout(400),  # 15 s of compiling, and minutes on a machine that is busy
]


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a platform that this machine is not."""
    return wheels.build(FOREIGN, tmp_path_factory.mktemp("dist"))


def rewritten(
    wheel: Path, folder: Path, *, add: dict[str, bytes] | None = None, leave: str = ""
) -> Path:
    """A copy of a wheel with members replaced or added, and without one."""
    folder.mkdir()
    copy = folder / wheel.name
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(copy, "w") as new:
        members = {name: old.read(name) for name in old.namelist() if name != leave}
        for name, content in (members | (add or {})).items():
            new.writestr(name, content)
    return copy


@pytest.mark.slow
def test_a_wheel_for_another_platform_holds_its_kernel_and_leaves_this_ones_alone(
    foreign: Path,
) -> None:
    assert wheels.check(foreign, FOREIGN) == [], "nothing of it can be loaded here"
    kernels = build_kernels.IN_PLACE.glob("kernel-*")
    assert {"-".join(wheels.binary(path.read_bytes())) for path in kernels} <= {HERE}


@pytest.mark.slow
def test_this_machines_wheel_loads_here(tmp_path: Path) -> None:
    wheel = wheels.build(HERE, tmp_path)
    wanted = build_kernels.PLATFORMS[HERE]
    expected = sorted(f"kernel-{level}{wanted.suffix}" for level in wanted.processors)
    assert wheels.check(wheel, HERE) == expected


@pytest.mark.slow
def test_a_wheel_with_a_wrong_kernel_is_refused(foreign: Path, tmp_path: Path) -> None:
    wanted = build_kernels.PLATFORMS[FOREIGN]
    kernel = f"maskupe/native/lib/kernel-aarch64{wanted.suffix}"
    for other, complaint in (("linux-aarch64", "tagged"), (HERE, "tagged")):
        with pytest.raises(wheels.WheelError, match=complaint):
            wheels.check(foreign, other)
    without = rewritten(foreign, tmp_path / "without", leave=kernel)
    with pytest.raises(wheels.WheelError, match=r"holds \[\]"):
        wheels.check(without, FOREIGN)
    second = {"maskupe/native/lib/kernel-x86_64.so": b"\x7fELF"}
    with pytest.raises(wheels.WheelError, match=r"kernel-x86_64\.so"):
        wheels.check(rewritten(foreign, tmp_path / "two", add=second), FOREIGN)
    windows = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40) + b"PE\0\0\x64\xaa"
    with pytest.raises(wheels.WheelError, match="is for windows-aarch64 and not"):
        wheels.check(rewritten(foreign, tmp_path / "pe", add={kernel: windows}), FOREIGN)
    with pytest.raises(wheels.WheelError, match="no library"):
        wheels.check(rewritten(foreign, tmp_path / "text", add={kernel: b"# text"}), FOREIGN)


def test_a_library_that_needs_a_newer_glibc_than_its_wheel_promises_is_refused() -> None:
    tag = build_kernels.PLATFORMS["linux-aarch64"].tag
    wheels.check_glibc(b"\0GLIBC_2.17\0GLIBC_2.4\0", tag)
    with pytest.raises(wheels.WheelError, match=r"glibc 2\.28"):
        wheels.check_glibc(b"\0GLIBC_2.17\0GLIBC_2.28\0", tag)


def test_the_header_of_this_machines_kernel_is_read() -> None:
    kernel = next(build_kernels.IN_PLACE.glob("kernel-*"), None)
    if kernel is None:
        pytest.skip("there is no compiled kernel here")
    assert "-".join(wheels.binary(kernel.read_bytes())) == HERE
