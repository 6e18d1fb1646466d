"""Many photographs: a manifest says what to do, threads here or a Ray cluster do it."""

from maskupe.batch.manifest import read_manifest
from maskupe.batch.runners import Result, is_done, run_local

__all__ = ["Result", "is_done", "read_manifest", "run_local"]
