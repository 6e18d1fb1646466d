"""``docs/protocol.md`` and the code say the same: limits, codes and the byte example.

The tables of fields are generated; see ``test_tables.py``.
"""

import re

from maskupe_client import framing
from maskupe_client.framing import PROTOCOL, pack
from maskupe_client.messages import ERROR_CODES, MESSAGES, OUTPUTS, parse
from tools.docs.protocol import DOCUMENT, rows, section


def test_the_version_is_that_of_the_code():
    assert f"**Protocol {PROTOCOL}.**" in DOCUMENT


def test_every_message_has_its_section_and_no_other():
    headings = re.findall(r"^### `(\w+)` \((\w+) → (\w+)\)$", DOCUMENT, re.M)
    assert [heading[0] for heading in headings] == list(MESSAGES)
    for name, sender, receiver in headings:
        assert sender == MESSAGES[name].sender
        assert {sender, receiver} == {"client", "daemon"}


def test_the_error_codes_are_those_of_the_code():
    assert [row[:2] for row in rows("Error codes")] == [
        [f"`{c}`", w] for c, w in ERROR_CODES.items()
    ]


def test_the_limits_are_those_of_the_code():
    written = {row[0].strip("`"): int(row[1].replace(" ", "")) for row in rows("Fixed limits")}
    assert written == {
        "MAX_HEADER": framing.MAX_HEADER,
        "MAX_PLANES": framing.MAX_PLANES,
        "MAX_SIDE": framing.MAX_SIDE,
        "MAX_CONTEXT": framing.MAX_CONTEXT,
        "MAX_PLANE_BYTES": framing.MAX_PLANE_BYTES,
        "MAX_ID": framing.MAX_ID,
    }


def test_the_dtypes_are_those_of_the_code():
    written = {row[0].strip("`"): int(row[2]) for row in rows("Planes")}
    assert written == framing.ITEM_SIZES


def test_the_planes_of_a_result_are_those_of_the_code():
    assert {row[0].strip("`") for row in rows("Planes of a result")} == set(OUTPUTS)


def test_the_byte_example_is_right():
    text = section("A worked example")
    numbers = [
        re.findall(r"^([0-9a-f]{2}(?: [0-9a-f]{2})*)(?:  |$)", b, re.M) for b in blocks(text)
    ]
    frames = [bytes.fromhex("".join(lines)) for lines in numbers]
    header, plane, answer = frames
    # Each frame: flags (1: more follow), one byte of length, the bytes themselves.
    assert (header[0], header[1]) == (1, len(header) - 2)
    assert (plane[0], plane[1]) == (0, len(plane) - 2)
    fields = parse(header[2:], "client")
    assert fields["type"] == "enhance"
    assert fields["image"].nbytes == len(plane) - 2
    sent = {
        "id": fields["id"],
        "type": "enhance",
        "layer": list(fields["layer"]),
        "image": fields["image"].as_map(),
    }
    assert pack(sent) == header[2:]
    refusal = parse(answer[2:], "daemon")
    assert (answer[0], answer[1]) == (0, len(answer) - 2)
    assert (refusal["type"], refusal["id"]) == ("error", fields["id"])
    assert refusal["code"] in ERROR_CODES


def blocks(text):
    return re.findall(r"```\n(.*?)```", text, re.S)
