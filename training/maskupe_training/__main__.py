"""``python -m maskupe_training``: the same as ``maskupe-train``, for torchrun."""

from maskupe_training.cli import main

main()
