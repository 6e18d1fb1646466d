"""Pieces are sent or received by one thread while another makes or uses them."""

import socket
import threading

import numpy as np
import pytest

from maskupe_client.errors import ConnectionLostError, RefusedError
from maskupe_client.pipelining import receive_overlapped, send_overlapped
from maskupe_client.stream import Stream
from tests.daemon.running import Keeper, region, request_for

PIECES = [bytes([number]) * (300_000 + number) for number in range(9)]


@pytest.fixture
def pair():
    """A stream, and the socket at its other end."""
    ours, theirs = socket.socketpair()
    stream = Stream(ours, silence=5.0)
    yield stream, theirs
    stream.close()
    theirs.close()


def read_all(sock, size):
    found = bytearray()
    while len(found) < size and (piece := sock.recv(1 << 16)):
        found += piece
    return bytes(found)


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "pipelining"]


def test_pieces_arrive_in_order_while_others_are_made(pair):
    stream, theirs = pair
    made, found = [], []
    total = sum(map(len, PIECES))
    reader = threading.Thread(target=lambda: found.append(read_all(theirs, total)))
    reader.start()

    def make():
        for piece in PIECES:
            made.append(threading.current_thread())
            yield piece

    assert send_overlapped(stream, make()) == total
    reader.join(10)
    assert found == [b"".join(PIECES)]
    assert set(made) == {threading.current_thread()}
    assert not threads()


def test_what_goes_wrong_while_making_comes_out(pair):
    stream, _ = pair

    def make():
        yield PIECES[0]
        raise KeyError("no tile")

    with pytest.raises(KeyError):
        send_overlapped(stream, make())
    assert stream.broken and not threads()


def test_waiting_for_a_slow_peer_can_be_given_up(pair):
    stream, _ = pair  # nobody reads

    def wait():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        send_overlapped(stream, PIECES, wait)
    assert stream.broken and not threads()


def test_a_peer_that_leaves_while_it_is_sent_to(pair):
    stream, theirs = pair
    theirs.close()
    with pytest.raises(ConnectionLostError):
        send_overlapped(stream, PIECES)
    assert not threads()


def test_pieces_are_taken_while_others_arrive(pair):
    stream, theirs = pair
    writer = threading.Thread(target=theirs.sendall, args=(b"".join(PIECES),))
    writer.start()
    got, takers = [], set()

    def take(piece):
        got.append(bytes(piece))
        takers.add(threading.current_thread())

    receive_overlapped(stream, [len(piece) for piece in PIECES], take)
    writer.join(10)
    assert got == PIECES
    assert takers == {threading.current_thread()}
    assert not threads()


def test_a_peer_that_leaves_in_the_middle_of_its_answer(pair):
    stream, theirs = pair
    theirs.sendall(PIECES[0][:1000])
    theirs.close()
    got = []
    with pytest.raises(ConnectionLostError):
        receive_overlapped(stream, [600, 600], lambda piece: got.append(len(piece)))
    assert got == [600]
    assert not threads()


def test_what_goes_wrong_while_taking_comes_out(pair):
    stream, theirs = pair
    theirs.sendall(bytes(50))

    def take(_piece):
        raise KeyError("no tile")

    with pytest.raises(KeyError):
        receive_overlapped(stream, [10] * 100, take)
    assert stream.broken and not threads()


def test_a_plane_of_a_result_is_taken_while_it_arrives(daemon):
    image, selection = region(np.random.default_rng(1))
    request, planes = request_for(image, selection, outputs=("areas", "image"))
    with daemon.connect() as client:
        _, kept = client.enhance(request, planes)
        keeper = Keeper(100, image.nbytes - 100)
        request, planes = request_for(image, selection, outputs=("areas", "image"))
        header, others = client.enhance(request, planes, takers={"image": keeper})
    assert [name for name, _ in header["planes"]] == ["areas", "image"]
    assert list(others) == ["areas"] and others["areas"] == kept["areas"]
    assert keeper.got == bytes(kept["image"])
    assert keeper.begun == 1


def test_a_taker_of_another_size_is_refused(daemon):
    image, selection = region(np.random.default_rng(2))
    with daemon.connect() as client:
        with pytest.raises(RefusedError, match="another size"):
            client.enhance(*request_for(image, selection), takers={"image": Keeper(100)})
        client.enhance(*request_for(image, selection))  # over a new connection
