"""The working thread outlives whatever happens in it, and every job has an outcome."""

import queue

import numpy as np
import pytest

from maskupe.errors import WeightsError
from maskupe_client.framing import pack
from maskupe_client.messages import LONGEST_SENTENCE, parse
from maskupe_daemon.models import Models
from maskupe_daemon.queue import Job, Route
from maskupe_daemon.worker import Worker
from tests.daemon.running import region, request_for
from tests.daemon.stand_in import StandIns


class FaultyLibrary(StandIns):
    def prepare(self, device):
        raise ImportError("libgomp.so.1: cannot open shared object file")

    def load(self, name, device):
        if name == "damaged":
            raise WeightsError(f"The weight file {'x' * 4000} is damaged.")
        return super().load(name, device)


@pytest.fixture
def outcome_of():
    """Runs a job of a model through a worker and returns its outcome."""
    outcomes = queue.SimpleQueue()
    worker = Worker(Models(FaultyLibrary(), "cpu"), outcomes.put)

    def run(model):
        request, planes = request_for(*region(np.random.default_rng(0)), model=model)
        worker.start(Job(Route(b""), "test", parse(pack(request.header()), "client"), planes))
        return outcomes.get(timeout=20)

    yield run
    worker.close(10)


@pytest.mark.parametrize("model", ["broken", "panicking"])
def test_no_fault_ends_the_thread(outcome_of, model):
    outcome = outcome_of(model)
    assert outcome.fields["code"] == "failed"
    assert outcome_of("quick").ok


def test_what_is_said_of_a_fault_fits_into_a_message(outcome_of):
    outcome = outcome_of("damaged")
    assert outcome.fields["code"] == "bad-weights"
    assert len(outcome.fields["message"]) == LONGEST_SENTENCE
