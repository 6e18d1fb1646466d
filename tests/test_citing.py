"""Who is to be cited, and what machines read of our cards."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from maskupe.registry import MODELS, find_weights, weights_folders
from tests.untrained import needs_research_weights

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).resolve().parent.parent
BIB = (ROOT / "docs" / "references.bib").read_text("utf-8")
CITING = (ROOT / "docs" / "citing.md").read_text("utf-8")
CARDS = sorted(card for folder in weights_folders() for card in folder.glob("*.md"))


def test_the_citation_file_has_what_its_format_asks_for() -> None:
    content = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert content["cff-version"] == "1.2.0" and content["type"] == "software"
    assert {"message", "title", "authors", "license"} <= set(content)
    for reference in content["references"]:
        assert {"type", "title", "authors"} <= set(reference)
        # The same work is in the BibTeX, in the same words.
        assert re.sub(r"[{}\s]+", "", reference["title"]) in re.sub(r"[{}\s]+", "", BIB)


def test_every_entry_is_used_and_every_network_has_one() -> None:
    keys = re.findall(r"^@\w+\{(\w+),$", BIB, re.M)
    assert len(keys) == len(set(keys)) >= 14
    # Braces are balanced in each entry, or BibTeX reads no further.
    for entry in BIB.split("\n@")[1:]:
        assert entry.count("{") == entry.count("}"), entry.splitlines()[0]
    named = set(re.findall(r"`([\w-]+)`", CITING))
    assert set(keys) <= named, set(keys) - named
    rows = " ".join(line.split("|")[1] for line in CITING.splitlines() if line.startswith("| "))
    for config in MODELS.values():
        assert f"`{config.network}" in rows, config.network


@pytest.mark.parametrize("card", CARDS, ids=lambda path: path.stem)
def test_cards_begin_with_what_hugging_face_reads(card: Path) -> None:
    _, front, text = card.read_text("utf-8").split("---\n", 2)
    content = yaml.safe_load(front)
    assert content["license"] == "other" and content["library_name"] == "maskupe"
    use = re.search(r"\| Licence of the weights \| (.*) \|", text)
    assert use and content["license_name"] == re.sub(r"\W+", "-", use[1])
    assert content["pipeline_tag"] in ("image-to-image", "image-segmentation")
    assert all(isinstance(tag, str) for tag in content["tags"])


@needs_research_weights
def test_a_card_can_quote_what_was_measured_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    from maskupe_training.cli import main

    shipped = find_weights("star-dce.safetensors")
    assert shipped is not None
    weights = tmp_path / shipped.name
    weights.write_bytes(shipped.read_bytes())
    before = weights.read_bytes()
    assert main(["card", str(weights)]) == 0
    assert "sice test" not in weights.with_suffix(".md").read_text("utf-8")
    measured = json.loads((ROOT / "docs" / "evaluation.json").read_text("utf-8"))
    evaluation = tmp_path / "evaluation.json"
    evaluation.write_text(json.dumps(measured), "utf-8")
    assert main(["card", str(weights), "--metrics", str(evaluation)]) == 0
    card = weights.with_suffix(".md").read_text("utf-8")
    # The card that ships quotes what the documents do.
    assert card == shipped.with_suffix(".md").read_text("utf-8")
    mean = measured["summary"]["star-dce, blended"]["psnr_a"]
    assert f"| sice test psnr a | {mean:.2f} |" in card
    assert "| sice test command | `maskupe-train evaluate lantern " in card
    assert weights.read_bytes() == before
    assert main(["card", str(tmp_path / "none.safetensors")]) == 1
    assert "none.safetensors" in capsys.readouterr().err
