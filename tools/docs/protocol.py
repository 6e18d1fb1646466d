"""``docs/protocol.md``: its sections, and the tables of fields that the code knows."""

from __future__ import annotations

import json
import re

from maskupe_client.messages import MESSAGES, Field, Message
from tools.docs.markdown import ROOT, read

DOCUMENT = read(ROOT / "docs" / "protocol.md")

_HEAD = "| field | value | default | meaning |\n|---|---|---|---|\n"


def section(heading):
    """The text under a heading, up to the next one of any level."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", DOCUMENT, re.M | re.S)
    assert found, f"the document has no section {heading!r}"
    return found[1]


def rows(heading):
    """The cells of the table in a section."""
    lines = [line for line in section(heading).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def heading(message: Message) -> str:
    """Return the heading of a message's section."""
    receiver = "daemon" if message.sender == "client" else "client"
    return f"### `{message.type}` ({message.sender} → {receiver})\n"


def default_words(field: Field) -> str:
    """Return a default as the table shows it."""
    if field.required:
        return "required"
    value = list(field.default) if isinstance(field.default, tuple) else field.default
    return f"`{json.dumps(value)}`"


def regenerate_messages(document: str) -> str:
    """Return the document with every field's row as the code has it.

    Meanings stay, by the field's name.

    Raises:
        ValueError: if a message has no section, or a field no meaning yet: those are written.
    """
    for message in MESSAGES.values():
        if not message.fields:
            continue
        start = document.find(heading(message))
        found = re.compile(re.escape(_HEAD) + r"((?:\|.*\n)*)").search(document, max(start, 0))
        if start < 0 or not found:
            raise ValueError(f"docs/protocol.md needs a section and a table for {message.type}.")
        rows = _HEAD
        for field in message.fields:
            meaning = re.search(rf"^\| `{field.name}` \| .* \| (.+) \|$", found[1], re.M)
            if not meaning:
                raise ValueError(f"docs/protocol.md: say what {message.type}.{field.name} means.")
            rows += f"| `{field.name}` | {field.type.description} | {default_words(field)} "
            rows += f"| {meaning[1]} |\n"
        document = document[: found.start()] + rows + document[found.end() :]
    return document
