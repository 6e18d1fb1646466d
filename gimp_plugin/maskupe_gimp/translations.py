"""The plug-in's texts: the template for translators, and catalogues for gettext.

Made in Python, so that neither translating nor installing needs GNU gettext.
Run ``python -m maskupe_gimp.translations`` after changing a text; it writes the template anew.
"""

from __future__ import annotations

import ast
from pathlib import Path

import polib

from maskupe import registry
from maskupe_gimp import NAME, source
from maskupe_gimp.models import purposes

_FOLDER = "locale"


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
            modules = found.setdefault(text, [])
            if path.name not in modules:
                modules.append(path.name)
    return found


def model_texts() -> dict[str, list[str]]:
    """Return what the dialog tells about models, where a translation has it."""
    licences = {config.licence for config in registry.MODELS.values() if config.local}
    return {text: ["models"] for text in (*purposes(), *sorted(licences))}


def template() -> str:
    """Return the template's content."""
    lines = ['msgid ""', 'msgstr "Content-Type: text/plain; charset=UTF-8\\n"', ""]
    for text, modules in (texts() | model_texts()).items():
        lines += [f"#: {' '.join(modules)}", f'msgid "{polib.escape(text)}"', 'msgstr ""', ""]
    return "\n".join(lines)


def read(path: Path) -> dict[str, str]:
    """Return texts and translations of a ``.po`` file."""
    return {entry.msgid: entry.msgstr for entry in polib.pofile(str(path))}


def write_catalogues(folder: Path) -> None:
    """Write what gettext looks for into an installed plug-in."""
    for language, path in translations().items():
        target = folder / _FOLDER / language / "LC_MESSAGES" / f"{NAME}.mo"
        target.parent.mkdir(parents=True)
        target.write_bytes(polib.pofile(str(path)).to_binary())


if __name__ == "__main__":
    template_file().parent.mkdir(exist_ok=True)
    template_file().write_text(template(), "utf-8")
