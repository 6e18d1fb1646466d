"""``python -m maskupe.cli``: the same as ``maskupe``."""

import sys

from maskupe.cli import main

sys.exit(main())
