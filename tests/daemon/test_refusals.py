"""Messages and jobs that the daemon does not take, and the words in which it says so."""

import msgpack
import numpy as np
import pytest

from maskupe_client.errors import AnswerError
from maskupe_client.framing import new_id, pack
from maskupe_client.messages import parse
from tests.daemon.running import assert_right, dealer_to, region, request_for, serves


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([b"garbage"], "bad-header"),
        ([], "bad-header"),
        ([pack({"type": "hello", "id": "x"}), b"what is this"], "bad-planes"),
        ([pack({"type": "hello", "id": "x"})] + [b""] * 9, "bad-planes"),
        ([pack({"type": "status", "id": "x"})] + [b""] * 500, "bad-planes"),
        ([msgpack.packb({"v": 9, "type": "hello", "id": "x"})], "version"),
        ([pack({"type": "dance", "id": "x"})], "unsupported"),
        ([pack({"type": "welcome", "id": "x"})], "unsupported"),
        ([bytes(70_000)], "bad-header"),
    ],
)
def test_bad_messages_are_answered_and_the_daemon_goes_on(daemon, frames, code):
    context, dealer = dealer_to(daemon)
    dealer.send_multipart(frames or [b""])
    assert dealer.poll(10_000)
    answer = parse(dealer.recv(), "daemon")
    assert (answer["type"], answer["code"]) == ("error", code)
    assert answer["message"].endswith(".")
    dealer.send(pack({"type": "hello", "id": "y", "future": [1]}))
    assert dealer.poll(10_000)
    assert parse(dealer.recv(), "daemon")["type"] == "welcome"
    context.destroy(linger=0)


def test_planes_of_the_wrong_size(daemon):
    image, selection = region(np.random.default_rng(2))
    request, _ = request_for(image, selection)
    context, dealer = dealer_to(daemon)
    for planes in ([], [image], [image, selection[:-1]], [image, selection, b"x"]):
        dealer.send_multipart([pack(request.header()), *planes])
        assert dealer.poll(10_000)
        answer = parse(dealer.recv(), "daemon")
        assert (answer["id"], answer["code"]) == (request.id, "bad-planes")
    context.destroy(linger=0)


def test_an_id_that_is_in_use(daemon):
    image, selection = region(np.random.default_rng(3))
    request, planes = request_for(image, selection, model="slow-20")
    other, _ = request_for(image, selection, model="slow-20", strength=0.5, id=request.id)
    context, dealer = dealer_to(daemon)
    dealer.send_multipart([pack(request.header()), *planes])
    dealer.send_multipart([pack(other.header()), *planes])
    kinds = {}
    while "result" not in kinds:
        assert dealer.poll(10_000)
        frames = dealer.recv_multipart()
        answer = parse(frames[0], "daemon")
        kinds[answer["type"]] = (answer, frames[1:])
    assert kinds["error"][0]["code"] == "id-in-use"
    assert_right({"image": kinds["result"][1][0]}, image, selection, request)
    context.destroy(linger=0)


def test_a_repeated_request_is_one_job_and_answers_the_newer_connection(daemon):
    image, selection = region(np.random.default_rng(4))
    request, planes = request_for(image, selection, model="slow-60")
    served = daemon.status()["served"]
    context, dealer = dealer_to(daemon)
    dealer.send_multipart([pack(request.header()), *planes])
    daemon.await_status(running=1)
    with daemon.connect() as client:
        _, answer = client.enhance(request, planes)
    assert_right(answer, image, selection, request)
    assert daemon.status()["served"] == served + 1
    context.destroy(linger=0)


def test_a_full_queue_says_how_many_are_ahead(daemon):
    image, selection = region(np.random.default_rng(5))
    context, dealer = dealer_to(daemon)
    most = 16 + 1  # the share of one client, and the one that runs
    identifiers = [new_id() for _ in range(most + 2)]
    for identifier in identifiers:
        request, planes = request_for(image, selection, model="slow-60", id=identifier)
        dealer.send_multipart([pack(request.header()), *planes])
    answers = {}
    while len(answers) < 2:
        assert dealer.poll(10_000)
        answer = parse(dealer.recv_multipart()[0], "daemon")
        if answer["type"] == "error":
            answers[answer["id"]] = answer
        elif answer["type"] == "progress" and answer["stage"] == "queued":
            assert answer["position"] == identifiers.index(answer["id"])
    assert set(answers) == set(identifiers[-2:])
    for answer in answers.values():
        assert answer["code"] == "busy"
        assert answer["position"] == most
        assert answer["retry_after"] > 0
    with daemon.connect() as client:  # another client still has its own share and its turn
        client.enhance(*request_for(image, selection))
        assert client.status()["queued"] > 0
        for identifier in identifiers[:most]:
            client.cancel(identifier)
    daemon.await_status(running=0, queued=0)
    context.destroy(linger=0)


@pytest.fixture
def full_queue(start):
    """A daemon whose queue one job fills, while another one runs; ``jobs`` are their ids."""
    daemon = start(env={"MASKUPE_TEST_TOTAL_BYTES": str(400_000)})
    request, planes = request_for(*region(np.random.default_rng(0), (120, 150, 3)))
    context, dealer = dealer_to(daemon)
    daemon.jobs = [new_id(), new_id()]
    for job in daemon.jobs:
        dealer.send_multipart([pack({**request.header(), "id": job, "model": "slow-200"}), *planes])
    daemon.await_status(running=1, queued=1)
    yield daemon
    context.destroy(linger=0)


def test_a_client_waits_for_its_turn_when_the_queue_is_full(full_queue):
    image, selection = region(np.random.default_rng(1), (120, 150, 3))
    request, planes = request_for(image, selection)
    heard = []

    def hear(now):
        heard.append(now)
        if len(heard) == 12:  # a user interface stays alive while it waits
            with full_queue.connect() as other:
                for job in full_queue.jobs:
                    other.cancel(job)

    with full_queue.connect() as client:
        _, answer = client.enhance(request, planes, hear)
    assert_right(answer, image, selection, request)
    assert max(now.position for now in heard if now.stage == "queued") == 2


def test_patience_with_a_full_queue_ends(full_queue):
    request, planes = request_for(*region(np.random.default_rng(1), (120, 150, 3)))
    with full_queue.connect() as client:
        with pytest.raises(AnswerError, match="2 jobs are ahead") as caught:
            client.enhance(request, planes, busy_timeout=0.2)
        assert caught.value.code == "busy"
        assert caught.value.position == 2

        class EnoughError(Exception):
            pass

        def enough(now):
            if now.position:
                raise EnoughError

        with pytest.raises(EnoughError):  # a person may lose patience earlier
            client.enhance(request, planes, enough)
        assert client.status()["queued"] == 1


def test_what_is_over_a_limit_is_refused_in_words(start):
    tight = start(env={"MASKUPE_TEST_TOTAL_BYTES": str(400_000)})  # a quarter may be one job's
    image, selection = region(np.random.default_rng(6), (200, 300, 3))
    request, planes = request_for(image, selection)
    with tight.connect() as client:
        assert client.welcome["limits"]["max_total"] == 100_000
        with pytest.raises(AnswerError, match="takes at most") as caught:
            client.enhance(request, planes)
        assert caught.value.code == "too-large"
    # A client that does not care: a frame over the limit is not even taken in.
    context, dealer = dealer_to(tight)
    dealer.send_multipart([pack(request.header()), *planes])
    assert not dealer.poll(500)
    # Planes that fit one by one but not together.
    halves = request_for(*region(np.random.default_rng(6), (180, 180, 3)), context=None)
    dealer.send_multipart([pack(halves[0].header()), *halves[1]])
    assert dealer.poll(10_000)
    assert parse(dealer.recv(), "daemon")["code"] == "too-large"
    context.destroy(linger=0)
    serves(tight, (40, 60, 3))


def test_a_job_that_does_not_fit_into_memory_is_refused_before_it_starts(start):
    starved = start(env={"MASKUPE_TEST_FREE_BYTES": str(150 * 1024 * 1024)})
    image, selection = region(np.random.default_rng(7))
    with starved.connect() as client, pytest.raises(AnswerError, match="GB are free") as caught:
        client.enhance(*request_for(image, selection))
    assert caught.value.code == "out-of-memory"
    assert "smaller part" in caught.value.hint
