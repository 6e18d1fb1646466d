"""Which scenes are trained on, chosen by, and reported on: ``train``, ``val`` and ``test``.

A checkpoint is chosen on ``val`` and reported on ``test``, so the two must not overlap, and
whoever prepares a published data set must get the same parts as everybody else. For a data set in a
folder named ``sice`` or ``uieb`` the parts are lists in ``lists/``: names are facts, no pictures.
Scenes that a list does not know are divided by a hash of their names, which is the same however
much of the data set is there. MIT-Adobe FiveK has a published division (:func:`fivek_split`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskupe.weights_file import Header

SPLITS = ("train", "val", "test")
Splits = dict[str, list[str]]

_LISTS = Path(__file__).parent / "lists"
#: Shares of val and test among the scenes that the lists do not know: UIEB's 800/90 in the paper.
_SHARES: Mapping[str, tuple[float, float]] = {"sice": (0.1, 0.1), "uieb": (0.05, 0.1)}
#: FiveK: the last number that is trained on, and every how many of those are for val.
_LAST_OF_TRAIN = 4500
_EVERY = 45
# Characters of a name's mark in a weight file: 2 of 5,000 names share one with a chance of 0.3 %.
_MARK = 8


def is_listed(data: str) -> bool:
    """Return whether a data set, by its folder's name, is divided by a list."""
    return data in _SHARES


def divide(data: str, names: Iterable[str]) -> Splits:
    """Divide the scenes of a data set for which :func:`is_listed` holds.

    Args:
        data: the folder's name.
        names: of the scenes that are there.
    """
    content = _content(data)
    place = {name: split for split in SPLITS for name in content[split]}
    val, test = _SHARES[data]
    found: Splits = {split: [] for split in SPLITS}
    for name in sorted(names):
        share = int(hashlib.sha256(f"{data}/{name}".encode()).hexdigest()[:8], 16) / 2**32
        by_hash = "test" if share < test else "val" if share < test + val else "train"
        found[place.get(name, by_hash)].append(name)
    return found


def superseded(data: str, splits: Mapping[str, Any]) -> bool:
    """Return whether a ``split.json`` is of the time before the lists, which then count instead.

    It is, if it has no ``test`` and the lists know all of its scenes.
    """
    if "test" in splits or not is_listed(data):
        return False
    content = _content(data)
    known = {name for split in SPLITS for name in content[split]}
    return all(isinstance(names, list) and known.issuperset(names) for names in splits.values())


def fivek_split(name: str) -> str:
    """Return the part that a picture of MIT-Adobe FiveK belongs to.

    The paper's 500 for validation and testing, a4501 to a5000, are ``test``; ``val`` is every 45th
    of the 4,500 before them, 100 pictures, which are then not trained on.

    Args:
        name: ``a0001`` to ``a5000``.
    """
    number = int(name[1:])
    if number > _LAST_OF_TRAIN:
        return "test"
    return "val" if number % _EVERY == 0 else "train"


def list_digest(names: Sequence[str]) -> str:
    """Return SHA-256 over scenes' names, whatever their order."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()


def scene_record(scenes: Mapping[str, Sequence[str]]) -> dict[str, dict[str, Any]]:
    """Return what a weight file keeps of lists of scenes by folder.

    Their number, the digest of the list, and a short hash of each name: enough to tell whether a
    scene was among them, without telling the names of anybody's own photographs.
    """
    return {
        folder: {
            "count": len(names),
            "sha256": list_digest(names),
            "marks": " ".join(sorted(_mark(name) for name in names)),
        }
        for folder, names in scenes.items()
    }


@dataclass(frozen=True)
class Seen:
    """What a model has seen of some scenes.

    Attributes:
        known: whether its file, or the lists, say what it has seen of this data set.
        trained: how many of the scenes it was trained on.
        chosen: how many of the others its checkpoint was chosen by.
    """

    known: bool
    trained: int
    chosen: int


def seen_scenes(header: Header, folder: str, scenes: Sequence[str]) -> Seen:
    """Compare scenes with those that a weight file was trained on and chosen by.

    Args:
        header: what the weight file says about itself.
        folder: the data set's, as recipes name it.
        scenes: names.
    """
    record = header.json("scenes")
    if record is not None:
        trained = _marked(record.get("trained", {}), folder, scenes)
        trained |= _marked(record.get("before", {}), folder, scenes)
        chosen = _marked(record.get("chosen", {}), folder, scenes) - trained
        return Seen(True, len(trained), len(chosen))
    recipe = header.json("recipe") or {}
    own = _of_lists(header).get(folder)
    if own is None:
        sources = [*recipe.get("sources", ()), recipe.get("validation", {}).get("source", {})]
        return Seen(bool(recipe) and not _used(sources, folder), 0, 0)
    was_trained, was_chosen = own
    content = _content(folder)
    known = {name for split in SPLITS for name in content[split]}
    if was_trained and content["renamed"] and not known.issuperset(scenes):
        return Seen(False, 0, 0)  # by its published name, nobody can tell what a scene is
    by = was_chosen - was_trained
    return Seen(True, len(was_trained & set(scenes)), len(by & set(scenes)))


def _of_lists(header: Header) -> dict[str, tuple[set[str], set[str]]]:
    """What the lists know of weights that are older than them: by folder, trained on and watched.

    The digest of the data says which ``split.json`` they had.
    """
    recipe, data = header.json("recipe") or {}, header.metadata.get("training_data", "")
    found = {}
    for folder in _SHARES:
        content = _content(folder)
        used = _used(recipe.get("sources", ()), folder)
        watched = _used([recipe.get("validation", {}).get("source", {})], folder)
        for digest, parts in content["earlier"].items():
            if (used or watched) and (digest in data or not used):
                found[folder] = (_names(content, parts, used), _names(content, parts, watched))
    return found


def trained_marks(header: Header) -> dict[str, dict[str, str]]:
    """Return the marks of the scenes that weights were trained on, by folder.

    Whoever starts from them was, in effect, trained on those, too: they become its ``before``.
    """
    found: dict[str, set[str]] = {}
    record = header.json("scenes") or {}
    for key in ("trained", "before"):
        for folder, own in record.get(key, {}).items():
            found.setdefault(folder, set()).update(own["marks"].split())
    if not record:
        for folder, (trained, _) in _of_lists(header).items():
            found[folder] = {_mark(name) for name in trained}
    return {folder: {"marks": " ".join(sorted(marks))} for folder, marks in found.items() if marks}


def describe_seen(model: str, seen: Seen, total: int, what: str) -> str:
    """Return one sentence about what a model has seen; empty if there is nothing to say.

    Args:
        model: its name.
        seen: what it has seen.
        total: of how many scenes.
        what: the data, such as ``sice test``.
    """
    if not seen.known:
        return f"{model} does not say which scenes it was trained on: {what} may be among them."
    facts = [
        f"{verb} {count} of the {total} scenes of {what}"
        for verb, count in (
            ("was trained on", seen.trained),
            ("had its checkpoint chosen by, or watched with,", seen.chosen),
        )
        if count
    ]
    if not facts:
        return ""
    return f"{model} {' and '.join(facts)}, so it may look better there than on new ones."


def describe_scenes(header: Header) -> list[str]:
    """Return what a weight file, or our lists, say of the scenes behind it; a sentence each."""
    record = header.json("scenes")
    if record is not None:
        return [
            f"{verb} {own['count']} scenes of `{folder}`, sha256:{own['sha256']}"
            for key, verb in (("trained", "trained on"), ("chosen", "chosen by"))
            for folder, own in record.get(key, {}).items()
        ]
    found = []
    for folder, (trained, watched) in _of_lists(header).items():
        for verb, names in (("trained on", trained), ("chosen by, or watched with,", watched)):
            today = [split for split in SPLITS if names & set(_content(folder)[split])]
            if names:
                words = f"{len(names)} scenes of `{folder}`, now called {' and '.join(today)}"
                found.append(f"{verb} {words}")
    return found


def _mark(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:_MARK]


def _marked(record: Mapping[str, Any], folder: str, scenes: Sequence[str]) -> set[str]:
    marks = set(record.get(folder, {}).get("marks", "").split())
    return {name for name in scenes if _mark(name) in marks}


def _used(sources: Iterable[Mapping[str, Any]], folder: str) -> set[str]:
    return {str(source.get("split")) for source in sources if source.get("folder") == folder}


def _names(content: Mapping[str, Any], parts: Mapping[str, Any], splits: set[str]) -> set[str]:
    today = {part for split in splits for part in parts.get(split, ())}
    return {name for part in today for name in content[part]}


def _content(data: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((_LISTS / f"{data}.json").read_text("utf-8"))
    return content
