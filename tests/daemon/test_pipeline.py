"""The daemon with real networks: the same pixels as the library's, and damaged weights refused."""

import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from maskupe import Enhancer, Transition
from maskupe.areas.region import region_of
from maskupe.areas.transition import SIDES
from maskupe.maps import Window
from maskupe.preprocess.context import CONTEXT_EDGE, downscale
from maskupe.registry import DEFAULT
from maskupe.rendering import default_backend
from maskupe_client.client import EnhanceRequest
from maskupe_client.errors import AnswerError
from maskupe_client.launcher import WANTED_VARIABLE
from maskupe_daemon.hardware import hardware_name
from tests.daemon.running import (
    REST,
    as_array,
    assert_memory_stays_flat,
    region,
    request_for,
    running_daemon,
    spec,
)
from tests.untrained import NETWORK, copy_matting, write_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A folder with good weights for two names, and one file of each kind of damage."""
    folder = tmp_path_factory.mktemp("weights")
    good = write_weights(folder, NETWORK)
    copy_matting(folder)
    (folder / "deepupe.safetensors").write_bytes(good.read_bytes()[:-1000])
    damaged = bytearray(good.read_bytes())
    damaged[5] ^= 0xFF
    (folder / "star-dce.safetensors").write_bytes(damaged)
    # A sound file, but of another network than its name promises.
    shutil.copy(good, folder / f"{DEFAULT}.safetensors")
    return folder


@pytest.fixture(scope="module")
def real(weights):
    """A daemon with the real pipeline."""
    folder = {"MASKUPE_TEST_WEIGHTS": str(weights)}
    with running_daemon(module="tests.daemon.with_weights", env=folder) as daemon:
        yield daemon


@pytest.mark.parametrize("dtype", ["u8", "u16", "f32"])
@pytest.mark.parametrize(("channels", "edges"), [(1, "off"), (4, 20.0)])
def test_the_daemon_gives_what_the_library_gives(real, weights, dtype, channels, edges):
    rng = np.random.default_rng(channels)
    image, _ = region(rng, (150, 220, channels), dtype)
    selection = np.zeros((150, 220), np.uint8)
    selection[40:80, 60:110] = 255
    transition = Transition(9, "centred", edges)
    enhancer = Enhancer.load(weights / f"{NETWORK}.safetensors")
    wanted = enhancer.enhance(image, selection, strength=0.8, transition=transition)
    rows, columns = region_of(selection, transition)
    part, chosen = np.ascontiguousarray(image[rows, columns]), selection[rows, columns].copy()
    context = downscale(image, CONTEXT_EDGE)
    request = EnhanceRequest(
        image=spec(part),
        layer=image.shape[:2],
        origin=(rows.start, columns.start),
        selection=spec(chosen),
        context=spec(context),
        model=NETWORK,
        strength=0.8,
        width=9,
        side="centred",
        edges=edges,
    )
    with real.connect() as client:
        header, answer = client.enhance(request, [part, chosen, context])
    result = image.copy()
    result[rows, columns] = as_array(answer["image"], part)
    assert header["model"] == NETWORK
    assert header["device"] in ("cpu", "cuda")
    assert header["network"].partition(":")[0] in ("onnxruntime", "torch")
    assert header["network"].partition(":")[2] == header["device"]
    assert header["renderer"] == default_backend()
    assert header["hardware"] == hardware_name([header["device"]])
    with real.connect() as client:
        for field in ("network", "renderer", "hardware"):
            assert client.welcome[field] == header[field] == client.status()[field]
    step = 1 if dtype != "f32" else 1e-5
    assert np.abs(result.astype(np.float64) - wanted.astype(np.float64)).max() <= step
    assert not np.array_equal(result, image)


@pytest.mark.parametrize(
    ("model", "code"),
    [
        ("deepupe", "bad-weights"),
        ("star-dce", "bad-weights"),
        ("default", "bad-weights"),
        ("deepupe-mnorm", "bad-weights"),
        (f"{NETWORK}.safetensors", "unknown-model"),
    ],
)
def test_weights_that_are_cut_damaged_wrong_or_missing(real, model, code):
    image, selection = region(np.random.default_rng(0))
    request = EnhanceRequest(
        image=spec(image), layer=image.shape[:2], selection=spec(selection), model=model
    )
    with real.connect() as client, pytest.raises(AnswerError) as caught:
        client.enhance(request, [image, selection])
    assert caught.value.code == code
    assert caught.value.message.endswith(".")


#: Jobs of each of the sixteen clients: most of the 18 different ones, several at a time.
JOBS_EACH = 6


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_sixteen_clients_with_mixed_jobs_get_what_the_library_gives(real, weights):
    """Jobs of every depth, size and strength, each compared with the library's answer."""
    rng = np.random.default_rng(0)
    model = NETWORK
    enhancer = Enhancer.load(weights / f"{model}.safetensors")
    jobs = []
    for number, dtype in enumerate(["u8", "u16", "f32"] * 2):
        shape = (*(int(side) for side in rng.integers(30, 150, 2)), number % 4 + 1)
        image, selection = region(rng, shape, dtype)
        width, side = 2.0 + number, SIDES[number % len(SIDES)]
        for strength, warmth, saturation in ((0.4, -1.0, 0.0), (1.0, 0.0, -0.7), (1.7, 0.5, 1.0)):
            found = enhancer.enhance_region(
                image,
                selection,
                None,
                window=Window(0, 0, shape[1], shape[0]),
                strength=strength,
                warmth=warmth,
                saturation=saturation,
                transition=Transition(width, side),
            )
            options = {"strength": strength, "warmth": warmth, "saturation": saturation}
            options |= {"width": width, "side": side}
            jobs.append((image, selection, options, found.image.astype(np.float64)))
    wrong, right = [], []

    def work(number):
        rng = np.random.default_rng(number)
        with real.connect(name=f"client-{number}") as client:
            for _ in range(JOBS_EACH):
                image, selection, options, wanted = jobs[rng.integers(len(jobs))]
                request, planes = request_for(image, selection, model=model, **options)
                _, answer = client.enhance(request, planes)
                result = as_array(answer["image"], image)
                step = 1 if image.dtype.kind == "u" else 1e-5
                fits = np.abs(result - wanted).max() <= step
                (right if fits else wrong).append(request.id)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    assert not wrong
    assert len(set(right)) == 16 * JOBS_EACH


def run_seconds(real, ending):
    """What the log says of the last job that ended so."""
    lines = [line for line in real.log.splitlines() if f" {ending} client=" in line]
    return float(re.search(r" run=([0-9.]+)s", lines[-1])[1])


def test_a_job_ends_soon_after_cancel_also_before_its_pixels_are_rendered(real):
    """Most of a large job is areas and averages, which look out for it between strips too."""
    image = np.full((3000, 3000, 3), 40, np.uint8)
    selection = np.zeros(image.shape[:2], np.uint8)
    selection[500:2500, 500:2500] = 255
    request = EnhanceRequest(
        image=spec(image),
        layer=image.shape[:2],
        selection=spec(selection),
        model=NETWORK,
    )

    class ChangedMindError(Exception):
        pass

    def change_mind(now):
        if now.stage == "running":
            raise ChangedMindError

    shares = []
    with real.connect() as client:
        while len(shares) < 5:  # the machine may have other things to do meanwhile
            client.enhance(replace(request, id=f"in-full-{len(shares)}"), [image, selection])
            with pytest.raises(ChangedMindError):
                client.enhance(
                    replace(request, id=f"cancelled-{len(shares)}"), [image, selection], change_mind
                )
            real.await_status(running=0)
            shares.append(run_seconds(real, "cancelled") / run_seconds(real, "ok"))
            if shares[-1] < 0.5:
                return
    raise AssertionError(shares)


@pytest.mark.slow
def test_memory_stays_flat():
    """With the model and the weights that people use."""
    rest = {"MASKUPE_TEST_REST": str(REST)}
    with running_daemon(module="tests.daemon.with_weights", env=rest) as shipped:
        assert_memory_stays_flat(shipped, "default", ("nobody", "unknown-model"))


def test_a_daemon_that_is_wanted_loads_the_default_model_and_drops_it_again():
    """Before any job has come: who asks for the status keeps no model in memory."""
    options = ("--device", "cpu", "--idle-unload", "1")
    module, wanted = "tests.daemon.with_weights", {WANTED_VARIABLE: "1"}
    with running_daemon(*options, module=module, env=wanted) as shipped:
        shipped.await_status(loaded=["lantern"])
        shipped.await_status(loaded=[])
        assert shipped.status()["served"] == 0


def test_a_daemon_that_nobody_wants_yet_loads_no_model():
    with running_daemon("--device", "cpu", module="tests.daemon.with_weights") as shipped:
        shipped.status()
        time.sleep(0.5)
        assert shipped.status()["loaded"] == []


def test_models_are_listed_without_being_loaded(real):
    """Also those that will turn out to be damaged."""
    with real.connect() as client:
        assert {NETWORK, "deepupe", "star-dce"} <= set(client.welcome["models"])
        assert not {"deepupe", "star-dce"} & set(client.status()["loaded"])
