"""The compiled code: C sources, the libraries that the build makes of them, and their loader."""

from maskupe.native.library import DEPTHS, load

__all__ = ["DEPTHS", "load"]
