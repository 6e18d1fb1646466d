"""Start a training from weights: a local network from a global one, ours or a published one.

Ours are registry names and ``.safetensors`` files. Published checkpoints are read in the layouts of
Zero-DCE (``e_conv1`` … ``e_conv7``, which is the whole of our network) and of the DeepUPE ports to
PyTorch (``coeffs.splat_features`` …), whose grid is another one, so that a part of it fits. Names
are mapped, and tensors are taken whose shape is the network's own; nothing of theirs comes with us.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from maskupe import weights_file
from maskupe.errors import InputError
from maskupe.inference.build import Network, build, condition, config_of
from maskupe.networks.base import GlobalNetwork
from maskupe.registry import ANY_USE, ModelConfig, given_file
from maskupe_training.data.manifest import file_digest
from maskupe_training.data.splits import trained_marks
from maskupe_training.raw import weight_file

_SUFFIXES = (".pth", ".pt", ".ckpt")
# Batch norms of the ports: PyTorch's default.
_EPSILON = 1e-5

#: Published layouts: a name that only they have, the network, the licence of those we know of, and
#: patterns of their names with ours.
_LAYOUTS: Mapping[str, tuple[str, str, tuple[tuple[str, str], ...]]] = {
    "e_conv1.weight": (
        "zero-dce",
        "CC BY-NC 4.0, non-commercial, if it is the authors' own",
        tuple((rf"e_conv{i + 1}\.", f"convs.{i}.") for i in range(7)),
    ),
    "coeffs.splat_features.0.conv.weight": (
        "deepupe",
        "that of the port it comes from",
        (
            (r"coeffs\.splat_features\.(\d)\.conv\.", r"splat.\1.0."),
            (r"coeffs\.splat_features\.(\d)\.bn\.", r"splat.\1.1."),
            (r"coeffs\.global_features_fc\.0\.fc\.", "global_fc.1."),
            (r"coeffs\.global_features_fc\.1\.fc\.", "global_fc.3."),
            (r"coeffs\.global_features_fc\.2\.fc\.", "global_fc.5."),
            (r"coeffs\.local_features\.1\.conv\.", "local.1."),
            (r"coeffs\.conv_out\.conv\.", "prediction."),
        ),
    ),
}
# Linear layers of the ports have norms after them that ours have not.
_FOLDED = tuple(
    (f"coeffs.global_features_fc.{i}.fc", f"coeffs.global_features_fc.{i}.bn") for i in range(3)
)


@dataclass(frozen=True)
class Start:
    """What a training was started from, for its checkpoints and its card.

    Attributes:
        name: the model, or the file's name.
        sha256: of the file.
        licence: what the file says of itself, or what is known of its layout.
        tensors: how many tensors of the network were taken from it.
        of: how many the network has.
        scenes: what it was trained on itself, as far as is known, as a weight file keeps it.
    """

    name: str
    sha256: str
    licence: str
    tensors: int
    of: int
    scenes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def start_from(source: str, config: ModelConfig, licence: str) -> tuple[Network, Start]:
    """Build a network with the weights of another one, as far as they fit.

    Args:
        source: a registry name, a ``.safetensors`` file, or a published checkpoint.
        config: of the network to build.
        licence: of the recipe's weights, which must not promise more than the source's.

    Raises:
        InputError: for a file that is missing or of another layout, a source of another network,
            or one whose licence does not allow what the recipe promises.
        UnknownModelError, WeightsError: for weights of ours that cannot be loaded.
    """
    if Path(source).suffix in _SUFFIXES:
        path = Path(source)
        network, own_licence, tensors = _published(path)
        same, scenes = False, {}
    else:
        path = given_file(source) or weight_file(source)
        header, arrays = weights_file.read(path)
        scenes = trained_marks(header)
        theirs = config_of(header)
        network, own_licence = theirs.network, header.metadata.get("licence", "unknown")
        same = replace(theirs, name="", licence="") == replace(
            config, name="", licence="", description="", weights=None
        )
        tensors = {name: torch.from_numpy(a.copy()).float() for name, a in arrays.items()}
        if theirs.conditioning in ("mconcat", "mnorm") and not same:
            tensors = {name.removeprefix("network."): value for name, value in tensors.items()}
    if network != config.network:
        raise InputError(
            f"{source} is a network {network}, the recipe trains a {config.network}.",
            "Give weights of the same network, or another recipe.",
        )
    if licence == ANY_USE and own_licence != ANY_USE:
        raise InputError(
            f"The recipe's weights are for any use, those of {source} are not: {own_licence}.",
            "Use --set licence='research use, non-commercial', or another start.",
        )
    if same or config.conditioning == "native":
        whole = build(config)
        taken, total = _take(whole, tensors)
    else:
        base = build(replace(config, conditioning="none", learned_transition=False))
        assert isinstance(base, GlobalNetwork)
        taken, total = _take(base, tensors)
        whole = condition(config, base)
    if not taken:
        raise InputError(f"Nothing in {source} fits the network.", "Give other weights.")
    return whole, Start(path.stem, file_digest(path), own_licence, taken, total, scenes)


@torch.no_grad()
def _take(network: Network, tensors: Mapping[str, Tensor]) -> tuple[int, int]:
    """Copy what has the name and shape of the network's own; return how many, and of how many."""
    own = network.state_dict()
    fitting = _fitted(tensors, own)
    for name, value in fitting.items():
        own[name].copy_(value)
    return len(fitting), len(own)


def _fitted(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that fit a network, its norms folded into convolutions where it has none."""
    found = dict(tensors)
    for name in tensors:
        if not name.endswith(".1.running_mean"):
            continue
        norm = name.removesuffix("running_mean")
        conv = norm.removesuffix("1.") + "0."
        if conv + "weight" not in own or conv + "weight" not in tensors:
            continue
        bias = tensors.get(conv + "bias", torch.zeros_like(tensors[name]))
        if norm + "running_mean" in own:  # there is a norm, so the convolution has no bias
            found[name] = tensors[name] - bias
        else:
            found |= _fold(tensors, conv, norm, bias)
    return {
        name: value
        for name, value in found.items()
        if name in own and own[name].shape == value.shape and bool(value.isfinite().all())
    }


def _fold(tensors: Mapping[str, Tensor], layer: str, norm: str, bias: Tensor) -> dict[str, Tensor]:
    """Return a layer's weight and bias with the batch norm after it, as that is in use."""
    scale = tensors[norm + "weight"] * torch.rsqrt(tensors[norm + "running_var"] + _EPSILON)
    weight = tensors[layer + "weight"]
    shape = (-1, *[1] * (weight.ndim - 1))
    shift = tensors[norm + "bias"] + (bias - tensors[norm + "running_mean"]) * scale
    return {layer + "weight": weight * scale.view(shape), layer + "bias": shift}


def _published(path: Path) -> tuple[str, str, dict[str, Tensor]]:
    """Return the network, the licence and the tensors, by our names, of a published checkpoint."""
    if not path.is_file():
        raise InputError(f"There is no file {path}.", "Check the path.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(
            f"{path} cannot be read as tensors alone.",
            "Save its state_dict by itself: what holds code is not loaded.",
        ) from error
    for key in ("state_dict", "model", "params"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        content = {}
    tensors = {
        str(name).removeprefix("module."): value.float()
        for name, value in content.items()
        if isinstance(value, Tensor)
    }
    for mark, (network, licence, patterns) in _LAYOUTS.items():
        if mark in tensors:
            return network, licence, _renamed(tensors, patterns)
    raise InputError(
        f"{path} is in no layout that is known.",
        "Known are Zero-DCE's and that of DeepUPE's ports; a run of ours is exported first.",
    )


def _renamed(
    tensors: dict[str, Tensor], patterns: tuple[tuple[str, str], ...]
) -> dict[str, Tensor]:
    for layer, norm in _FOLDED:
        if f"{norm}.running_mean" in tensors and f"{layer}.bias" in tensors:
            tensors |= _fold(tensors, f"{layer}.", f"{norm}.", tensors[f"{layer}.bias"])
    found = {}
    for name, value in tensors.items():
        for pattern, ours in patterns:
            changed, count = re.subn(f"^{pattern}", ours, name)
            if count:
                found[changed] = value
    return found
