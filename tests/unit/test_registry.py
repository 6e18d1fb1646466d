"""The registry, the weight files and what joins them."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from maskupe import registry, weights_file
from maskupe.conditioning import ConditionedNetwork
from maskupe.errors import MaskUPEError, UnknownModelError, WeightsError
from maskupe.inference.build import build, config_of, load, save
from maskupe.networks.base import GlobalNetwork, LocalNetwork
from maskupe.registry import MODELS, ModelConfig


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.safetensors"
    tensors = {
        "b": np.arange(6, dtype=np.float32).reshape(2, 3),
        "a": np.array(7, np.int64),
        "c": np.ones((1, 2), np.float16),
    }
    weights_file.write(path, tensors, {"network": "star-dce", "metrics": {"psnr": 20.5}})
    return path


def test_neither_needs_torch() -> None:
    program = "import sys, maskupe.registry, maskupe.weights_file; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("name", list(MODELS))
def test_every_model_can_be_built_and_called(name: str) -> None:
    config = registry.resolve(name)
    assert config.name == name and config.description.endswith(".")
    network = build(config).eval()
    image, areas = torch.rand(1, 3, 48, 40), torch.zeros(1, 2, 48, 40)
    with torch.no_grad():
        out = network(image, areas) if config.local else network(image)
    assert isinstance(network, LocalNetwork if config.local else GlobalNetwork)
    assert out.image.shape == image.shape and torch.all(torch.isfinite(out.image))
    assert ModelConfig.from_dict(json.loads(json.dumps(config.as_dict()))).as_dict() == (
        config.as_dict()
    )


def test_names_and_the_alias() -> None:
    assert registry.resolve("default").name == registry.DEFAULT
    assert MODELS[registry.DEFAULT].local
    with pytest.raises(UnknownModelError, match=r"no model 'deepup'.*deepupe-mconcat"):
        registry.resolve("deepup")


def test_available_are_those_with_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "weights_folders", lambda: (tmp_path,))
    assert registry.available() == ()
    (tmp_path / "deepupe.safetensors").touch()
    assert registry.available() == ("deepupe",)
    (tmp_path / f"{registry.DEFAULT}.safetensors").touch()
    assert set(registry.available()) == {"default", "deepupe", registry.DEFAULT}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"network": "os:system"}, "no network"),
        ({"conditioning": "magic"}, "no conditioning"),
        ({"conditioning": "native"}, "cannot be conditioned"),
        ({"options": {"norm": "giant"}}, "no option"),
        ({"options": {"width": "9"}}, "no option"),
        ({"options": {"norm": 10**9}}, "options"),
        ({"conditioning": "mnorm", "where": "everywhere"}, "no norms"),
        ({"learned_transition": 1}, "learned_transition"),
        ({"more": 1}, "how its network is built"),
    ],
)
def test_configurations_from_files_are_not_trusted(change: dict[str, Any], words: str) -> None:
    values = {**MODELS["star-dce-mconcat"].as_dict(), **change}
    with pytest.raises(WeightsError, match=words):
        ModelConfig.from_dict(values)


def test_a_written_file_is_safetensors_and_reads_back(small: Path) -> None:
    header, arrays = weights_file.read(small)
    theirs = load_file(small)
    assert set(arrays) == set(theirs) == {"a", "b", "c"}
    for name, array in theirs.items():
        assert arrays[name].dtype == array.dtype and arrays[name].shape == array.shape
        assert np.array_equal(arrays[name], array)
    assert header.metadata["format"] == weights_file.FORMAT
    assert header.metadata["network"] == "star-dce"
    assert arrays["a"].shape == ()
    assert header.json("metrics") == {"psnr": 20.5}
    assert header.json("config") is None
    entry = header.tensors["b"]
    content = small.read_bytes()[entry.offset : entry.offset + entry.length]
    assert content == np.arange(6, dtype=np.float32).tobytes()


def test_writing_is_atomic(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = small.read_bytes()

    def full_disk(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(weights_file.os, "fsync", full_disk)
    with pytest.raises(MaskUPEError, match="No space left"):
        weights_file.write(small, {"x": np.zeros(3, np.float32)}, {})
    assert small.read_bytes() == before
    assert list(small.parent.iterdir()) == [small]


def test_types_that_cannot_be_kept_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="float64"):
        weights_file.write(tmp_path / "x.safetensors", {"x": np.zeros(2)}, {})


def test_foreign_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="There is no weight file"):
        weights_file.read(tmp_path / "none.safetensors")
    foreign = tmp_path / "foreign.safetensors"
    save_file({"x": np.zeros(2, np.float32)}, foreign)
    with pytest.raises(WeightsError, match="not one of MaskUPE"):
        weights_file.read_header(foreign)
    with pytest.raises(WeightsError, match="cannot be read"):
        weights_file.read(tmp_path)


def with_header(small: Path, change: dict[str, Any], length: int | None = None) -> None:
    content = small.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    values = json.loads(content[8 : 8 + size])
    for key, value in change.items():
        values[key] = {**values[key], **value} if isinstance(value, dict) else value
    raw = json.dumps(values).encode()
    small.write_bytes(struct.pack("<Q", length or len(raw)) + raw + content[8 + size :])


@pytest.mark.parametrize(
    "change",
    [
        {"b": {"shape": [2, 4]}},
        {"b": {"shape": [2**40, 2**40]}},
        {"b": {"shape": [-2, -3]}},
        {"b": {"shape": [2.0, 3]}},
        {"b": {"data_offsets": [0, 24]}},
        {"b": {"data_offsets": [10**6, 10**6 + 24]}},
        {"b": {"data_offsets": [0]}},
        {"b": {"dtype": "F8"}},
        {"b": {"dtype": ["F32"]}},
        {"b": 3},
        {"__metadata__": {"seed": 3}},
        {"__metadata__": {"format_version": "2"}},
    ],
)
def test_headers_that_lie_are_refused(small: Path, change: dict[str, Any]) -> None:
    with_header(small, {})
    weights_file.read(small)
    with_header(small, change)
    with pytest.raises(WeightsError):
        weights_file.read(small)


@pytest.mark.parametrize("length", [1, 1 << 19, 1 << 40, 2**64 - 1])
def test_header_lengths_that_lie_are_refused(small: Path, length: int) -> None:
    with_header(small, {}, length)
    with pytest.raises(WeightsError, match="damaged"):
        weights_file.read_header(small)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_is_noticed_or_harmless(small: Path, data: st.DataObject) -> None:
    content = bytearray(small.read_bytes())
    kind = data.draw(st.sampled_from(["flip", "cut", "grow"]))
    if kind == "flip":
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    elif kind == "cut":
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        content += b"x"
    damaged = small.with_name("damaged.safetensors")
    damaged.write_bytes(content)
    try:
        _, arrays = weights_file.read(damaged)
    except WeightsError:
        return
    assert kind == "flip"
    assert sum(array.nbytes for array in arrays.values()) == 24 + 8 + 4


def test_a_network_survives_its_file(tmp_path: Path) -> None:
    config = registry.resolve("star-dce-mnorm")
    network = build(config).eval()
    path = tmp_path / "model.safetensors"
    save(path, config, network, {"recipe": "star", "seed": 3, "licence": "any use"})
    loaded_config, loaded, header = load(path)
    assert isinstance(loaded, ConditionedNetwork)
    assert loaded_config.as_dict() == config.as_dict()
    assert loaded_config.licence == "any use"
    assert header.metadata["seed"] == "3"
    assert int(header.metadata["parameters"]) == sum(p.numel() for p in network.parameters())
    assert int(header.metadata["multiply_adds"]) > 10_000_000
    assert set(header.metadata) <= set(weights_file.METADATA_KEYS)
    image, areas = torch.rand(1, 3, 32, 32), torch.ones(1, 2, 32, 32)
    assert torch.equal(loaded(image, areas).image, network(image, areas).image)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    config = registry.resolve("star-dce-mconcat")
    save(path, config, build(registry.resolve("star-dce")), {})
    with pytest.raises(WeightsError, match="made for another network: it differs"):
        load(path)
    network = build(config)
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    save(path, config, network, {})
    with pytest.raises(WeightsError, match="not finite"):
        load(path)
    arrays = {name: value.numpy() for name, value in build(config).state_dict().items()}
    arrays["network.head.conv.weight"] = np.zeros((16, 5, 3, 3), np.float32)
    weights_file.write(path, arrays, {"config": config.as_dict()})
    with pytest.raises(WeightsError, match="has the shape"):
        load(path)
    weights_file.write(path, arrays, {})
    with pytest.raises(WeightsError, match="how its network is built"):
        config_of(weights_file.read_header(path))
    weights_file.write(path, arrays, {"config": "[" * 100_000})
    with pytest.raises(WeightsError, match="cannot be read"):
        load(path)


def test_other_packages_add_weights_and_ours_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    package, about = tmp_path / "their_weights", tmp_path / "their_weights-1.0.dist-info"
    package.mkdir()
    about.mkdir()
    (package / "__init__.py").write_text("from pathlib import Path\nFOLDER = Path(__file__).parent")
    model = replace(registry.MODELS["unet-mnorm"], name="theirs", weights="theirs.safetensors")
    monkeypatch.setattr(registry, "MODELS", {**registry.MODELS, "theirs": model})
    for name in (registry.DEFAULT, "theirs"):
        (package / f"{name}.safetensors").touch()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: their-weights\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[maskupe.weights]\ntheirs = their_weights:FOLDER\nbroken = their_weights:NOWHERE\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    registry._added_folders.cache_clear()
    try:
        assert registry.find_weights("theirs.safetensors") == package / "theirs.safetensors"
        ours = registry.weights_path(registry.resolve("default"))
        assert ours == registry.WEIGHTS_FOLDER / f"{registry.DEFAULT}.safetensors"
        assert "The weights of their_weights:NOWHERE cannot be found" in caplog.text
        assert "theirs" in registry.available()
    finally:
        registry._added_folders.cache_clear()
        sys.modules.pop("their_weights", None)
