"""Loading models and running them, on both engines."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from maskupe import registry, weights_file
from maskupe.areas.coverage import full_coverage
from maskupe.errors import InputError, MaskUPEError, UnknownModelError, WeightsError
from maskupe.inference import Predictor, graphfile, load_predictor, loading, onnx_backend
from maskupe.inference.build import build, load, save
from maskupe.inference.export import export_onnx
from maskupe.inference.graphfile import UnfitGraphError
from maskupe.inference.onnx_backend import Session
from maskupe.inference.torch_backend import TorchPredictor
from maskupe.maps import AffineGrid, CurveMaps, Window, tensor_names
from maskupe.rendering import render

Example = tuple[np.ndarray, np.ndarray]

MODELS = ["star-dce", "star-dce-mnorm", "deepupe-mconcat"]

ABOUT = {"recipe": "test", "metrics": {"psnr_a": 1.0}}


def part(maps: object, name: str) -> np.ndarray:
    for step in name.split("."):
        maps = getattr(maps, step)
    assert isinstance(maps, np.ndarray)
    return maps


def stored(folder: Path, name: str) -> Path:
    """A model with weights that let the mask and the norms matter."""
    torch.manual_seed(0)
    config = registry.resolve(name)
    network = build(config)
    with torch.no_grad():
        for key, parameter in network.named_parameters():
            if parameter.ndim > 1 and "colour" not in key:
                parameter.add_(0.05 * torch.randn_like(parameter))
        for key, buffer in network.named_buffers():
            if key.endswith("running_mean"):
                buffer.uniform_(-0.2, 0.2)
    path = folder / f"{name}.safetensors"
    save(path, config, network, ABOUT)
    return path


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of both kinds and all conditionings, each with a graph."""
    folder = tmp_path_factory.mktemp("weights")
    for name in MODELS:
        path = stored(folder, name)
        export_onnx(load(path)[1], path)
    return folder


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(exported, tmp_path / "weights"))


def example(seed: int = 0) -> Example:
    random = np.random.default_rng(seed)
    context = (random.random((256, 256, 3)) ** 2).astype(np.float32)
    areas = np.zeros((2, 256, 256), np.float32)
    areas[0, 40:150, 60:200] = 1.0
    areas[1, 150:180, 60:200] = 0.5
    return context, areas


@pytest.mark.parametrize("name", MODELS)
def test_both_engines_agree(exported: Path, name: str) -> None:
    path = exported / f"{name}.safetensors"
    fast, reference = load_predictor(path, "cpu"), TorchPredictor(path, name, "cpu")
    assert (fast.backend, reference.backend) == ("onnxruntime", "torch")
    assert fast.kind is reference.kind is (AffineGrid if "deepupe" in name else CurveMaps)
    for seed in range(2):
        context, areas = example(seed)
        ours, theirs = fast.predict(context, areas), reference.predict(context, areas)
        for tensor in tensor_names(fast.kind):
            expected = part(theirs, tensor)
            scale = max(1.0, float(np.abs(expected).max()))
            assert np.abs(part(ours, tensor) - expected).max() <= 1e-3 * scale, tensor


@pytest.mark.parametrize("name", MODELS)
def test_predictions_are_those_of_the_network(exported: Path, name: str) -> None:
    path = exported / f"{name}.safetensors"
    context, areas = example()
    predictor = load_predictor(path)
    assert predictor.name == name
    assert predictor.metadata["recipe"] == "test"
    maps = predictor.predict(context, areas)
    network = load(path)[1]
    image, mask = torch.from_numpy(context.transpose(2, 0, 1)[None]), torch.from_numpy(areas[None])
    with torch.no_grad():
        out = network(image, mask) if registry.resolve(name).local else network(image)
    first = tensor_names(predictor.kind)[0]
    expected = out.maps[0][0].numpy()
    scale = max(1.0, float(np.abs(expected).max()))
    assert np.allclose(part(maps, first), expected, atol=1e-3 * scale)
    changed = part(predictor.predict(context, np.zeros_like(areas)), first)
    assert np.array_equal(changed, part(maps, first)) != registry.resolve(name).local


def test_a_guide_makes_no_step_where_a_ends(exported: Path) -> None:
    name = "deepupe-mconcat"
    predictor = load_predictor(exported / f"{name}.safetensors")
    context, areas = example()
    maps = predictor.predict(context, areas)
    assert isinstance(maps, AffineGrid)
    network = load(exported / f"{name}.safetensors")[1]
    image, mask = torch.from_numpy(context.transpose(2, 0, 1)[None]), torch.from_numpy(areas[None])
    all_a = torch.stack([torch.ones(1, 256, 256), torch.zeros(1, 256, 256)], dim=1)
    with torch.no_grad():
        expected = network.apply(network.predict(image, mask), image, all_a).image[0]
    whole = full_coverage(256, 256)
    lit = render(maps, context, whole, Window(0, 0, 256, 256))
    assert np.abs(lit - expected.permute(1, 2, 0).numpy()).max() < 2e-3


@pytest.mark.parametrize("name", MODELS)
def test_the_graph_holds_no_weights_and_no_paths(exported: Path, name: str) -> None:
    graph = exported / f"{name}.onnx"
    weights = exported / f"{name}.safetensors"
    model = onnx.load(str(graph), load_external_data=False)
    outside = [t for t in model.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    bytes_outside = 0
    for tensor in outside:
        about = {entry.key: entry.value for entry in tensor.external_data}
        assert about["location"] == weights.name
        bytes_outside += int(about["length"])
    stored = sum(tensor.length for tensor in weights_file.read_header(weights).tensors.values())
    assert bytes_outside > 0.9 * stored
    half = [t for t in outside if t.data_type == onnx.TensorProto.FLOAT16]
    # Only DeepUPE has layers that are large enough to be stored in half precision.
    assert bool(half) == ("deepupe" in name)
    assert graph.stat().st_size < 40_000
    assert b"site-packages" not in graph.read_bytes() and b".py" not in graph.read_bytes()


def test_onnx_needs_no_torch(exported: Path) -> None:
    program = f"""
import sys
sys.modules["torch"] = None
import numpy as np
from maskupe.inference import load_predictor
p = load_predictor({str(exported / "star-dce.safetensors")!r})
p.predict(np.zeros((256, 256, 3), np.float32), np.zeros((2, 256, 256), np.float32))
print(p.backend, p.device)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["onnxruntime", "cpu"], done.stderr


def test_without_a_graph_torch_is_used(folder: Path) -> None:
    (folder / "star-dce.onnx").unlink()
    predictor = load_predictor(folder / "star-dce.safetensors")
    assert predictor.backend == "torch"
    maps = predictor.predict(*example())
    assert isinstance(maps, CurveMaps) and maps.maps.shape == (8, 3, 256, 256)


def test_a_graph_of_other_weights_is_not_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "star-dce.safetensors"
    config, network, _ = load(path)
    with torch.no_grad():
        network.curves.bias.add_(0.1)
    save(path, config, network, ABOUT)
    assert load_predictor(path).backend == "torch"
    monkeypatch.setattr(loading, "_has_torch", lambda: False)
    with pytest.raises(WeightsError, match="belongs to other weights"):
        load_predictor(path)


def test_a_damaged_graph_or_weight_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, path = folder / "star-dce.onnx", folder / "star-dce.safetensors"
    graph.write_bytes(graph.read_bytes()[:500])
    assert load_predictor(path).backend == "torch"
    content = path.read_bytes()
    path.write_bytes(content[:-4])
    with pytest.raises(WeightsError, match="damaged"):
        load_predictor(path)
    path.write_bytes(content)
    graph.unlink()
    monkeypatch.setattr(loading, "_has_torch", lambda: False)
    with pytest.raises(WeightsError, match=r"no ONNX graph.*maskupe\[torch\]"):
        load_predictor(path)
    path.unlink()
    with pytest.raises(InputError, match="There is no weight file"):
        load_predictor(path)


def test_names_come_from_the_registry(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "weights_folders", lambda: (folder,))
    assert load_predictor("star-dce-mnorm").name == "star-dce-mnorm"
    with pytest.raises(UnknownModelError, match="no model"):
        load_predictor("../weights/star-dce")
    with pytest.raises(WeightsError, match=r"No weights.*deepupe-mconcat"):
        load_predictor("deepupe")


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loading.choose_device("cpu") == "cpu"
    with pytest.raises(InputError, match="device 'tpu' is unknown"):
        loading.choose_device("tpu")
    monkeypatch.setattr(loading, "_may_have_cuda", lambda: True)
    monkeypatch.setattr(loading, "_works", lambda device: device == "cuda")
    assert loading.choose_device("auto") == loading.choose_device("cuda") == "cuda"
    with pytest.raises(InputError, match="finds no mps device"):
        loading.choose_device("mps")
    monkeypatch.setattr(loading, "_has_torch", lambda: False)
    assert loading.choose_device("auto") == "cpu"
    with pytest.raises(InputError, match=r"needs PyTorch.*maskupe\[torch\]"):
        loading.choose_device("cuda")


def test_what_is_put_in_is_checked(exported: Path) -> None:
    predictor = load_predictor(exported / "star-dce.safetensors")
    context, areas = example()
    with pytest.raises(ValueError, match="Expected"):
        predictor.predict(context[:128], areas)
    with pytest.raises(ValueError, match="Expected"):
        predictor.predict(context, areas[:1])
    clipped = predictor.predict(np.clip(context * 3 - 1, 0, 1), areas)
    same = predictor.predict(context * 3 - 1, areas)
    assert isinstance(clipped, CurveMaps) and isinstance(same, CurveMaps)
    assert np.array_equal(clipped.maps, same.maps)


def test_an_answer_that_is_not_finite_is_an_error(exported: Path) -> None:
    predictor = load_predictor(exported / "star-dce.safetensors")
    context, areas = example()
    context[3, 3, 0] = np.nan
    with pytest.raises(MaskUPEError, match="no usable answer"):
        predictor.predict(context, areas)


@pytest.mark.parametrize("engine", ["onnxruntime", "torch"])
def test_threads_get_their_own_answers(exported: Path, engine: str) -> None:
    path = exported / "star-dce-mnorm.safetensors"
    predictor: Predictor
    predictor = load_predictor(path) if engine == "onnxruntime" else TorchPredictor(path, "", "cpu")
    jobs = []
    for index in range(3):
        context, areas = example(index)
        jobs.append((context, np.roll(areas, 30 * index, axis=2)))
    expected = [part(predictor.predict(*job), "maps") for job in jobs]
    assert not np.allclose(expected[0], expected[1], atol=1e-4)
    wrong: list[int] = []

    def work(index: int) -> None:
        for _ in range(3):
            got = part(predictor.predict(*jobs[index]), "maps")
            if not np.allclose(got, expected[index], atol=1e-5):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# ---------------------------------------------------------------------------- graphs of strangers


def endless(model: onnx.ModelProto) -> None:
    """A loop that goes on as long as its own condition, which is always true, holds."""
    make, boolean = onnx.helper, onnx.TensorProto.BOOL
    body = make.make_graph(
        [make.make_node("Identity", ["on"], ["still"])],
        "body",
        [
            make.make_tensor_value_info("i", onnx.TensorProto.INT64, []),
            make.make_tensor_value_info("on", boolean, []),
        ],
        [make.make_tensor_value_info("still", boolean, [])],
    )
    yes = make.make_tensor("yes", boolean, [], [True])
    model.graph.node.insert(0, make.make_node("Constant", [], ["yes"], value=yes))
    model.graph.node.insert(1, make.make_node("Loop", ["", "yes"], [], body=body))


def branching(model: onnx.ModelProto) -> None:
    empty = onnx.helper.make_graph([], "empty", [], [])
    nodes = [onnx.helper.make_node("If", ["yes"], [], then_branch=empty, else_branch=empty)]
    model.graph.node.extend(nodes)


def with_a_function(model: onnx.ModelProto) -> None:
    model.functions.add().name = "own"


def of_another_domain(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.microsoft"


def with_foreign_weights(model: onnx.ModelProto) -> None:
    outside = next(tensor for tensor in model.graph.initializer if tensor.external_data)
    entry = next(entry for entry in outside.external_data if entry.key == "location")
    entry.value = "../secret"


def very_long(model: onnx.ModelProto) -> None:
    for number in range(10_001):
        model.graph.node.append(onnx.helper.make_node("Identity", ["context"], [f"n{number}"]))


SPOILED = {
    endless: "has loops or branches",
    branching: "has loops or branches",
    with_a_function: "has functions of its own",
    of_another_domain: "operators that are not the standard's",
    with_foreign_weights: "takes its weights from another file",
    very_long: "nodes",
}


@pytest.mark.parametrize("spoil", SPOILED)
def test_a_graph_that_no_export_makes_is_not_run_but_our_own_network(
    folder: Path, exported: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Any], None]
) -> None:
    graph, path = folder / "star-dce.onnx", folder / "star-dce.safetensors"
    model = onnx.load(str(graph), load_external_data=False)
    spoil(model)
    graph.write_bytes(model.SerializeToString())
    predictor = load_predictor(path)
    assert predictor.backend == "torch"
    maps = predictor.predict(*example())
    expected = load_predictor(exported / "star-dce.safetensors").predict(*example())
    np.testing.assert_allclose(part(maps, "maps"), part(expected, "maps"), atol=1e-3)
    monkeypatch.setattr(loading, "_has_torch", lambda: False)
    with pytest.raises(WeightsError, match=SPOILED[spoil]):
        load_predictor(path)


def test_every_cut_through_a_graph_is_a_sentence(folder: Path) -> None:
    graph, path = folder / "star-dce.onnx", folder / "star-dce.safetensors"
    content = graph.read_bytes()
    for size in range(0, 3000, 37):
        graph.write_bytes(content[:size])
        with pytest.raises((UnfitGraphError, WeightsError)):
            graphfile.check(graph, path)
            Session(graph, path, 1)


@pytest.fixture
def slow(folder: Path) -> Path:
    """Weights with a graph that has nothing forbidden and takes minutes."""
    graph, path = folder / "star-dce.onnx", folder / "star-dce.safetensors"
    model = onnx.load(str(graph), load_external_data=False)
    make = onnx.helper.make_node
    shape = onnx.helper.make_tensor("shape", onnx.TensorProto.INT64, [2], [1500, 1500])
    nodes = [
        make("ReduceMean", ["context"], ["slow_mean"], keepdims=0),
        make("Constant", [], ["slow_shape"], value=shape),
        make("Expand", ["slow_mean", "slow_shape"], ["slow_0"]),
    ]
    nodes += [make("MatMul", [f"slow_{n}", f"slow_{n}"], [f"slow_{n + 1}"]) for n in range(2000)]
    nodes += [make("ReduceMin", ["slow_2000"], ["slow_least"], keepdims=0)]
    last = model.graph.node[-1]
    name = last.output[0]
    last.output[0] = "quick"
    nodes += [make("Sum", ["quick", "slow_least"], [name])]
    model.graph.node.extend(nodes)
    graph.write_bytes(model.SerializeToString())
    return path


def test_a_graph_that_takes_too_long_is_ended(slow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_backend, "LONGEST", 0.5)
    predictor = load_predictor(slow)
    assert predictor.backend == "onnxruntime"
    began = time.monotonic()
    with pytest.raises(WeightsError, match=r"took longer than 0\.5 s"):
        predictor.predict(*example())
    assert time.monotonic() - began < 30


def test_ctrl_c_ends_a_graph_that_runs(slow: Path) -> None:
    # A shell starts what runs in the background with Ctrl-C ignored.
    program = f"""
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
import numpy as np
from maskupe.inference import load_predictor
p = load_predictor({str(slow)!r})
print("begins", flush=True)
p.predict(np.ones((256, 256, 3), np.float32), np.zeros((2, 256, 256), np.float32))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begins\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in complaint
