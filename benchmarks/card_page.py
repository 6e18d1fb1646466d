"""What :mod:`benchmarks.card` measured, as Markdown: ratios first, milliseconds beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

#: Milliseconds that the project set itself for 24 megapixels of 8 bits, and for a network.
RENDERER_TARGET, NETWORK_TARGET = 12.0, 1.5
_KINDS = {
    "ToneCurves": "tone curves (`lantern`)",
    "CurveMaps": "eight-step curve (STAR-DCE)",
    "AffineGrid": "affine slice (DeepUPE)",
    "GainGrid": "slice of a grid of gains",
    "LookUpTable": "3D look-up table",
}


def page(result: Mapping[str, Any], top: str = "#") -> str:
    """Return the whole page; ``top`` begins its first heading, and with one more # the others."""
    machine, options = result["machine"], result["options"]
    parts = [
        f"# On {machine['card']}",
        f"PyTorch {machine['torch']}, Triton {machine['triton']}, {machine['processor']}, "
        f"{options['threads']} threads, Python {machine['python']}, commit {machine['commit']}. "
        f"{options['megapixels']:g} megapixels; the best of {options['rounds']} runs.",
    ]
    for name, write in (
        ("renderer", _renderer), ("kernels", _kernels), ("copies", _copies),
        ("networks", _networks), ("job", _job), ("equality", _equality),
        ("choice", _choice), ("strips", _strips),
    ):  # fmt: skip
        if result.get(name):
            parts.append(write(result[name]))
    if result["failures"]:
        parts.append("## What failed")
        parts += [
            f"{name}:\n\n```\n{text.strip()}\n```" for name, text in result["failures"].items()
        ]
    text = "\n\n".join(parts) + "\n"
    return text if top == "#" else text.replace("\n## ", f"\n{top}# ").replace("# ", f"{top} ", 1)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|---|" + "--:|" * (len(head) - 1)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _ms(row: Mapping[str, float] | None, key: str = "best") -> str:
    value = (row or {}).get(key)
    return "" if value is None else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _ratio(one: Mapping[str, float] | None, other: Mapping[str, float] | None) -> str:
    return f"{one['best'] / other['best']:.2f}" if one and other else ""


def _renderer(rows: Mapping[str, Any]) -> str:
    lines = []
    for kind, words in _KINDS.items():
        for depth in ("u8", "u16"):
            for name in ("all", "disc"):
                case = f"{kind} {depth}, {name}"
                native, cuda, torch = (
                    rows.get(f"{case}, {backend}") for backend in ("native", "cuda", "torch")
                )
                if cuda:
                    lines.append(
                        (
                            f"{words}, {depth}, {name}",
                            _ratio(cuda, native),
                            _ms(native),
                            _ms(cuda),
                            _ms(cuda, "first"),
                            _ms(torch),
                        )
                    )
    new = rows.get("ToneCurves u8, all, cuda, new memory")
    return "\n\n".join(
        [
            "## The renderer, from numpy's memory to numpy's memory",
            f"*disc*: a selection of 37 % and its band. Target: {RENDERER_TARGET:g} ms for 24 "
            "megapixels of 8 bits. Into memory that is new each time, tone curves of 8 bits take "
            f"{_ms(new)} ms.",
            _table(
                ("job", "card / native", "native, ms", "card, ms", "first, ms", "torch:cuda, ms"),
                lines,
            ),
        ]
    )


def _simple(title: str, rows: Mapping[str, Any], text: str = "") -> str:
    table = _table(("what", "ms"), [(n, _ms(r)) for n, r in rows.items() if isinstance(r, dict)])
    return "\n\n".join(part for part in (f"## {title}", text, table) if part)


def _kernels(rows: Mapping[str, Any]) -> str:
    return _simple("The kernel alone", rows)


def _copies(rows: Mapping[str, Any]) -> str:
    return _simple("Copies alone", rows, f"{rows['bytes'] / 1e6:.0f} MB, float32 four times that.")


def _networks(rows: Mapping[str, Any]) -> str:
    lines = [
        (
            name, _ratio(row["card"], row["onnxruntime"]), _ms(row["onnxruntime"]),
            _ms(row["card"]), _ms(row["one by one"]), _ms(row["card"], "loading"),
        )
        for name, row in rows.items()
    ]  # fmt: skip
    head = ("network", "card / ONNX Runtime", "ONNX Runtime, ms", "card, ms")
    return "\n\n".join(
        [
            "## Networks",
            f"Arrays in, maps out. Target: {NETWORK_TARGET:g} ms.",
            _table((*head, "kernel by kernel, ms", "loading, ms"), lines),
        ]
    )


def _job(rows: Mapping[str, Any]) -> str:
    stages = {stage: None for row in rows.values() for stage in row}
    lines = [(stage, *(f"{row.get(stage, 0):.1f}" for row in rows.values())) for stage in stages]
    return "\n\n".join(
        [
            "## A whole job and its stages, ms",
            "A disc of 37 % that follows edges, nothing remembered; what is not named is between "
            "the stages.",
            _table(("stage", *(f"rendered by {name}" for name in rows)), lines),
        ]
    )


def _equality(rows: Mapping[str, Any]) -> str:
    worst = "; ".join(f"{name}: {value}" for name, value in rows.items())
    return f"## Agreement\n\nLargest difference from the compiled renderer, in levels: {worst}."


def _choice(rows: Mapping[str, Any]) -> str:
    lines = [
        (
            name,
            "card" if row["card"] else "processor",
            *(f"{value:.1f}" for value in row["expected"].values()),
            f"{row['seconds']:.1f}",
        )
        for name, row in rows.items()
    ]
    head = ("job", "chosen", "card expected, ms", "processor expected, ms", "measuring, s")
    return f"## The choice\n\n{_table(head, lines)}"


def _strips(rows: Mapping[str, Any]) -> str:
    cases: dict[str, dict[str, Any]] = {}
    for name, row in rows.items():
        if isinstance(row, dict):
            case, _, areas = name.rpartition(", ")
            cases.setdefault(case, {})[areas] = row
    lines = [(case, _ms(row.get("all")), _ms(row.get("disc"))) for case, row in cases.items()]
    return "\n\n".join(
        [
            "## Strips",
            f"Each strip more costs {rows['ms of each further strip']:.3f} ms, a small job "
            f"{rows['ms of a small job']:.2f} ms.",
            _table(("tone curves, u8", "all, ms", "disc, ms"), lines),
        ]
    )
