"""The real daemon with the real pipeline, but its weights come from a folder of the test's.

``MASKUPE_TEST_WEIGHTS=FOLDER python -m tests.daemon.with_weights run ...``; without that, they are
those that people use. The waits of :mod:`tests.daemon.hurry` can be shortened.
"""

import os
import sys
from pathlib import Path
from unittest.mock import patch

from maskupe import registry
from maskupe_daemon import cli
from tests.daemon.hurry import hurried


def main():
    folder = os.environ.get("MASKUPE_TEST_WEIGHTS")
    folders = (Path(folder),) if folder else registry.weights_folders()
    with hurried(), patch.object(registry, "weights_folders", lambda: folders):
        return cli.main()


if __name__ == "__main__":
    sys.exit(main())
