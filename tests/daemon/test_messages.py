"""The header parser: what it takes, what it refuses, and that nothing else ever happens."""

import copy
import os
from dataclasses import replace

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskupe import validation
from maskupe.areas import transition
from maskupe_client import framing, messages
from maskupe_client.client import EnhanceRequest
from maskupe_client.framing import MAX_HEADER, PlaneSpec, WireError, pack
from maskupe_client.messages import ERROR_CODES, MESSAGES, check_sizes, parse

REQUEST = EnhanceRequest(
    image=PlaneSpec((4, 5, 3), "u8"),
    layer=(40, 50),
    origin=(3, 7),
    selection=PlaneSpec((4, 5), "f32"),
    context=PlaneSpec((8, 9, 3), "u8"),
    id="a-request",
)
ENHANCE = REQUEST.header()


def refused(header, sender="client"):
    with pytest.raises(WireError) as caught:
        parse(pack(header) if isinstance(header, dict) else header, sender)
    return caught.value


def changed(**fields):
    return {**copy.deepcopy(ENHANCE), **fields}


def test_a_request_comes_through_as_it_was_meant():
    fields = parse(pack(ENHANCE), "client")
    assert fields["image"] == PlaneSpec((4, 5, 3), "u8")
    assert fields["layer"] == (40, 50)
    assert fields["width"] == "auto"
    assert fields["outputs"] == ("image",)
    check_sizes(fields, [60, 80, 216])
    assert fields["image"].nbytes == 60


@pytest.mark.parametrize("edges", ["auto", "off", 0, 12.5, messages.MAX_WIDTH])
def test_how_far_edges_are_followed_comes_through(edges):
    request = replace(REQUEST, edges=edges)
    assert parse(pack(request.header()), "client")["edges"] == edges


@pytest.mark.parametrize("denoise", ["auto", 0, 0.4, 1])
def test_a_noise_reduction_comes_through(denoise):
    request = replace(REQUEST, denoise=denoise)
    assert parse(pack(request.header()), "client")["denoise"] == denoise


@pytest.mark.parametrize("value", [-1, -0.25, 0.0, 1.0])
@pytest.mark.parametrize("name", ["warmth", "saturation"])
def test_the_colour_of_the_light_comes_through(name, value):
    request = replace(REQUEST, **{name: value})
    assert parse(pack(request.header()), "client")[name] == value


def test_without_colour_a_request_is_what_it_was_before_the_fields():
    assert not {"warmth", "saturation"} & set(REQUEST.header())
    assert "saturation" not in replace(REQUEST, warmth=0.5).header()


def test_a_part_of_the_region_comes_through():
    request = replace(REQUEST, part=(1, 2, 3, 3))
    assert parse(pack(request.header()), "client")["part"] == (1, 2, 3, 3)


def test_defaults_are_filled_in():
    fields = parse(
        pack(
            {
                "type": "enhance",
                "id": "x",
                "layer": [4, 5],
                "image": {"shape": [4, 5, 1], "dtype": "u16"},
            }
        ),
        "client",
    )
    assert (fields["model"], fields["strength"], fields["side"]) == ("default", 1.0, "outside")
    assert (fields["selection"], fields["context"], fields["replaces"]) == (None, None, None)
    assert fields["origin"] == (0, 0)
    # What a client means that does not know these fields.
    assert (fields["denoise"], fields["edges"], fields["warmth"]) == ("auto", "auto", 0.0)
    assert (fields["saturation"], fields["part"]) == (0.0, None)


def test_unknown_fields_are_ignored():
    fields = parse(pack(changed(mood="sunny")), "client")
    assert "mood" not in fields


@pytest.mark.parametrize(
    "header",
    [
        changed(strength=-0.1),
        changed(strength=2.01),
        changed(strength=float("nan")),
        changed(strength=float("inf")),
        changed(strength=True),
        changed(strength="1"),
        changed(width=-1),
        changed(width="wide"),
        changed(width=1e6),
        changed(width=None),
        changed(side="left"),
        changed(side=["outside"]),
        changed(denoise=-0.1),
        changed(denoise=1.01),
        changed(denoise="off"),
        changed(denoise=float("nan")),
        changed(denoise=False),
        changed(denoise=None),
        changed(warmth=-1.01),
        changed(warmth=1.01),
        changed(warmth=float("nan")),
        changed(warmth="warm"),
        changed(warmth=True),
        changed(warmth=None),
        changed(saturation=-1.01),
        changed(saturation=1.01),
        changed(saturation=float("nan")),
        changed(saturation="much"),
        changed(saturation=True),
        changed(saturation=None),
        changed(edges=-1),
        changed(edges="far"),
        changed(edges="OFF"),
        changed(edges=1e6),
        changed(edges=float("nan")),
        changed(edges=True),
        changed(edges=None),
        changed(edges=["auto"]),
        changed(model="../../etc/passwd"),
        changed(model="a/b.safetensors"),
        changed(model=""),
        changed(model="x" * 65),
        changed(model="star\n"),
        changed(layer=[40]),
        changed(layer=[0, 50]),
        changed(layer=[40.0, 50]),
        changed(layer=[True, 50]),
        changed(layer=[2**40, 50]),
        changed(layer={"0": 40}),
        changed(origin=[-1, 0]),
        changed(origin=[37, 0]),
        changed(origin=[0, 46]),
        changed(image=None),
        changed(image=[4, 5, 3]),
        changed(image={"shape": [4, 5, 5], "dtype": "u8"}),
        changed(image={"shape": [4, 5], "dtype": "u8"}),
        changed(image={"shape": [4, 5, 3], "dtype": "f16"}),
        changed(image={"shape": [4, 5, 3]}),
        changed(selection={"shape": [5, 4], "dtype": "f32"}),
        changed(selection={"shape": [4, 5], "dtype": "u16"}),
        changed(context={"shape": [8, 9, 2], "dtype": "u8"}),
        changed(context={"shape": [1025, 9, 3], "dtype": "u8"}),
        changed(context=None),
        changed(part=[0, 0, 4]),
        changed(part=[0, 0, 0, 1]),
        changed(part=[-1, 0, 1, 1]),
        changed(part=[1, 0, 4, 5]),
        changed(part=[0, 3, 4, 3]),
        changed(part="all"),
        changed(outputs=[]),
        changed(outputs=["image", "image"]),
        changed(outputs=["everything"]),
        changed(outputs="image"),
        changed(replaces=3),
        changed(replaces="x" * 65),
    ],
)
def test_a_bad_field_is_named(header):
    error = refused(header)
    assert error.code == "bad-field"
    assert error.id == "a-request"
    assert error.message.endswith(".")


def test_a_missing_field_is_named():
    header = copy.deepcopy(ENHANCE)
    del header["layer"]
    assert "'layer' is missing" in refused(header).message


@pytest.mark.parametrize("identifier", ["", "x" * 65, 7, None, "a b", "é", ["x"]])
def test_a_request_needs_an_id(identifier):
    error = refused(changed(id=identifier))
    assert error.code == "bad-field"
    assert error.id == ""


@pytest.mark.parametrize("version", [0, 2, -1, 2**60, True, None, "1", 1.0])
def test_another_version_is_told_so(version):
    error = refused(msgpack.packb({**ENHANCE, "v": version}))
    assert error.code == "version"
    assert error.id == "a-request"
    assert "protocol 1" in error.message


@pytest.mark.parametrize("kind", ["result", "welcome", "pickle", "", None, 3, ["hello"]])
def test_unknown_types_are_told_so(kind):
    assert refused(changed(type=kind)).code == "unsupported"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        msgpack.packb([1, 2]),
        msgpack.packb({1: 2}),
        pack(ENHANCE) + b"\0",
        pack(ENHANCE)[:-1],
        b"\x91" * 60000,
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        msgpack.packb({"v": 1, "x": b"binary"}),
        msgpack.packb({"v": 1, "x": msgpack.ExtType(4, b"12345678")}),
        msgpack.packb({"v": 1, "x": msgpack.Timestamp(1, 2)}),
        b"\x81\xa1v\xa2\xff\xfe",
        bytes(MAX_HEADER + 1),
    ],
)
def test_what_is_no_header_is_told_so(data):
    assert refused(data).code == "bad-header"


def test_a_huge_plane_is_too_large_before_anything_is_reserved():
    huge = {"shape": [500_000, 500_000, 4], "dtype": "f32"}
    error = refused(changed(image=huge, selection=None, context=None, layer=[500_000, 500_000]))
    assert error.code == "too-large"


@pytest.mark.parametrize(
    "sizes", [[], [60], [60, 80], [60, 80, 215], [60, 80, 216, 1], [0, 80, 216]]
)
def test_the_frames_must_be_the_planes(sizes):
    with pytest.raises(WireError) as caught:
        check_sizes(parse(pack(ENHANCE), "client"), sizes)
    assert caught.value.code == "bad-planes"
    assert caught.value.id == "a-request"


def test_a_header_that_is_too_large_is_not_sent():
    with pytest.raises(WireError):
        pack({"type": "hello", "id": "x", "client": "y" * MAX_HEADER})


def test_a_path_that_is_not_in_utf_8_can_be_told():
    path = os.fsdecode(b"/srv/j\xf6rg")
    answer = {"type": "error", "id": "x", "code": "failed", "message": path * 222}  # the longest
    assert parse(pack(answer), "daemon")["message"] == "/srv/j?rg" * 222


def test_facts_that_the_library_has_too():
    # The wire runs in GIMP's Python and cannot import the library.
    assert messages.MAX_STRENGTH == validation.MAX_STRENGTH
    assert messages.MAX_WARMTH == validation.MAX_WARMTH
    assert messages.MAX_WIDTH == transition.MAX_WIDTH
    assert set(messages.OUTPUTS) == set(validation.OUTPUTS)
    side = next(f.type for f in MESSAGES["enhance"].fields if f.name == "side")
    assert side.choices == transition.SIDES
    assert framing.ITEM_SIZES == {"u8": 1, "u16": 2, "f32": 4}


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20)
    | st.sampled_from(["u8", "u16", "f32", "auto", "outside", "image", "enhance", "hello"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
NAMES = sorted(
    {"v", "id", "type"} | {f.name for m in MESSAGES.values() for f in m.fields} | {"shape", "dtype"}
)


def parses_or_refuses(data, sender):
    """Any bytes at all: fields of a known message, or a WireError with a documented code."""
    try:
        fields = parse(data, sender)
    except WireError as error:
        assert error.code in ERROR_CODES
        assert error.message
        return
    message = MESSAGES[fields["type"]]
    assert message.sender == sender
    assert {f.name for f in message.fields} | {"id", "type"} == set(fields)
    try:
        check_sizes(fields, [1, 2])
    except WireError as error:
        assert error.code == "bad-planes"


@settings(max_examples=400)
@given(data=st.binary(max_size=400), sender=st.sampled_from(["client", "daemon"]))
def test_fuzz_bytes(data, sender):
    parses_or_refuses(data, sender)


@settings(max_examples=60)
@given(
    header=st.dictionaries(st.sampled_from(NAMES), VALUES),
    sender=st.sampled_from(["client", "daemon"]),
)
def test_fuzz_maps(header, sender):
    parses_or_refuses(msgpack.packb({"v": 1, "id": "x", "type": "enhance", **header}), sender)


@settings(max_examples=250)
@given(
    name=st.sampled_from(sorted(ENHANCE)),
    value=VALUES,
    cut=st.integers(0, 400),
    flip=st.tuples(st.integers(0, 10_000), st.integers(0, 255)),
)
def test_fuzz_near_good_requests(name, value, cut, flip):
    data = bytearray(msgpack.packb({"v": 1, **ENHANCE, name: value}))
    parses_or_refuses(bytes(data), "client")
    data[flip[0] % len(data)] = flip[1]
    parses_or_refuses(bytes(data), "client")
    parses_or_refuses(bytes(data[:cut]), "client")
