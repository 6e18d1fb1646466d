"""``python -m tools.docs`` (``make docs``): writes the documents' generated tables anew."""

from __future__ import annotations

import argparse
from pathlib import Path

from tools.docs.markdown import DOCUMENTS, read, short
from tools.docs.protocol import regenerate_messages
from tools.docs.tables import EDGES, EVALUATION, keep, regenerate


def main() -> None:
    """Rewrite what differs and says which."""
    parser = argparse.ArgumentParser(prog="python -m tools.docs", description=__doc__)
    parser.add_argument(
        "--evaluation",
        type=Path,
        metavar="FILE",
        help="quote this evaluation.json from now on; `maskupe-train evaluate --out` writes it",
    )
    parser.add_argument(
        "--edges",
        type=Path,
        metavar="FILE",
        help="quote this measurement from now on; `maskupe-train evaluate-edges --out` writes it",
    )
    options = parser.parse_args()
    if options.edges:
        keep(options.edges, EDGES)
    if options.evaluation:
        keep(options.evaluation, EVALUATION)
    for path in DOCUMENTS:
        before = read(path)
        after = regenerate(before)
        if path.name == "protocol.md":
            after = regenerate_messages(after)
        if after != before:
            path.write_text(after, encoding="utf-8")
            print(short(path))


if __name__ == "__main__":
    main()
