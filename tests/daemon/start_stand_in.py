"""Starts the stand-in daemon from any working directory, as the plug-in would a real one."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.daemon.stand_in import main

sys.exit(main())
