"""The plug-in's texts: template and translation are complete, and gettext reads what we compile."""

from __future__ import annotations

import gettext
import re
from pathlib import Path

import pytest

from maskupe_gimp import NAME, bundle, translations

# GIMP's own buttons in the dialog, by their mnemonics: Help, Reset, Cancel, OK, Save, Load.
TAKEN = {"": set("hrcosl"), "de": set("hzcosg")}
FIELD = re.compile(r"\{[^}]*\}")


def test_the_template_holds_every_text() -> None:
    written = translations.template_file().read_text("utf-8")
    assert written == translations.template(), "run: python -m maskupe_gimp.translations"


def test_there_is_a_translation() -> None:
    assert "de" in translations.translations()


@pytest.mark.parametrize("language", translations.translations())
def test_translations_are_complete_and_keep_the_fields(language: str) -> None:
    entries = translations.read(translations.translations()[language])
    # The models' own texts may be there; a new model need not wait for its translators.
    assert set(entries) - set(translations.model_texts()) == set(translations.texts())
    for text, translation in entries.items():
        assert translation, text
        assert sorted(FIELD.findall(translation)) == sorted(FIELD.findall(text)), text


@pytest.mark.parametrize("language", ["", *translations.translations()])
def test_every_mnemonic_of_the_dialog_is_its_own(language: str) -> None:
    known = translations.read(translations.translations()[language]) if language else {}
    shown = [known.get(text, text) for text in translations.texts() if "…" not in text]
    letters = [match[1].lower() for match in (re.search("_(.)", text) for text in shown) if match]
    assert len(letters) == 16
    assert len(set(letters)) == len(letters)
    assert not set(letters) & TAKEN[language]


def test_gettext_reads_the_compiled_catalogue(tmp_path: Path) -> None:
    entries = translations.read(translations.translations()["de"])
    bundle.build(tmp_path / "plug-in")
    installed = gettext.translation(NAME, tmp_path / "plug-in" / "locale", ["de"])
    for text, translation in entries.items():
        assert installed.gettext(text) == translation
    assert installed.gettext("This layer") == "Diese Ebene"
