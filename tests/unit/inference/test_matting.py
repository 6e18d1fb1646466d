"""Running the matting network: ONNX Runtime equals PyTorch, and errors are in words."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from maskupe.errors import InputError, MaskUPEError, WeightsError
from maskupe.inference import loading, matting
from maskupe.inference.matting import MattingPredictor, load_matting
from maskupe.registry import MATTES, WEIGHTS_FOLDER, find_weights

INSTALLED = sorted({path for name in MATTES.values() if (path := find_weights(name))})


def planes(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    found = rng.random((5, 256, 256)).astype(np.float32)
    found[3] = found[3] > 0.5
    found[4] = found[4] * 2 - 1
    return found


@pytest.mark.parametrize("path", INSTALLED, ids=lambda path: path.stem)
def test_the_graph_says_what_pytorch_says(path: Path) -> None:
    torch = pytest.importorskip("torch")
    from maskupe.inference.build import load_matting_network

    said = MattingPredictor(path, "cpu", 1)(planes())
    assert said.shape == (3, 256, 256) and said.dtype == np.float32
    assert said.min() >= 0 and said.max() <= 1
    network = load_matting_network(path)
    assert sum(value.numel() for value in network.parameters()) <= 700_000
    with torch.inference_mode():
        expected = network(torch.from_numpy(planes()[None]))[0].numpy()
    assert np.abs(said - expected).max() < 1e-3


def test_without_the_graph_pytorch_runs(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    shutil.copy(WEIGHTS_FOLDER / MATTES["default"], tmp_path / "alone.safetensors")
    alone = load_matting(tmp_path / "alone.safetensors", "cpu")
    shipped = load_matting("default", "cpu", 1)
    assert np.abs(alone(planes(1)) - shipped(planes(1))).max() < 1e-3
    assert load_matting("default", "cpu", 1) is shipped


def test_a_stranger_s_graph_is_run_apart_and_only_without_pytorch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx = pytest.importorskip("onnx")
    shipped = load_matting("default", "cpu", 1)(planes(1))
    source = WEIGHTS_FOLDER / MATTES["default"]
    # The graph takes its weights from the file that it was exported for.
    path = Path(shutil.copy(source, tmp_path))
    shutil.copy(source.with_suffix(".onnx"), tmp_path)
    monkeypatch.setattr(matting, "has_torch", lambda: False)
    monkeypatch.setattr(loading, "has_torch", lambda: False)
    assert np.abs(MattingPredictor(path, "cpu", 1)(planes(1)) - shipped).max() < 1e-5
    monkeypatch.undo()
    graph = path.with_suffix(".onnx")
    model = onnx.load(str(graph), load_external_data=False)
    model.graph.node.append(onnx.helper.make_node("Neg", [model.graph.output[0].name], ["maps_"]))
    model.graph.output[0].name = "maps_"
    graph.write_bytes(model.SerializeToString())
    assert np.abs(MattingPredictor(path, "cpu", 1)(planes(1)) - shipped).max() < 1e-3
    graph.unlink()
    monkeypatch.setattr(matting, "has_torch", lambda: False)
    with pytest.raises(WeightsError, match="no ONNX graph"):
        MattingPredictor(path, "cpu", 1)


def test_an_untrained_network_says_the_selections_own_ramp() -> None:
    torch = pytest.importorskip("torch")
    from maskupe.networks.matting import Matting

    network = Matting().eval()
    with torch.inference_mode():
        said = network(torch.from_numpy(planes(2)[None]))[0].numpy()
    assert np.allclose(said[0], 1 / (1 + np.exp(-6.0 * planes(2)[4])), atol=1e-4)


def test_what_cannot_be_loaded_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no matting network 'mat'"):
        load_matting("mat", "cpu")
    with pytest.raises(WeightsError, match="no matting network"):
        load_matting(WEIGHTS_FOLDER / "lantern.safetensors", "cpu")
    with pytest.raises(InputError):
        load_matting("default", "abacus")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes((WEIGHTS_FOLDER / MATTES["default"]).read_bytes()[:-100])
    with pytest.raises(WeightsError):
        load_matting(broken, "cpu")


def test_an_answer_that_is_not_finite_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = MattingPredictor(WEIGHTS_FOLDER / MATTES["default"], "cpu", 1)
    monkeypatch.setattr(predictor, "_run", lambda seen: np.full((1, 3, 256, 256), np.nan))
    with pytest.raises(MaskUPEError, match="no usable answer"):
        predictor(planes())
