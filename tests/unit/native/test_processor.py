"""Which build of the compiled code is taken."""

from __future__ import annotations

import pytest

from maskupe.errors import InputError
from maskupe.native import library, processor

x86 = pytest.mark.skipif(processor.machine() != "x86_64", reason="there is one build only")


@x86
def test_levels_come_best_first_and_without_gaps(monkeypatch):
    monkeypatch.delenv(processor.LEVEL_VARIABLE, raising=False)
    found = processor.levels()
    assert found == [*processor.LEVELS[: len(found)]][::-1] and found


@x86
def test_later_levels_can_be_kept_out(monkeypatch):
    for number, level in enumerate(processor.LEVELS):
        monkeypatch.setenv(processor.LEVEL_VARIABLE, level)
        assert set(processor.levels()) <= set(processor.LEVELS[: number + 1])
        assert library.candidates()[-1].name.startswith("kernel-x86_64.")


@x86
def test_a_level_that_does_not_exist_is_named(monkeypatch):
    monkeypatch.setenv(processor.LEVEL_VARIABLE, "pentium")
    with pytest.raises(InputError, match="pentium") as caught:
        processor.levels()
    assert "x86_64_v3" in caught.value.hint


@x86
@pytest.mark.parametrize("flags", ["avx2 fma", "avx512f avx512bw avx512cd avx512dq avx512vl"])
def test_a_processor_with_a_part_of_a_level_does_not_have_it(flags, monkeypatch):
    monkeypatch.delenv(processor.LEVEL_VARIABLE, raising=False)
    monkeypatch.setattr(processor.sys, "platform", "linux")
    monkeypatch.setattr(processor.Path, "read_text", lambda *_, **__: f"flags\t: sse {flags}\n")
    assert processor.levels() == ["x86_64"]
