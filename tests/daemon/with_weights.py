"""The real daemon with the real pipeline, but its weights come from a folder of the test's.

``MASKUPE_TEST_WEIGHTS=FOLDER python -m tests.daemon.with_weights run ...``.
"""

import os
import sys
from pathlib import Path
from unittest.mock import patch

from maskupe import registry
from maskupe_daemon import cli


def main():
    folder = Path(os.environ["MASKUPE_TEST_WEIGHTS"])
    with patch.object(registry, "WEIGHTS_FOLDER", folder):
        return cli.main()


if __name__ == "__main__":
    sys.exit(main())
