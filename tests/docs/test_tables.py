"""Tables that the code can print are in the documents as it prints them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from tools.docs.markdown import DOCUMENTS, read, short
from tools.docs.protocol import DOCUMENT, regenerate_messages
from tools.docs.tables import TABLES, names, regenerate

GENERATED = [path for path in DOCUMENTS if names(read(path))]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("torch") is None, reason="counting networks takes PyTorch")
@pytest.mark.parametrize("path", GENERATED, ids=short)
def test_generated_tables_are_what_the_code_prints(path: Path) -> None:
    assert read(path) == regenerate(read(path)), "run: make docs"


def test_every_table_stands_somewhere() -> None:
    assert {name for path in GENERATED for name in names(read(path))} == set(TABLES)


def test_the_protocol_s_tables_are_the_code_s() -> None:
    assert regenerate_messages(DOCUMENT) == DOCUMENT, "run: make docs"


def test_a_field_without_a_meaning_is_not_passed_over() -> None:
    changed = DOCUMENT.replace("| `strength` |", "| `force` |")
    assert changed != DOCUMENT
    with pytest.raises(ValueError, match=r"enhance\.strength"):
        regenerate_messages(changed)
