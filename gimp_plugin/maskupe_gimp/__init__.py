"""Puts the plug-in into every GIMP 3 on the machine, and says what is wrong when it is not seen."""

from pathlib import Path

#: Folder and script share this name, as GIMP demands.
NAME = "maskupe-local-underexposure"


def source() -> Path:
    """Return the folder of the plug-in's own files, in the installed package or in a checkout."""
    here = Path(__file__).resolve().parent
    installed = here / "plug-in" / NAME
    return installed if installed.is_dir() else here.parent / NAME
