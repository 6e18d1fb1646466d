"""Jobs through a real daemon: right answers, and an I/O loop that never waits."""

import platform
import re
import threading
import time

import numpy as np
import pytest

from maskupe.areas.partition import make_areas
from maskupe_client.client import ChunkedFrame, EnhanceRequest, PlaneSpec
from maskupe_client.errors import AnswerError
from maskupe_daemon.hardware import processor_name
from tests.daemon.running import as_array, assert_right, region, request_for
from tools.docs.protocol import rows, section


@pytest.mark.parametrize("dtype", ["u8", "u16", "f32"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_depth_and_channel_count_comes_back_right(daemon, dtype, channels):
    image, selection = region(np.random.default_rng(channels), (33, 47, channels), dtype)
    request, planes = request_for(image, selection)
    with daemon.connect() as client:
        header, answer = client.enhance(request, planes)
    result = as_array(answer["image"], image)
    assert_right(answer, image, selection, request)
    assert not np.array_equal(result, image)
    areas = make_areas(selection)
    assert header["counts"] == {"a": areas.a.sum(), "b": areas.b.sum(), "c": areas.c.sum()}
    assert header["width"] == areas.width
    np.testing.assert_array_equal(result[areas.c], image[areas.c])


def test_all_outputs_and_a_float_selection(daemon):
    image, selection = region(np.random.default_rng(1), feather=True)
    outputs = ("areas", "image", "weight", "illumination", "enhanced")
    request, planes = request_for(image, selection, outputs=outputs)
    with daemon.connect() as client:
        header, answer = client.enhance(request, planes)
    assert [name for name, _ in header["planes"]] == list(outputs)
    areas = make_areas(selection)
    codes = np.frombuffer(answer["areas"], np.uint8).reshape(areas.shape)
    np.testing.assert_array_equal(codes == 2, areas.a)
    np.testing.assert_array_equal(codes == 1, areas.b)
    np.testing.assert_array_equal(codes == 0, areas.c)
    weight = np.frombuffer(answer["weight"], np.float32).reshape(areas.shape)
    np.testing.assert_allclose(weight, areas.weight, atol=1e-6)
    light = np.frombuffer(answer["illumination"], np.float32).reshape(image.shape)
    result = as_array(answer["image"], image)
    black = image == 0  # there it is 1: no division makes it anything else
    np.testing.assert_allclose((light * result)[~black], image[~black], atol=0.51)
    assert (light[black] == 1).all()
    full = as_array(answer["enhanced"], image)
    np.testing.assert_array_equal(full[areas.a], result[areas.a])
    assert (full[areas.c] != image[areas.c]).any()


def test_a_region_of_a_larger_layer_sent_in_bands(daemon):
    image, selection = region(np.random.default_rng(2), (64, 50, 4), "u16")
    context = np.zeros((20, 30, 3), np.float32)
    request = EnhanceRequest(
        image=PlaneSpec(image.shape, "u16"),
        layer=(200, 300),
        origin=(100, 150),
        selection=PlaneSpec(selection.shape, "u8"),
        context=PlaneSpec(context.shape, "f32"),
        width=7.5,
        side="inside",
        strength=0.5,
    )
    bands = ChunkedFrame(image.nbytes, lambda: (image[row : row + 10] for row in range(0, 64, 10)))
    with daemon.connect() as client:
        for _ in range(2):  # the same object can be sent again
            _, answer = client.enhance(request, [bands, selection, context])
            assert_right(answer, image, selection, request)


def test_no_selection_means_everything(daemon):
    image, _ = region(np.random.default_rng(3))
    request, planes = request_for(image)
    with daemon.connect() as client:
        header, _ = client.enhance(request, planes)
    assert header["counts"] == {"a": 40 * 60, "b": 0, "c": 0}


@pytest.mark.parametrize(
    ("model", "code"),
    [
        ("damaged", "bad-weights"),
        ("latin-1", "bad-weights"),
        ("nobody", "unknown-model"),
        ("broken", "failed"),
        ("panicking", "failed"),
        ("hungry", "out-of-memory"),
    ],
)
def test_a_job_that_fails_says_why_and_the_next_one_succeeds(daemon, model, code):
    image, selection = region(np.random.default_rng(4))
    with daemon.connect() as client:
        request, planes = request_for(image, selection, model=model)
        with pytest.raises(AnswerError) as caught:
            client.enhance(request, planes)
        assert caught.value.code == code
        assert caught.value.message.endswith(".")
        client.enhance(*request_for(image, selection))


def test_an_empty_selection_is_refused_in_words(daemon):
    image, selection = region(np.random.default_rng(5))
    with daemon.connect() as client, pytest.raises(AnswerError, match="selection") as caught:
        client.enhance(*request_for(image, selection * 0))
    assert caught.value.code == "empty-selection"


@pytest.mark.parametrize(
    ("model", "device", "words"),
    [("tight-gpu", "cuda", "smaller strips"), ("full-gpu", "cpu", "processor did the work")],
)
def test_a_gpu_without_enough_memory_is_relieved_and_the_result_says_so(
    start, model, device, words
):
    daemon = start("--device", "cuda")
    image, selection = region(np.random.default_rng(6))
    request, planes = request_for(image, selection, model=model)
    with daemon.connect() as client:
        header, answer = client.enhance(request, planes)
    assert_right(answer, image, selection, request)
    assert header["device"] == device
    (note,) = header["notes"]
    assert "out of memory" in note
    assert words in note


def test_a_welcome_names_the_machine_and_what_did_the_last_job(start):
    daemon = start()
    with daemon.connect() as client:
        assert client.welcome["host"] == platform.node() and client.host == ""
        assert client.welcome["network"] == client.welcome["hardware"] == ""
        header, _ = client.enhance(*request_for(*region(np.random.default_rng(8))))
        assert header["network"] == "stand-in:cpu" and header["renderer"] == "stand-in"
        assert header["hardware"] == processor_name()
    with daemon.connect() as client:
        welcome = client.welcome
    assert {name: welcome[name] for name in ("network", "renderer", "hardware")} == {
        name: header[name] for name in ("network", "renderer", "hardware")
    }


def test_status_and_limits_are_what_the_document_says(daemon):
    with daemon.connect() as client:
        status, limits = client.status(), client.welcome["limits"]
    written = re.findall(r"`(\w+)`", section("Status"))
    assert written[0] == "report"
    assert set(written[1:]) == set(status)
    assert {row[0].strip("`") for row in rows("Announced limits")} == set(limits)


def test_control_messages_are_answered_while_a_job_runs(daemon):
    image, selection = region(np.random.default_rng(7))
    request, planes = request_for(image, selection, model="slow-200")
    seen = []

    def work():
        with daemon.connect() as client, pytest.raises(AnswerError, match="cancelled"):
            client.enhance(request, planes, seen.append)

    def fractions():
        return [progress.fraction for progress in seen if progress.stage == "running"]

    thread = threading.Thread(target=work)
    thread.start()
    daemon.await_status(running=1)
    waits = []
    with daemon.connect() as client:
        for _ in range(20):
            began = time.perf_counter()
            assert client.status()["running"] == 1
            waits.append(time.perf_counter() - began)
            time.sleep(0.01)
        deadline = time.monotonic() + 9
        while len(set(fractions())) < 5:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        client.cancel(request.id)
    thread.join(30)
    # The job takes ten seconds; a loop that waited for it would show that in every answer.
    assert np.median(waits) < 0.25
    assert fractions() == sorted(fractions())


def test_the_callback_keeps_a_user_interface_alive(daemon):
    image, selection = region(np.random.default_rng(8))
    calls = []
    with daemon.connect() as client:
        client.enhance(
            *request_for(image, selection, model="slow-60"),
            lambda progress: calls.append(time.monotonic()),
        )
    assert len(calls) >= 10
    assert np.median(np.diff(calls)) < 0.2


def test_raising_in_the_callback_cancels_within_a_strip(daemon):
    image, selection = region(np.random.default_rng(9))

    def refuse(progress):
        if progress.fraction > 0:
            raise KeyboardInterrupt

    with daemon.connect() as client:
        with pytest.raises(KeyboardInterrupt):
            client.enhance(*request_for(image, selection, model="slow-200"), refuse)
        daemon.await_status(running=0)
        client.enhance(*request_for(image, selection))  # the same connection goes on
    # It would have been done in ten seconds, and this line another.
    assert "cancelled client=" in daemon.log


def test_the_result_of_a_job_that_was_cancelled_too_late_is_skipped(daemon):
    """It is far larger than anything that the next job could be answered with."""
    rng = np.random.default_rng(9)
    large, large_planes = request_for(*region(rng, (500, 500, 4), "f32"), model="slow-4")
    image, selection = region(rng, (8, 8, 1))
    small, small_planes = request_for(image, selection)
    served = daemon.status()["served"]

    class TooLateError(Exception):
        pass

    def too_late(progress):
        if progress.stage == "running":
            daemon.await_status(served=served + 1)
            raise TooLateError

    with daemon.connect() as client:
        with pytest.raises(TooLateError):
            client.enhance(large, large_planes, too_late)
        _, answer = client.enhance(small, small_planes)
    assert_right(answer, image, selection, small)


def test_a_newer_job_replaces_an_older_one(daemon):
    image, selection = region(np.random.default_rng(10))
    older, planes = request_for(image, selection, model="slow-200")
    newer, _ = request_for(image, selection, replaces=older.id)

    class SlideError(Exception):
        pass

    def slide(progress):
        if progress.stage == "running":
            raise SlideError

    with daemon.connect() as client:
        # What a preview does: it leaves the older request at once and sends the newer one.
        with pytest.raises(SlideError):
            client.enhance(older, planes, slide)
        _, answer = client.enhance(newer, planes)
    assert_right(answer, image, selection, newer)
    daemon.await_status(running=0, queued=0)


def test_cancel_by_id_from_another_client(daemon):
    image, selection = region(np.random.default_rng(11))
    request, planes = request_for(image, selection, model="slow-200")
    codes = []

    def work():
        with daemon.connect() as client:
            try:
                client.enhance(request, planes)
            except AnswerError as error:
                codes.append(error.code)

    thread = threading.Thread(target=work)
    thread.start()
    daemon.await_status(running=1)
    with daemon.connect() as other:
        assert other.cancel(request.id)
        assert not other.cancel("no-such-job")
    thread.join(30)
    assert codes == ["cancelled"]
