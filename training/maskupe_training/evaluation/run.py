"""Runs an evaluation: the same cases for every model and baseline, through the product's pipeline.

Models run in :class:`maskupe.Enhancer`, on 8-bit pictures, so that what is measured is what ships.
With ``raw``, the network alone is measured beside it, f(I, M) as the paper has it: nothing keeps it
out of C, and it makes the transition itself. Global models are blended by the areas' weight, like
the baselines: "the same backbone trained globally and blended by a feathered mask". Those that are
installed join their local ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from maskupe import Enhancer, weights_file
from maskupe.areas.transition import Edges
from maskupe.denoise import Denoise
from maskupe.errors import InputError
from maskupe.registry import MODELS, weights_path
from maskupe_training.data.images import U8, ImageCache
from maskupe_training.data.source_factory import SourceRecipe, open_source
from maskupe_training.data.splits import describe_seen, seen_scenes
from maskupe_training.evaluation.baselines import BASELINES, SLOW, Baseline, blended
from maskupe_training.evaluation.cases import Case, draw_cases, evaluation_masks
from maskupe_training.evaluation.measure import Values, by_kind, measure, summarise
from maskupe_training.evaluation.report import (
    BLENDED,
    RAW,
    kinds_tables,
    markdown_table,
    print_summaries,
    write_csv,
    write_json,
)
from maskupe_training.evaluation.sheet import contact_sheet
from maskupe_training.masks.sampler import MaskSampler
from maskupe_training.progress import tracked
from maskupe_training.raw import as_u8, load_network, raw_results, weight_file

#: A method under test: what it makes of a case, uint8 (H, W, 3).
Method: TypeAlias = Callable[[Case], U8]

#: Whom the paired difference is taken to.
REFERENCE = "linear gain"
# Rows of the contact sheet, and the long edge in pixels at which cases are drawn.
_SHEET_ROWS = 12
_LONG_EDGE = 512


@dataclass(frozen=True)
class Request:
    """What to evaluate.

    Attributes:
        models: registry names or paths of weight files.
        kind: ``brackets`` or ``pairs``.
        folder: the data set, within the data root.
        split: which part of it.
        cases: how many cases.
        seed: decides the case list.
        silhouettes: folders of mask files, within the data root.
        baselines: whether to measure the baselines, and the installed global model of every
            local one; the linear gain always is.
        raw: whether to measure each network alone, too.
        kinds: the kinds of selection; empty for all, silhouettes if there are folders.
        slow: whether to measure the baselines that take seconds a case.
        denoise: how much noise the models' results are freed of; 0 is the paper's setting.
        edges: how far from the line they follow edges; ``off``, the paper's setting, has areas by
            distance alone.
    """

    models: tuple[str, ...]
    kind: str = "brackets"
    folder: str = "sice"
    split: str = "test"
    cases: int = 140
    seed: int = 2
    silhouettes: tuple[str, ...] = ()
    baselines: bool = True
    raw: bool = False
    kinds: tuple[str, ...] = ()
    slow: bool = False
    denoise: Denoise = 0.0
    edges: Edges = "off"


def case_list(request: Request, data_root: Path) -> tuple[tuple[str, ...], Iterator[Case]]:
    """Return the names of the scenes of a request, and its cases one after the other.

    All cases together would be gigabytes.

    Raises:
        InputError: for data that is missing, or a kind of selection that cannot be drawn.
    """
    recipe = SourceRecipe(request.kind, request.folder, request.split)
    source = open_source(recipe, data_root, ImageCache(_LONG_EDGE))
    masks = evaluation_masks(request.silhouettes)
    sampler = MaskSampler(masks, data_root)
    for kind in request.kinds:
        if kind not in masks.kinds:
            more = " with --silhouettes, which names folders of mask files" * (kind == "silhouette")
            raise InputError(
                f"--kinds {kind!r} cannot be drawn.", f"Use {', '.join(masks.kinds)}{more}."
            )
    kinds = request.kinds or tuple(masks.kinds)
    return source.scenes, draw_cases(source, sampler, kinds, request.cases, request.seed)


def evaluate(
    request: Request, data_root: Path, out: Path | None = None, threads: int = 1
) -> dict[str, dict[str, Any]]:
    """Measure, prints the table, and writes the files; returns the summaries by method.

    Args:
        request: what to evaluate.
        data_root: the folder that the data sets lie in.
        out: a folder for ``evaluation.json``, ``.csv``, ``.md`` and ``sheet.jpg``.
        threads: CPU threads of the full-size stage.

    Raises:
        InputError: for data that is missing or has no fitting case.
        UnknownModelError, WeightsError: for a model that cannot be loaded.
    """
    torch.set_num_threads(threads)
    methods = _methods(request, threads)
    rows: dict[str, list[Values]] = {name: [] for name in methods}
    shown = set(
        np.linspace(0, request.cases - 1, min(_SHEET_ROWS, request.cases)).round().astype(int)
    )
    kept: list[Case] = []
    pictures: list[dict[str, U8]] = []
    names, scenes, kinds = [], [], []
    known, cases = case_list(request, data_root)
    for number, case in enumerate(tracked(cases, request.cases, "evaluating")):
        outputs = {name: run(case) for name, run in methods.items()}
        for name, output in outputs.items():
            rows[name].append(measure(case, output))
        names.append(case.name)
        scenes.append(case.scene)
        kinds.append(case.kind)
        if number in shown and out is not None:
            kept.append(case)
            pictures.append(outputs)
    summaries = {
        name: summarise(own, rows[REFERENCE] if name != REFERENCE else None, scenes)
        for name, own in rows.items()
    }
    title = f"{request.folder} {request.split}, {len(names)} cases, seed {request.seed}"
    print_summaries(title, summaries)
    used = [known[scene] for scene in dict.fromkeys(scenes)]
    notes = [note for model in request.models if (note := _note(model, request, used))]
    for note in notes:
        print(note)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        means = by_kind(rows, kinds)
        asked = {**asdict(request), "long_edge": _LONG_EDGE, "notes": notes}
        write_json(out / "evaluation.json", asked, summaries, means, rows, names)
        write_csv(out / "evaluation.csv", rows, names)
        tables = f"{markdown_table(summaries)}\n{kinds_tables(means)}"
        (out / "evaluation.md").write_text(tables, "utf-8")
        contact_sheet(out / "sheet.jpg", kept, pictures)
    return summaries


def _note(model: str, request: Request, scenes: Sequence[str]) -> str:
    """Return what is to be said of a model that has seen some of the scenes before."""
    header = weights_file.read_header(weight_file(model))
    seen = seen_scenes(header, request.folder, scenes)
    what = f"{request.folder} {request.split}"
    return describe_seen(Path(model).stem, seen, len(scenes), what)


def _methods(request: Request, threads: int) -> dict[str, Method]:
    """Return every method as a function from a case to its result; all models are loaded first."""
    methods: dict[str, Method] = {}
    for name, baseline in BASELINES.items():
        wanted = request.slow if name in SLOW else request.baselines
        if wanted or name == REFERENCE:
            methods[name] = _baseline(baseline)
    models = list(request.models)
    enhancers = [Enhancer.load(model, threads=threads) for model in models]
    if request.baselines:
        joining = _global_ones(enhancers)
        models += joining
        enhancers += [Enhancer.load(name, threads=threads) for name in joining]
    for model, enhancer in zip(models, enhancers, strict=True):
        name = enhancer.name
        if _metadata(enhancer, "conditioning") == "none":
            name += BLENDED
        if name in methods:
            raise InputError(f"Two of the methods are called {name!r}.", "Rename one of the files.")
        methods[name] = _model(enhancer, request.denoise, request.edges)
        if request.raw:
            methods[enhancer.name + RAW] = _network(model)
    return methods


def _global_ones(enhancers: Sequence[Enhancer]) -> list[str]:
    """The installed models that are the same backbones trained globally, unless given anyway."""
    given = {_metadata(e, "network") for e in enhancers if _metadata(e, "conditioning") == "none"}
    wanted = {_metadata(enhancer, "network") for enhancer in enhancers} - given
    return [
        config.name
        for config in MODELS.values()
        if not config.local and config.network in wanted and weights_path(config)
    ]


def _metadata(enhancer: Enhancer, key: str) -> str:
    return enhancer.predictor.metadata.get(key, "")


def _baseline(baseline: Baseline) -> Method:
    def run(case: Case) -> U8:
        return np.asarray(np.rint(blended(case, baseline).clip(0, 1) * 255), np.uint8)

    return run


def _network(model: str) -> Method:
    network = load_network(model)

    def run(case: Case) -> U8:
        return as_u8(raw_results(network, case.image, case.areas)[0])

    return run


def _model(enhancer: Enhancer, denoise: Denoise, edges: Edges) -> Method:
    def run(case: Case) -> U8:
        how = replace(case.transition, edges=edges)
        result = enhancer.enhance(case.image, case.selection, transition=how, denoise=denoise)
        return np.asarray(result, np.uint8)

    return run
