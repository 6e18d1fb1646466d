"""``python -m maskupe_training``: the same as ``maskupe-train``, for torchrun."""

import sys

from maskupe_training.cli import main

sys.exit(main())
