"""The page about a card, from numbers that nobody measured."""

from __future__ import annotations

from benchmarks.card_page import page


def row(milliseconds):
    return {"first": 900.0, "best": milliseconds, "median": 2 * milliseconds}


RESULT = {
    "machine": {
        **{"card": "NVIDIA Abacus", "torch": "2.11", "triton": "3.6", "processor": "beads"},
        **{"python": "3.12", "commit": "abc"},
    },
    "options": {"megapixels": 24.0, "rounds": 7, "threads": 16},
    "failures": {"strips": "Traceback: no beads"},
    "renderer": {
        "ToneCurves u8, all, native": row(20.0),
        "ToneCurves u8, all, cuda": row(5.0),
        "ToneCurves u8, all, torch": row(800.0),
        "ToneCurves u8, all, cuda, new memory": row(9.5),
    },
    "networks": {
        "lantern": {
            "onnxruntime": row(4.0),
            "card": {"loading": 70.0, **row(1.0)},
            "one by one": row(13.0),
        }
    },
    "choice": {
        "ToneCurves u8, all": {
            "seconds": 1.5,
            "expected": {"cuda": 5.0, "native": 20.0},
            "card": True,
        }
    },
}


def test_ratios_stand_beside_milliseconds():
    text = page(RESULT)
    assert text.startswith("# On NVIDIA Abacus")
    assert "| tone curves (`lantern`), u8, all | 0.25 | 20.0 | 5.00 | 900.0 | 800.0 |" in text
    assert "| lantern | 0.25 | 4.00 | 1.00 | 13.0 | 70.0 |" in text
    assert "| ToneCurves u8, all | card | 5.0 | 20.0 | 1.5 |" in text
    assert "no beads" in text and "9.50 ms" in text


def test_it_can_be_a_part_of_a_page():
    text = page(RESULT, "##")
    assert text.startswith("## On NVIDIA Abacus") and "\n### Networks" in text
