"""Every command line in the documents is understood by the program that it names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools.docs.commands import check, ours
from tools.docs.markdown import DOCUMENTS, code_blocks, inline_code, read, shell_lines, short


def lines(path: Path) -> list[list[str]]:
    """Command lines of blocks, and those in running text."""
    text = read(path)
    found = [ours(line) for line in shell_lines(code_blocks(text))]
    return [words for words in found if words] + mentioned(text)


def mentioned(text: str) -> list[list[str]]:
    # An ellipsis, an optional part or a wildcard makes it a description, not a command.
    whole = [code for code in inline_code(text) if not re.search(r"[…\[\]*|]", code)]
    return [words for code in whole if " " in code and (words := ours(code))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=short)
def test_every_command_line_is_understood(path: Path) -> None:
    wrong = []
    for words in lines(path):
        try:
            check(words)
        except Exception as error:  # whatever the parser in question raises
            if type(error).__name__ == "MissingParameter" and words in mentioned(read(path)):
                continue  # running text may name a command without all that it asks for
            wrong.append(f"{' '.join(words)}: {error!r}")
    assert not wrong, "\n".join(wrong)


def test_the_documents_show_command_lines_of_every_program() -> None:
    shown = {words[0] for path in DOCUMENTS for words in lines(path)}
    assert {"maskupe", "maskupe-train", "maskupe-daemon", "maskupe-gimp", "make"} <= shown


@pytest.mark.parametrize(
    "line",
    [
        "maskupe lighten photo.jpg -o out.jpg",
        "maskupe enhance photo.jpg --out out.jpg",
        "maskupe-train prepare nothing SOURCE TARGET",
        "maskupe-train fit lantern --data DATA --rate 3",
        "maskupe-daemon status --yaml",
        "maskupe-daemon --devices cpu",
        "maskupe-gimp doctor --mend",
        "make everything",
        "make test NOTHING=1",
        "python -m benchmarks --nothing",
    ],
)
def test_a_line_that_would_not_be_understood_is_found(line: str) -> None:
    words = ours(line)
    assert words is not None
    with pytest.raises(Exception):  # noqa: B017
        check(words)
