#!/usr/bin/env python3
"""GIMP runs this file: Filters > Enhance > Local Underexposure…

It is run once at every start of GIMP when it is new, to ask for its procedure, and once per call.
Only the standard library and gi are imported, and the user interface only when it is needed.
``maskupe-gimp doctor`` runs it with ``--check``, to see that all of it can be loaded.
"""

import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE), str(_HERE / "vendored")]

from maskupe_plugin import log  # noqa: E402

try:
    import gi

    gi.require_version("Gimp", "3.0")
    gi.require_version("Gegl", "0.4")
    from gi.repository import Gimp
    from maskupe_plugin.plug_in import MaskUPE
except Exception:
    # GIMP shows nothing when a plug-in fails here; the entry is merely missing from the menu.
    log.failure("The plug-in could not be loaded.")
    raise

if __name__ == "__main__" and sys.argv[1:] == ["--check"]:
    from maskupe_plugin import run  # noqa: F401

    print(".".join(str(part) for part in sys.version_info[:3]))
elif __name__ == "__main__":
    Gimp.main(MaskUPE.__gtype__, sys.argv)
