"""The report: Markdown with the tables and how they stand against the targets, from the numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.plot import log_log

Rows = Mapping[str, Mapping[str, float]]

#: What the project set itself, in units of a float32 copy, by kind of map.
TARGETS = {"ToneCurves": 2.5, "GainGrid": 2.5, "AffineGrid": 6.0, "CurveMaps": 4.0}
FALLBACK_TARGET = 12.0
#: Of the daemon's numbers and the installation's, by how their names begin.
LIMITS = {
    "start to first preview": 1000.0,
    "preview of 1 MP": 30.0,
    "following edges, preview": 40.0,
    "following edges, a slider": 1.1,
    "following edges, ": 1.4,
    "5 % against everything": 0.1,
    "memory above idle": 1.5,
    "resident before the first job": 90.0,
    "installed, all": 250.0,
}
#: The share of GEGL's own filter that a whole job may take.
GEGL_TARGET = 1 / 8
_MODELS = {
    "ToneCurves": "tone curves (`lantern`, our own model)",
    "GainGrid": "slice of a grid of gains",
    "AffineGrid": "affine slice, 16-knot guide (DeepUPE)",
    "CurveMaps": "eight-step curve (STAR-DCE, Zero-DCE)",
    "LookUpTable": "3D look-up table",
}


def report(result: Mapping[str, Any], notes: str) -> str:
    """Return the whole page; ``notes`` are the words that no measurement can write."""
    machine, options = result["machine"], result["options"]
    size = f"{options['megapixels']:g} megapixels"
    loads = ", ".join(f"{name} {value}" for name, value in result["loads"].items())
    parts = [
        "# Benchmarks",
        f"Made by `make bench` on {machine['processor']}, {machine['system']}, Python "
        f"{machine['python']}, commit {machine['commit']}. Load before each part began: {loads}. "
        "All numbers are in [benchmarks.json](benchmarks.json). The unit × is the time of copying "
        "the same picture in float32 on the same threads, measured in turn with the cases in one "
        "process; numbers are medians over the rounds.",
        notes.strip(),
        _missed(result),
    ]

    def add(section: str, title: str, *texts: Callable[[Any], str] | str) -> None:
        if section in result:
            parts.append(f"## {title}")
            parts.extend(t if isinstance(t, str) else t(result[section]) for t in texts)

    add("renderer", f"The renderer, {size}", lambda rows: _renderer(rows, result.get("one thread")))
    add(
        "builds",
        f"The builds for each generation of processors, {size}",
        "The best build that runs here is loaded; `MASKUPE_PROCESSOR_LEVEL` excludes later ones.",
        _builds,
    )
    add(
        "backends",
        "The fallback, and graphics cards",
        f"Everything selected, {options['small']:g} megapixels. `numpy` is used where the compiled "
        f"kernel does not load (target: {FALLBACK_TARGET:g} ×); `torch:cuda` appears where there "
        "is such a card.",
        lambda rows: _table(rows, "backend"),
    )
    add(
        "other ways",
        f"Whole jobs against other ways, {size}, u8",
        "Region and selection in, enhanced region out: areas, context, network, renderer.",
        lambda rows: _table(rows, "way"),
        lambda rows: _against_gegl(rows, result.get("daemon", {})),
    )
    add(
        "sizes",
        "Whole jobs by size and selection, u8",
        _scaling,
        "![Milliseconds of a whole job over its megapixels](benchmarks.svg)",
    )
    add("daemon", "The daemon", _numbers)
    add(
        "footprint",
        "What an installation takes on the disk",
        f"Without extras; the goal for all of it is {LIMITS['installed, all']:g} MB.",
        _numbers,
    )
    return "\n\n".join(parts) + "\n"


def _missed(result: Mapping[str, Any]) -> str:
    """Which targets were missed and by how much, so that no table has to be searched for them."""
    found = [
        (f"{words}, {depth}", result["renderer"][f"{kind} {depth}"]["median"], TARGETS[kind], " ×")
        for kind, words in _MODELS.items()
        for depth in ("u8", "f32")
        if kind in TARGETS and "renderer" in result
    ]
    found += [
        (f"the fallback, {name.removesuffix(', numpy')}", row["median"], FALLBACK_TARGET, " ×")
        for name, row in result.get("backends", {}).items()
        if name.endswith("numpy")
    ]
    found += [
        (name, value, _limit(name), "")
        for section in ("daemon", "footprint")
        for name, value in result.get(section, {}).items()
    ]
    lines = [
        f"- {what}: {value:.2f}{unit} (target {limit:g}), {value / limit:.2f} times as much"
        for what, value, limit, unit in found
        if value > limit
    ]
    return "**Missed targets.**\n\n" + "\n".join(lines or ["None."])


def plot(result: Mapping[str, Any]) -> str:
    """Return the plot of whole jobs, as SVG."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for size, rows in result["sizes"].items():
        for name, row in rows.items():
            label = name if name.startswith("float32") else f"{name} selected"
            lines.setdefault(label, []).append((float(size), row["milliseconds"]))
    return log_log(lines, "megapixels", "milliseconds")


def _renderer(two: Rows, one: Rows | None) -> str:
    lines = [
        "| map | target | u8 | u16 | f32 | u8, disc of 37 % | f32, disc of 37 % "
        "| u8, 1 thread | f32, 1 thread |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for kind, words in _MODELS.items():
        target = TARGETS.get(kind, math.nan)
        cells = [
            _against(two[f"{kind} {depth}"]["median"], target if depth != "u16" else math.nan)
            for depth in ("u8", "u16", "f32")
        ]
        for depth in ("u8", "f32"):
            cells += [
                f"{row['median']:.1f}"
                for name, row in two.items()
                if name.startswith(f"{kind} {depth}, disc")
            ]
        cells += [
            f"{one[f'{kind} {depth}']['median']:.1f}" if one else "" for depth in ("u8", "f32")
        ]
        wanted = "" if math.isnan(target) else f"{target:g}"
        lines.append(f"| {words} | {wanted} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _builds(rows: Rows) -> str:
    levels = list(dict.fromkeys(name.partition(", ")[2] for name in rows if ", " in name))
    lines = [f"| map | target | {' | '.join(levels)} |", "|---|" + "---|" * (len(levels) + 1)]
    for kind, words in _MODELS.items():
        target = TARGETS.get(kind, math.nan)
        for depth in ("u8", "f32"):
            cells = [_against(rows[f"{kind} {depth}, {each}"]["median"], target) for each in levels]
            wanted = "" if math.isnan(target) else f"{target:g}"
            lines.append(f"| {words}, {depth} | {wanted} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _against(value: float, target: float) -> str:
    if math.isnan(target):
        return f"{value:.1f}"
    return f"{value:.1f} ✓" if value <= target else f"**{value:.1f}**"


def _table(rows: Rows, what: str) -> str:
    lines = [f"| {what} | × | ms, best |", "|---|---|---|"]
    lines += [
        f"| {name} | {row['median']:.1f} | {row['milliseconds']:.0f} |"
        for name, row in rows.items()
    ]
    return "\n".join(lines)


def _scaling(sizes: Mapping[str, Rows]) -> str:
    names = [name for name in next(iter(sizes.values())) if not name.startswith("float32")]
    lines = [
        f"| megapixels | {' | '.join(f'{name} selected' for name in names)} |",
        "|---|" + "---|" * len(names),
    ]
    for size, rows in sizes.items():
        cells = [f"{rows[n]['milliseconds']:.0f} ms ({rows[n]['median']:.1f} ×)" for n in names]
        lines.append(f"| {float(size):g} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _limit(name: str) -> float:
    """Return what a number was wanted to be at most, NaN if nothing was set."""
    if name.startswith("memory above idle") and name.endswith("MB"):
        return math.nan  # set by what travels, beside it
    return next((limit for begin, limit in LIMITS.items() if name.startswith(begin)), math.nan)


def _numbers(values: Mapping[str, float]) -> str:
    lines = ["| what | number | at most |", "|---|---|---|"]
    for name, value in values.items():
        what, _, unit = name.rpartition(", ")
        if unit not in ("ms", "MB", "× copy", "× bytes in and out"):
            what, unit = name, ""
        limit = _limit(name)
        shown = f"{value:.0f}" if abs(value) >= 20 else f"{value:.2f}"
        shown = f"**{shown}**" if value > limit else shown
        lines.append(f"| {what} | {shown} {unit} | {'' if math.isnan(limit) else f'{limit:g}'} |")
    return "\n".join(lines)


def _against_gegl(rows: Rows, daemon: Mapping[str, float]) -> str:
    filtered = rows.get("gegl:shadows-highlights")
    if filtered is None:
        return "There is no `gegl` program here to compare with."

    def compared(what: str, milliseconds: float) -> str:
        share = milliseconds / filtered["milliseconds"]
        verdict = "met" if share <= GEGL_TARGET else "missed"
        return (
            f"{what} takes 1/{1 / share:.1f} of the time of `gegl:shadows-highlights`; the target, "
            f"1/{1 / GEGL_TARGET:.0f}, is {verdict}."
        )

    lines = [compared("The job", rows["MaskUPE"]["milliseconds"])]
    lines += [
        compared("With the way to the daemon and back it", value)
        for name, value in daemon.items()
        if name.endswith("over the wire, everything, ms")
    ]
    return " ".join(lines)
