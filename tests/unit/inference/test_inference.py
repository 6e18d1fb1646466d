"""Loading models and running them, on both engines."""

from __future__ import annotations

import io
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
import psutil
import pytest
import torch

from maskupe import registry, weights_file
from maskupe.areas.coverage import full_coverage
from maskupe.errors import InputError, MaskUPEError, UnknownModelError, WeightsError
from maskupe.inference import Predictor, confined, graphfile, load_predictor, loading
from maskupe.inference.build import build, load, save
from maskupe.inference.confined import ConfinedSession
from maskupe.inference.export import export_onnx
from maskupe.inference.graphfile import UnfitGraphError
from maskupe.inference.onnx_backend import OnnxPredictor
from maskupe.inference.session import Session
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


@pytest.fixture
def shipped(exported: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The models as if they came with the package: their graphs are run."""
    monkeypatch.setattr(registry, "WEIGHTS_FOLDER", exported)
    return exported


@pytest.mark.parametrize("name", MODELS)
def test_both_engines_agree(shipped: Path, name: str) -> None:
    path = shipped / f"{name}.safetensors"
    fast, reference = load_predictor(path, "cpu"), TorchPredictor(path, name, "cpu")
    assert (fast.backend, reference.backend) == ("onnxruntime", "torch")
    assert fast.map_type is reference.map_type is (AffineGrid if "deepupe" in name else CurveMaps)
    for seed in range(2):
        context, areas = example(seed)
        ours, theirs = fast.predict(context, areas), reference.predict(context, areas)
        for tensor in tensor_names(fast.map_type):
            expected = part(theirs, tensor)
            scale = max(1.0, float(np.abs(expected).max()))
            assert np.abs(part(ours, tensor) - expected).max() <= 1e-3 * scale, tensor


@pytest.mark.parametrize("name", MODELS)
def test_predictions_are_those_of_the_network(shipped: Path, name: str) -> None:
    path = shipped / f"{name}.safetensors"
    context, areas = example()
    predictor = load_predictor(path)
    assert predictor.name == name
    assert predictor.metadata["recipe"] == "test"
    maps = predictor.predict(context, areas)
    network = load(path)[1]
    image, mask = torch.from_numpy(context.transpose(2, 0, 1)[None]), torch.from_numpy(areas[None])
    with torch.no_grad():
        out = network(image, mask) if registry.resolve(name).local else network(image)
    first = tensor_names(predictor.map_type)[0]
    expected = out.maps[0][0].numpy()
    scale = max(1.0, float(np.abs(expected).max()))
    assert np.allclose(part(maps, first), expected, atol=1e-3 * scale)
    changed = part(predictor.predict(context, np.zeros_like(areas)), first)
    assert np.array_equal(changed, part(maps, first)) != registry.resolve(name).local


def test_a_guide_makes_no_step_where_a_ends(shipped: Path) -> None:
    name = "deepupe-mconcat"
    predictor = load_predictor(shipped / f"{name}.safetensors")
    context, areas = example()
    maps = predictor.predict(context, areas)
    assert isinstance(maps, AffineGrid)
    network = load(shipped / f"{name}.safetensors")[1]
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
for model in ("default", {str(exported / "star-dce.safetensors")!r}):
    p = load_predictor(model)
    p.predict(np.zeros((256, 256, 3), np.float32), np.zeros((2, 256, 256), np.float32))
    print(p.backend, p.device)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["onnxruntime cpu"] * 2, done.stderr


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
    with monkeypatch.context() as patched:
        patched.setattr(registry, "WEIGHTS_FOLDER", folder)
        assert load_predictor(path).backend == "torch"
    monkeypatch.setattr(loading, "has_torch", lambda: False)
    with pytest.raises(WeightsError, match="belongs to other weights"):
        load_predictor(path)


def test_a_damaged_graph_or_weight_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, path = folder / "star-dce.onnx", folder / "star-dce.safetensors"
    graph.write_bytes(graph.read_bytes()[:500])
    with monkeypatch.context() as patched:
        patched.setattr(registry, "WEIGHTS_FOLDER", folder)
        assert load_predictor(path).backend == "torch"
    content = path.read_bytes()
    path.write_bytes(content[:-4])
    with pytest.raises(WeightsError, match="damaged"):
        load_predictor(path)
    path.write_bytes(content)
    graph.unlink()
    monkeypatch.setattr(loading, "has_torch", lambda: False)
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
    monkeypatch.setattr(loading, "has_torch", lambda: False)
    assert loading.choose_device("auto") == "cpu"
    with pytest.raises(InputError, match=r"needs PyTorch.*maskupe\[torch\]"):
        loading.choose_device("cuda")


def test_what_is_put_in_is_checked(shipped: Path) -> None:
    predictor = load_predictor(shipped / "star-dce.safetensors")
    context, areas = example()
    with pytest.raises(ValueError, match="Expected"):
        predictor.predict(context[:128], areas)
    with pytest.raises(ValueError, match="Expected"):
        predictor.predict(context, areas[:1])
    clipped = predictor.predict(np.clip(context * 3 - 1, 0, 1), areas)
    same = predictor.predict(context * 3 - 1, areas)
    assert isinstance(clipped, CurveMaps) and isinstance(same, CurveMaps)
    assert np.array_equal(clipped.maps, same.maps)


def test_an_answer_that_is_not_finite_is_an_error(shipped: Path) -> None:
    predictor = load_predictor(shipped / "star-dce.safetensors")
    context, areas = example()
    context[3, 3, 0] = np.nan
    with pytest.raises(MaskUPEError, match="no usable answer"):
        predictor.predict(context, areas)


@pytest.mark.parametrize("engine", ["onnxruntime", "torch"])
def test_threads_get_their_own_answers(shipped: Path, engine: str) -> None:
    path = shipped / "star-dce-mnorm.safetensors"
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


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where PyTorch is not installed: nothing but the graph can be run."""
    monkeypatch.setattr(loading, "has_torch", lambda: False)


def test_a_stranger_s_graph_is_not_run_but_our_own_network(
    exported: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the graph says: here it answers with other maps, and looks harmless."""
    graph, path = folder / "star-dce.onnx", folder / "star-dce.safetensors"
    model = onnx.load(str(graph), load_external_data=False)
    last = model.graph.node[-1]
    wanted = last.output[0]
    last.output[0] = "right"
    model.graph.node.append(onnx.helper.make_node("Neg", ["right"], [wanted]))
    graph.write_bytes(model.SerializeToString())
    expected = part(TorchPredictor(exported / path.name, "", "cpu").predict(*example()), "maps")
    predictor = load_predictor(path)
    assert predictor.backend == "torch"
    np.testing.assert_allclose(part(predictor.predict(*example()), "maps"), expected, atol=1e-5)
    # The same graph says the opposite where it is trusted.
    monkeypatch.setattr(registry, "WEIGHTS_FOLDER", folder)
    wrong = part(load_predictor(path).predict(*example()), "maps")
    np.testing.assert_allclose(wrong, -expected, atol=1e-3)


def process_of(predictor: Predictor) -> psutil.Process:
    """The process in which a predictor's graph runs."""
    assert isinstance(predictor, OnnxPredictor)
    assert isinstance(predictor._session, ConfinedSession)
    assert predictor._session._process is not None
    return psutil.Process(predictor._session._process.pid)


@pytest.mark.parametrize("name", ["star-dce", "deepupe-mconcat"])
def test_without_pytorch_it_runs_in_a_process_of_its_own(
    exported: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = exported / f"{name}.safetensors"
    reference = TorchPredictor(path, name, "cpu")
    monkeypatch.setattr(loading, "has_torch", lambda: False)
    predictor = load_predictor(path)
    assert predictor.backend == "onnxruntime"
    child = process_of(predictor)
    assert "maskupe.inference.confined" in child.cmdline()
    for seed in range(2):
        ours, theirs = (each.predict(*example(seed)) for each in (predictor, reference))
        for tensor in tensor_names(predictor.map_type):
            expected = part(theirs, tensor)
            scale = max(1.0, float(np.abs(expected).max()))
            assert np.abs(part(ours, tensor) - expected).max() <= 1e-3 * scale, tensor
    # A process that was lost is no reason to fail: another one is started.
    child.kill()
    assert not psutil.wait_procs([child], 20)[1]
    assert np.isfinite(
        part(predictor.predict(*example()), tensor_names(predictor.map_type)[0])
    ).all()
    child = process_of(predictor)
    del predictor
    assert not psutil.wait_procs([child], 20)[1]


@pytest.mark.parametrize("spoil", SPOILED)
def test_a_graph_that_no_export_makes_is_not_run(
    folder: Path, no_torch: None, spoil: Callable[[Any], None]
) -> None:
    graph, path = folder / "star-dce.onnx", folder / "star-dce.safetensors"
    model = onnx.load(str(graph), load_external_data=False)
    spoil(model)
    graph.write_bytes(model.SerializeToString())
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


def after_the_last_node(path: Path, *nodes: onnx.NodeProto) -> Path:
    """Let a graph compute further nodes, the last of which gives a number ``more``, and add it."""
    graph = path.with_suffix(".onnx")
    model = onnx.load(str(graph), load_external_data=False)
    last = model.graph.node[-1]
    wanted = last.output[0]
    last.output[0] = "right"
    model.graph.node.extend([*nodes, onnx.helper.make_node("Sum", ["right", "more"], [wanted])])
    graph.write_bytes(model.SerializeToString())
    return path


def constant(name: str, *values: int) -> onnx.NodeProto:
    value = onnx.helper.make_tensor(name, onnx.TensorProto.INT64, [len(values)], values)
    return onnx.helper.make_node("Constant", [], [name], value=value)


def node(operator: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return onnx.helper.make_node(operator, inputs.split(), [output], **attributes)


def least(of: str) -> onnx.NodeProto:
    return node("ReduceMin", of, "more", keepdims=0)


MEAN = node("ReduceMean", "context", "mean", keepdims=0)
#: Graphs without anything forbidden that ask for gigabytes, in loading or in running.
GREEDY = {
    "fill": [constant("shape", 30_000, 100_000), node("ConstantOfShape", "shape", "a"), least("a")],
    "expand": [
        MEAN,
        constant("shape", 30_000, 100_000),
        node("Expand", "mean shape", "a"),
        least("a"),
    ],
    "tile": [constant("times", 1, 1, 70, 70), node("Tile", "context times", "a"), least("a")],
    "pad": [
        constant("pads", 0, 0, 20_000, 20_000, 0, 0, 20_000, 20_000),
        node("Pad", "context pads", "a"),
        least("a"),
    ],
    "resize": [
        constant("sizes", 1, 3, 30_000, 30_000),
        onnx.helper.make_node("Resize", ["context", "", "", "sizes"], ["a"], mode="nearest"),
        least("a"),
    ],
    "matrix": [
        constant("column", -1, 1),
        node("Reshape", "context column", "flat"),
        constant("turned", 1, -1),
        node("Reshape", "context turned", "row"),
        node("MatMul", "flat row", "a"),
        least("a"),
    ],
    "many": [
        MEAN,
        constant("shape", 5_000, 10_000),
        node("Expand", "mean shape", "a0"),
        *(node("Add", f"a{number} mean", f"a{number + 1}") for number in range(39)),
        node("Sum", " ".join(f"a{number}" for number in range(40)), "a"),
        least("a"),
    ],
}


@pytest.mark.parametrize("nodes", GREEDY.values(), ids=GREEDY)
def test_memory_that_a_graph_takes_is_bounded(
    folder: Path, no_torch: None, nodes: list[onnx.NodeProto]
) -> None:
    path = after_the_last_node(folder / "star-dce.safetensors", *nodes)
    before = psutil.Process().memory_info().rss
    with pytest.raises(WeightsError, match="more memory than a network may take"):
        load_predictor(path).predict(*example())
    assert psutil.Process().memory_info().rss < before + 200e6


#: One operator that takes hours, in which ONNX Runtime cannot be interrupted.
SLOW = [
    MEAN,
    constant("shape", 1, 1, 3000, 3000),
    node("Expand", "mean shape", "large"),
    node("MaxPool", "large", "a", kernel_shape=[2999, 2999], pads=[1499] * 4),
    least("a"),
]


@pytest.fixture
def slow(folder: Path) -> Path:
    """Weights with a graph that has nothing forbidden and takes hours."""
    return after_the_last_node(folder / "star-dce.safetensors", *SLOW)


def test_a_graph_that_takes_too_long_is_ended(slow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = ConfinedSession(slow.with_suffix(".onnx"), slow, None)
    child = session._process
    assert child is not None
    monkeypatch.setattr(confined, "LONGEST", 0.5)
    with pytest.raises(WeightsError, match=r"took longer than 0\.5 s"):
        session.run({"context": np.ones((1, 3, 256, 256), np.float32)})
    assert child.wait(20)


def test_ctrl_c_ends_a_graph_that_runs(slow: Path) -> None:
    # A shell starts what runs in the background with Ctrl-C ignored.
    program = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.modules["torch"] = None
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
    (child,) = psutil.Process(process.pid).children()
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in complaint
    assert not psutil.wait_procs([child], 20)[1]


@pytest.mark.parametrize(
    "answer", [b"", b"no answer\n", b'{"shapes": 3}\n', b'{"shapes": {"a": [9e9]}}\n']
)
def test_an_answer_that_is_none_is_an_error(answer: bytes) -> None:
    with pytest.raises((EOFError, ValueError, KeyError, TypeError, AttributeError)):
        confined._read(io.BytesIO(answer))
    huge = b'{"shapes": {"a": [1000000, 1000000]}}\n'
    with pytest.raises(ValueError, match="too large"):
        confined._read(io.BytesIO(huge))
