"""``python -m maskupe_daemon``, the same as the command ``maskupe-daemon``."""

import sys

from maskupe_daemon.cli import main

sys.exit(main())
