"""A job's way through the real pipeline, on a graphics card whose memory does not suffice."""

import numpy as np
import pytest

from maskupe import Enhancer, Transition
from maskupe.maps import Window
from maskupe.rendering import torch_backend
from maskupe.rendering.renderer import BACKEND_VARIABLE
from maskupe_client.framing import pack
from maskupe_client.messages import parse
from maskupe_daemon.hardware import processor_name
from maskupe_daemon.job_runner import SMALL_STRIP, Timing, enhance
from maskupe_daemon.models import Library, Models
from tests.daemon.running import region, request_for
from tests.untrained import copy_matting, write_weights

torch = pytest.importorskip("torch")

SHAPE = (300, 500, 3)  # more than one usual strip of the renderer


@pytest.fixture
def models(tmp_path, monkeypatch):
    """Real weights; the renderer is the torch one on a graphics card."""
    write_weights(tmp_path, "deepupe-mconcat")
    copy_matting(tmp_path)
    monkeypatch.setattr("maskupe.registry.weights_folders", lambda: (tmp_path,))
    monkeypatch.setenv(BACKEND_VARIABLE, "torch:cuda")
    return Models(Library(), "cpu")


def give_a_gpu(monkeypatch, most_pixels):
    """A graphics card that is the processor, but has memory for strips of so many pixels only.

    Returns the sizes of the strips that each device was given.
    """
    prepare, tried = torch_backend.prepare, {"cuda": [], "cpu": []}

    def prepare_there(job, device):
        strip, rows = prepare(job, "cpu")

        def limited(first, last):
            size = (last - first) * job.width
            # The pipeline also tries its maps on small pictures; these do not count.
            if (job.height, job.width) == SHAPE[:2]:
                tried[device].append(size)
            if device == "cuda" and size > most_pixels:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
            strip(first, last)

        return limited, rows

    monkeypatch.setattr(torch_backend, "prepare", prepare_there)
    return tried


@pytest.mark.parametrize(
    ("most_pixels", "device", "note"),
    [
        (1 << 20, "cuda", None),
        (SMALL_STRIP, "cuda", "smaller strips"),
        (SMALL_STRIP // 8, "cpu", "the processor did the work"),
    ],
)
def test_smaller_strips_first_then_the_processor(models, monkeypatch, most_pixels, device, note):
    tried = give_a_gpu(monkeypatch, most_pixels)
    image, selection = region(np.random.default_rng(0), SHAPE)
    request, planes = request_for(image, selection, model="deepupe-mconcat")
    fields = parse(pack(request.header()), "client")
    told = []
    answer, results = enhance(models, fields, planes, told.append, Timing())
    assert told[-1] == 1.0
    if note:
        (sentence,) = answer["notes"]
        assert sentence.startswith("The graphics card ran out of memory, so ")
        assert note in sentence
    else:
        assert answer["notes"] == []
    # Without a card under this name, its name is what torch calls it.
    assert answer["renderer"] == ("torch:cuda" if device == "cuda" else "torch")
    assert answer["network"] == "torch:cpu"
    assert (answer["hardware"] == processor_name()) == (device == "cpu")
    done = {
        "cuda": sum(size for size in tried["cuda"] if size <= most_pixels),
        "cpu": sum(tried["cpu"]),
    }
    assert done == {"cuda": 0, "cpu": 0, device: SHAPE[0] * SHAPE[1]}
    # The same as with enough memory. torch computes the last pixels of a strip, which fill no
    # vector register, by other instructions: a value halfway between two levels may go either way.
    enhancer = models.get("deepupe-mconcat")
    wanted = enhancer.enhance_region(
        image, selection, None, window=Window(0, 0, SHAPE[1], SHAPE[0]), backend="torch"
    )
    off = np.abs(results[0].astype(int) - wanted.image)
    assert off.max() <= 1 and np.count_nonzero(off) <= 1e-4 * off.size
    assert not np.array_equal(results[0], image)


@pytest.mark.parametrize(
    ("edges", "denoise", "warmth", "saturation"),
    [("auto", 0.0, 0.0, 0.25), ("off", "auto", -1.0, 0.0), (12.5, 0.4, 0.3, -1.0)],
)
def test_the_library_gets_the_options_of_the_request(
    models, monkeypatch, edges, denoise, warmth, saturation
):
    give_a_gpu(monkeypatch, 1 << 20)
    asked = []
    enhance_region = Enhancer.enhance_region

    def noted(self, *planes, **options):
        asked.append(options)
        return enhance_region(self, *planes, **options)

    monkeypatch.setattr(Enhancer, "enhance_region", noted)
    image, selection = region(np.random.default_rng(0))
    options = {"strength": 0.5, "width": 3.0, "side": "inside", "edges": edges}
    options |= {"denoise": denoise, "warmth": warmth, "saturation": saturation}
    request, planes = request_for(image, selection, model="deepupe-mconcat", **options)
    fields = parse(pack(request.header()), "client")
    enhance(models, fields, planes, lambda _: None, Timing())
    told = tuple(asked[0][name] for name in ("strength", "denoise", "warmth", "saturation"))
    assert told == (0.5, denoise, warmth, saturation)
    assert asked[0]["transition"] == Transition(3.0, "inside", edges)


def test_other_faults_are_not_tried_again(models, monkeypatch):
    calls = []

    def broken(job, device):
        calls.append(device)
        raise RuntimeError("an illegal instruction was encountered")

    monkeypatch.setattr(torch_backend, "prepare", broken)
    image, selection = region(np.random.default_rng(0))
    request, planes = request_for(image, selection, model="deepupe-mconcat")
    fields = parse(pack(request.header()), "client")
    with pytest.raises(RuntimeError, match="illegal instruction"):
        enhance(models, fields, planes, lambda _: None, Timing())
    assert len(calls) == 1


def test_a_part_of_the_region_is_answered_with_that_part(models, monkeypatch):
    monkeypatch.delenv(BACKEND_VARIABLE)
    image, selection = region(np.random.default_rng(0), SHAPE)
    answers = []
    for part in (None, (40, 100, 120, 70)):
        request, planes = request_for(
            image, selection, model="deepupe-mconcat", outputs=("image", "areas"), part=part
        )
        fields = parse(pack(request.header()), "client")
        answers.append(enhance(models, fields, planes, lambda _: None, Timing()))
    (_, whole), (found, planes) = answers
    cut = slice(40, 160), slice(100, 170)
    assert [spec["shape"] for spec in found["planes"]] == [[120, 70, 3], [120, 70]]
    assert sum(found["counts"].values()) == 120 * 70
    assert np.abs(planes[0].astype(int) - whole[0][cut]).max() <= 1
    assert np.array_equal(planes[1], whole[1][cut])
    assert not np.array_equal(planes[0], image[cut])
