"""The fair queue: turns, bounds, and that nothing is lost or counted twice."""

from itertools import chain

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from maskupe_client.framing import PlaneSpec, pack
from maskupe_client.messages import parse
from maskupe_daemon.queue import FairQueue, Job, Route
from tests.daemon.running import request_for


def job(client, number=0, side=10):
    fields = {
        "type": "enhance",
        "id": f"{client}-{number}",
        "image": PlaneSpec((side, side, 1), "u8"),
        "selection": None,
        "context": None,
    }
    return Job(Route(bytes([client])), "test", fields, [])


def test_a_job_with_any_other_option_is_another_job():
    fields = parse(pack(request_for(np.zeros((4, 5, 3), np.uint8))[0].header()), "client")
    others = {
        "model": "lantern",
        "strength": 0.5,
        "denoise": 0.5,
        "warmth": 0.5,
        "saturation": 0.5,
        "width": 3.0,
        "side": "inside",
        "edges": "off",
        "origin": (1, 0),
        "part": (0, 1, 2, 3),
        "layer": (9, 9),
        "outputs": ("weight",),
        "selection": PlaneSpec((4, 5), "u8"),
        "context": PlaneSpec((2, 2, 3), "u8"),
        "image": PlaneSpec((4, 5, 1), "u8"),
    }
    # What tells two jobs apart, or does not belong to the work.
    assert set(others) | {"type", "id", "replaces"} == set(fields)
    jobs = [Job(Route(0, b""), "test", fields, [])]
    jobs += [Job(Route(0, b""), "test", {**fields, name: others[name]}, []) for name in others]
    assert len({job.fingerprint() for job in jobs}) == len(jobs)
    assert Job(Route(1, b"x"), "test", dict(fields), []).fingerprint() == jobs[0].fingerprint()


def test_clients_take_turns():
    queue = FairQueue(100, 100, 10**9)
    for number in range(3):
        assert queue.offer(job(1, number))
    assert queue.offer(job(2))
    assert queue.offer(job(3))
    foreseen = [waiting.id for waiting in queue]
    taken = []
    while (next_job := queue.take()) is not None:
        taken.append(next_job.id)
    assert taken == foreseen == ["1-0", "2-0", "3-0", "1-1", "1-2"]


def test_bounds():
    queue = FairQueue(4, 2, 10**9)
    assert queue.offer(job(1, 0))
    assert queue.offer(job(1, 1))
    assert not queue.offer(job(1, 2))  # its share
    assert queue.offer(job(2))
    assert queue.offer(job(3))
    assert not queue.offer(job(4))  # all
    small = FairQueue(100, 100, 150)
    assert small.offer(job(1, 0, side=1000))  # a single one is let in whatever its size
    assert not small.offer(job(2, 0))


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from("otrm"), st.integers(0, 5)), max_size=60))
def test_like_a_list_of_lists(steps):
    """Against a slow model: per client a list, a turn order, and recounting everything."""
    queue, model, known, number = FairQueue(12, 4, 900), {}, {}, 0
    for step, client in steps:
        if step == "o":
            offered = job(client, number)
            number += 1
            waiting = list(chain.from_iterable(model.values()))
            fits = len(waiting) < 12 and len(model.get(client, [])) < 4
            fits = fits and (not waiting or 100 * (len(waiting) + 1) <= 900)
            assert queue.offer(offered) == fits
            if fits:
                model.setdefault(client, []).append(offered.id)
                known[offered.id] = offered
        elif step == "t":
            taken = queue.take()
            if not model:
                assert taken is None
                continue
            first = next(iter(model))
            line = model.pop(first)
            assert taken.id == line.pop(0)
            if line:
                model[first] = line  # at the end of the turns
        elif step == "r" and model.get(client):
            assert queue.remove(known[model[client].pop()])
            model = {name: line for name, line in model.items() if line}
        elif step == "m" and model.get(client):
            moved = known[model[client][0]]
            other = (client + 1) % 6
            queue.move(moved, Route(bytes([other])))
            model[client].pop(0)
            model = {name: line for name, line in model.items() if line}
            model.setdefault(other, []).append(moved.id)
        ids = [waiting.id for waiting in queue]
        assert sorted(ids) == sorted(chain.from_iterable(model.values()))
        assert len(queue) == len(ids)
        assert queue.nbytes == 100 * len(ids)
    assert not queue.remove(job(0, 10**6))
