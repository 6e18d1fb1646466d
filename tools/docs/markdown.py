"""Just enough Markdown to test ours: code blocks, inline code, links, headings, tables."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
#: All that people read; a card belongs to its weights and is tested with them.
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
_INDENTED = re.compile(r"(?:^|(?<=\n\n))((?: {4}.*\n)+)")


class Block(NamedTuple):
    """One code block: its language (empty if it does not say) and its text."""

    language: str
    text: str


def read(path: Path) -> str:
    """Return a text file."""
    return path.read_text(encoding="utf-8")


def short(path: Path) -> str:
    """Return a path below the project's folder."""
    return path.relative_to(ROOT).as_posix()


def code_blocks(text: str) -> list[Block]:
    """Return fenced blocks, then indented ones, which are shell lines wherever we write them."""
    blocks = [Block(*found.groups()) for found in _FENCED.finditer(text)]
    for found in _INDENTED.finditer(_FENCED.sub("", text) + "\n"):
        blocks.append(Block("sh", textwrap.dedent(found[1])))
    return blocks


def prose(text: str) -> str:
    """Return the text without code blocks and comments."""
    text = _INDENTED.sub("", _FENCED.sub("", text) + "\n")
    return re.sub(r"<!--.*?-->", "", text, flags=re.S)


def inline_code(text: str) -> list[str]:
    """Return what stands in single backticks."""
    return re.findall(r"`([^`\n]+)`", prose(text))


def links(text: str) -> list[str]:
    """Return targets of links and pictures."""
    return re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]+`", "", prose(text)))


def anchors(text: str) -> set[str]:
    """Return what ``#…`` may name: the headings as GitHub turns them into identifiers."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", _FENCED.sub("", text), re.M):
        plain = re.sub(r"[^\w\- ]", "", heading.lower().replace("`", ""))
        name, number = plain.replace(" ", "-"), 0
        while name in found:
            number += 1
            name = f"{plain.replace(' ', '-')}-{number}"
        found.add(name)
    return found


def shell_lines(blocks: list[Block]) -> Iterator[str]:
    """Yield commands in shell blocks, those over several lines joined, without comments alone."""
    for block in blocks:
        if block.language != "sh":
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            if line.strip() and not line.lstrip().startswith("#"):
                yield line.strip()
