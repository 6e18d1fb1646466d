"""The plug-in's texts: the template for translators, and catalogues for gettext.

Made with the standard library, so that neither translating nor installing needs GNU gettext.
Run ``python -m maskupe_gimp.translations`` after changing a text; it writes the template anew.
"""

from __future__ import annotations

import ast
import re
import struct
from pathlib import Path

from maskupe import registry
from maskupe_gimp import NAME, source
from maskupe_gimp.models import purposes

_FOLDER = "locale"
_ENTRY = re.compile(r'^msgid((?:\s*"(?:[^"\\]|\\.)*")+)\s*^msgstr((?:\s*"(?:[^"\\]|\\.)*")+)', re.M)
_PART = re.compile(r'"((?:[^"\\]|\\.)*)"')
_MAGIC = 0x950412DE


def template_file() -> Path:
    """Return the template that translations start from."""
    return source() / _FOLDER / f"{NAME}.pot"


def translations() -> dict[str, Path]:
    """Return the translations by language."""
    return {path.stem: path for path in sorted((source() / _FOLDER).glob("*.po"))}


def texts() -> dict[str, list[str]]:
    """Return every text of the plug-in, in order, with the modules that it stands in."""
    found: dict[str, list[str]] = {}
    for path in sorted((source() / "maskupe_plugin").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            if not (called and node.func.id == "_"):  # type: ignore[attr-defined]
                continue
            if not isinstance(node.args[0], ast.Constant):  # type: ignore[attr-defined]
                continue  # a text of a model, see below
            text = ast.literal_eval(node.args[0])  # type: ignore[attr-defined]
            places = found.setdefault(text, [])
            if path.name not in places:
                places.append(path.name)
    return found


def model_texts() -> dict[str, list[str]]:
    """Return what the dialog tells about models, where a translation has it."""
    licences = {config.licence for config in registry.MODELS.values() if config.local}
    return {text: ["models"] for text in (*purposes(), *sorted(licences))}


def template() -> str:
    """Return the template's content."""
    lines = ['msgid ""', 'msgstr "Content-Type: text/plain; charset=UTF-8\\n"', ""]
    for text, places in (texts() | model_texts()).items():
        lines += [f"#: {' '.join(places)}", f"msgid {_quoted(text)}", 'msgstr ""', ""]
    return "\n".join(lines)


def read(path: Path) -> dict[str, str]:
    """Return texts and translations of a ``.po`` file, without the header."""
    entries = {}
    for text, translation in _ENTRY.findall(path.read_text("utf-8")):
        entries[_unquoted(text)] = _unquoted(translation)
    entries.pop("", None)
    return entries


def compiled(entries: dict[str, str]) -> bytes:
    """Return a ``.mo`` file, as gettext reads it."""
    known = {text: translation for text, translation in entries.items() if translation}
    known[""] = "Content-Type: text/plain; charset=UTF-8\n"
    pairs = sorted((key.encode(), value.encode()) for key, value in known.items())
    start = 7 * 4 + 16 * len(pairs)
    keys, values = b"", b""
    size_of_keys = sum(len(key) + 1 for key, _ in pairs)
    key_table, value_table = [], []
    for key, value in pairs:
        key_table += [len(key), start + len(keys)]
        value_table += [len(value), start + size_of_keys + len(values)]
        keys += key + b"\0"
        values += value + b"\0"
    count = len(pairs)
    head = struct.pack("<7I", _MAGIC, 0, count, 28, 28 + 8 * count, 0, 0)
    tables = struct.pack(f"<{4 * count}I", *key_table, *value_table)
    return head + tables + keys + values


def write_catalogues(folder: Path) -> None:
    """Write what gettext looks for into an installed plug-in."""
    for language, path in translations().items():
        target = folder / _FOLDER / language / "LC_MESSAGES" / f"{NAME}.mo"
        target.parent.mkdir(parents=True)
        target.write_bytes(compiled(read(path)))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _unquoted(parts: str) -> str:
    text = "".join(_PART.findall(parts))
    return re.sub(r"\\(.)", lambda match: {"n": "\n"}.get(match[1], match[1]), text)


if __name__ == "__main__":
    template_file().parent.mkdir(exist_ok=True)
    template_file().write_text(template(), "utf-8")
