"""Networks on a card: the same results as one kernel at a time, and as ONNX Runtime's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from maskupe import registry
from maskupe.maps import shapes_of
from tests.cuda.here import needs_card

torch = pytest.importorskip("torch")

from maskupe.inference import replay  # noqa: E402

MODELS = ("lantern", "star-dce-mconcat", "star-dce-mnorm", "deepupe-mconcat", "deepupe-mnorm")


def seen(seed):
    """A context and its areas."""
    rng = np.random.default_rng(seed)
    context = rng.random((256, 256, 3), np.float32) ** 2
    areas = np.zeros((2, 256, 256), np.float32)
    areas[0, 40:120, 60:200], areas[1, 120:130, 60:200] = 1, 1
    return context, areas


def arrays(maps):
    found = {}
    for name in shapes_of(type(maps)):
        value = maps
        for step in name.split("."):
            value = getattr(value, step)
        found[name] = value
    return found


def test_what_cannot_be_recorded_is_run_as_it_is(monkeypatch):
    def refuse(*_):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(replay, "Replay", refuse)
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *_: tensor)
    run = replay.runner(lambda x, y: (x + y, x[0]), "cuda", [(2, 3), (2, 3)])
    x, y = (np.full((2, 3), value, np.float32) for value in (1, 2))
    total, first = run(x, y)
    assert (total == 3).all() and first.shape == (3,)


@needs_card
@pytest.mark.parametrize("model", MODELS)
def test_a_recorded_network_gives_what_its_kernels_give(model):
    from maskupe.inference.build import load
    from maskupe.inference.torch_backend import TorchPredictor
    from maskupe.networks.base import LocalNetwork

    path = registry.weights_path(registry.resolve(model))
    predictor = TorchPredictor(path, model, "cuda")
    assert isinstance(predictor._network, replay.Replay)
    _, network, _ = load(path)
    network = network.to("cuda").requires_grad_(False)
    for seed in range(3):
        context, areas = seen(seed)
        got = arrays(predictor.predict(context, areas))
        planes = torch.from_numpy(context.transpose(2, 0, 1)[None].copy()).cuda()
        with torch.inference_mode():
            if isinstance(network, LocalNetwork):
                expected = network.predict(planes, torch.from_numpy(areas[None]).cuda())
            else:
                expected = network.predict(planes)
        for (name, value), tensor in zip(got.items(), expected, strict=True):
            wanted = tensor.cpu().numpy().reshape(-1)[: value.size]
            np.testing.assert_allclose(value.reshape(-1), wanted, rtol=0, atol=1e-6, err_msg=name)


@needs_card
@pytest.mark.parametrize("model", MODELS)
def test_a_card_and_onnx_runtime_agree(model):
    from maskupe.inference import load_predictor

    there, here = (load_predictor(model, device=device) for device in ("cuda", "cpu"))
    context, areas = seen(5)
    for name, value in arrays(here.predict(context, areas)).items():
        got = arrays(there.predict(context, areas))[name]
        # Convolutions on cards count with 10 bits (TF32) where PyTorch lets them.
        assert np.abs(got - value).max() <= 2e-2 * max(1.0, float(np.abs(value).max())), name


@needs_card
def test_threads_take_turns():
    from maskupe.inference import load_predictor

    predictor = load_predictor("lantern", device="cuda")
    inputs = [seen(seed) for seed in range(8)]
    alone = [predictor.predict(*pair).table for pair in inputs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda pair: predictor.predict(*pair).table, inputs))
    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(one, other)


@needs_card
def test_the_matting_network_agrees_with_onnx_runtime():
    from maskupe.inference.matting import load_matting

    planes = np.random.default_rng(0).random((5, 256, 256), np.float32)
    there, here = load_matting(device="cuda")(planes), load_matting(device="cpu")(planes)
    assert np.abs(there - here).max() <= 2e-2
