"""The plug-in's texts in the user's language: ``locale/LANGUAGE/LC_MESSAGES/*.mo`` beside it."""

from __future__ import annotations

import gettext
from pathlib import Path

from gi.repository import GLib

DOMAIN = "maskupe-local-underexposure"

# GLib knows the language on Windows and macOS too, and GIMP's own setting goes through it.
_catalogue = gettext.translation(
    DOMAIN,
    Path(__file__).parent.parent / "locale",
    languages=GLib.get_language_names(),
    fallback=True,
)


def translated() -> bool:
    """Whether there is a catalogue of the user's language, other than the texts' own English."""
    return isinstance(_catalogue, gettext.GNUTranslations)


def _(text: str) -> str:
    """Return the text in the user's language."""
    return _catalogue.gettext(text)
