"""Ratios as a Markdown table."""

from __future__ import annotations

from tests.bench.measure import Ratio


def markdown(rows: dict[str, Ratio]) -> str:
    """One line a case; × is in units of the float32 copy."""
    lines = ["| case | median × | best × | processor × | best ms |", "|---|---|---|---|---|"]
    lines += [
        f"| {name} | {row.median:.2f} | {row.best:.2f} | {row.cpu:.2f} | {row.milliseconds:.1f} |"
        for name, row in rows.items()
    ]
    return "\n".join(lines)
