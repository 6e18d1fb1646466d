"""The models: which networks there are, how each is conditioned, and which weights are published.

Other packages add networks by an entry point of the group ``maskupe.networks``: the network's name,
and where its :class:`NetworkSpec` is. Its models are NAME, NAME-mconcat and NAME-mnorm. They add
weights of our models by one of the group ``maskupe.weights``: any name, and where the ``Path`` of
their folder is.

A model is its configuration; everything is built from it by one code path
(:func:`maskupe.inference.build.build`). Nothing here imports torch.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal, get_args

from maskupe.errors import UnknownModelError, WeightsError

#: ``native`` networks see the areas by themselves; ``none`` is a global network.
Conditioning = Literal["none", "mconcat", "mnorm", "native"]

ANY_USE = "any use"
RESEARCH_USE = "research use, non-commercial"

#: Where the weights lie that come with this package: those for any use.
WEIGHTS_FOLDER = Path(__file__).parent / "weights"

#: Where a checkout has the weights for research, which are a distribution of their own.
_RESEARCH_IN_CHECKOUT = Path(__file__).parents[1] / "research_weights" / "maskupe_research_weights"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NetworkSpec:
    """A network that configurations may name.

    Attributes:
        target: ``module:class`` that makes it.
        options: the choices that its constructor takes, by name; only these are ever passed, so
            that a weight file cannot ask for a network of any size it likes.
        where: names of the choices of norms for MNorm, the class's ``norm_places``.
        native: whether it sees the areas by itself.
        spatial: whether its maps differ from place to place; one map for the whole image can
            neither keep C nor make a transition, whatever it knows of the mask.
    """

    target: str
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    where: tuple[str, ...] = ()
    native: bool = False
    spatial: bool = True


_NORMS = {"norm": ("none", "batch", "instance")}

NETWORKS: Mapping[str, NetworkSpec] = {
    "deepupe": NetworkSpec("maskupe.networks.deepupe:DeepUPE", _NORMS, ("paper",)),
    "star-dce": NetworkSpec("maskupe.networks.star_dce:StarDCE", _NORMS, ("paper", "all")),
    "lantern": NetworkSpec("maskupe.networks.lantern:Lantern", native=True),
    "zero-dce": NetworkSpec("maskupe.networks.zero_dce:ZeroDCE"),
    "unet": NetworkSpec("maskupe.networks.unet:UNet", _NORMS, ("paper",)),
    "lut3d": NetworkSpec("maskupe.networks.lut3d:Lut3D", where=("paper",), spatial=False),
    "lpf": NetworkSpec("maskupe.networks.lpf:LocalParametricFilters"),
}


#: The groups of entry points by which other packages add networks and weights.
ENTRY_POINTS = "maskupe.networks"
WEIGHTS_ENTRY_POINTS = "maskupe.weights"


@cache
def _added() -> Mapping[str, EntryPoint]:
    """Return the networks of other packages by name; ours cannot be replaced."""
    found = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
    return {name: entry for name, entry in found.items() if name not in NETWORKS}


@cache
def network_spec(name: str) -> NetworkSpec | None:
    """Return a network's description, of ours or of another package; ``None`` if there is none.

    Raises:
        WeightsError: if the package that adds it cannot be loaded.
    """
    entry = _added().get(name)
    if entry is None:
        return NETWORKS.get(name)
    try:
        spec = entry.load()
    except Exception as error:  # it is somebody else's code
        raise WeightsError(
            f"The network {name!r} cannot be loaded from {entry.value}: {error}.",
            "Update or remove the package that adds it.",
        ) from error
    if not isinstance(spec, NetworkSpec):
        raise WeightsError(
            f"{entry.value}, which adds the network {name!r}, is no NetworkSpec.",
            "Its package must name a maskupe.registry.NetworkSpec.",
        )
    return spec


@dataclass(frozen=True)
class ModelConfig:
    """One model.

    Attributes:
        name: what people call it; file name and command-line argument.
        network: a name that :func:`network_spec` knows.
        conditioning: how the mask enters; see :data:`Conditioning`.
        description: one sentence for ``maskupe models``.
        licence: what its weights may be used for.
        weights: file name in one of :func:`weights_folders`, ``None`` for a network of another
            package.
        learned_transition: whether it was trained to make the transition in B itself.
        options: the network's options, of those in its :class:`NetworkSpec`.
        where: which norms MNorm takes over, of those in its :class:`NetworkSpec`.

    Raises:
        WeightsError: for a network, conditioning, option or choice that does not exist.
    """

    name: str
    network: str
    conditioning: Conditioning
    description: str = ""
    licence: str = RESEARCH_USE
    weights: str | None = None
    learned_transition: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    where: str = "paper"

    def __post_init__(self) -> None:
        hint = "The file may come from a newer version: update MaskUPE."
        spec = network_spec(self.network)
        if spec is None:
            raise WeightsError(
                f"There is no network {self.network!r}.",
                "Install the package that adds it, or update MaskUPE: the file may be newer.",
            )
        if self.conditioning not in get_args(Conditioning):
            raise WeightsError(f"There is no conditioning {self.conditioning!r}.", hint)
        if spec.native != (self.conditioning == "native"):
            raise WeightsError(
                f"The network {self.network} cannot be conditioned as {self.conditioning!r}.", hint
            )
        for name, value in self.options.items():
            if value not in spec.options.get(name, ()):
                raise WeightsError(
                    f"The network {self.network} has no option {name!r} = {value!r}.", hint
                )
        if self.conditioning == "mnorm" and self.where not in spec.where:
            raise WeightsError(
                f"The network {self.network} has no norms to condition at {self.where!r}.", hint
            )

    @property
    def local(self) -> bool:
        """Whether it sees the areas."""
        return self.conditioning != "none"

    def as_dict(self) -> dict[str, Any]:
        """Return what a weight file keeps, to build the same network from (JSON-ready)."""
        return {
            "name": self.name,
            "network": self.network,
            "conditioning": self.conditioning,
            "learned_transition": self.learned_transition,
            "options": dict(self.options),
            "where": self.where,
        }

    @staticmethod
    def from_dict(values: Any, licence: str = "") -> ModelConfig:
        """Return the inverse of :meth:`as_dict`, for what a file says, which is not trusted.

        Raises:
            WeightsError: for anything that :meth:`as_dict` does not write.
        """
        expected: dict[str, type] = {
            "name": str,
            "network": str,
            "conditioning": str,
            "learned_transition": bool,
            "options": dict,
            "where": str,
        }
        hint = "Train or export it again."
        if not isinstance(values, dict) or set(values) != set(expected):
            raise WeightsError("The weight file does not say how its network is built.", hint)
        for name, kind in expected.items():
            if not isinstance(values[name], kind):
                raise WeightsError(f"The weight file's {name!r} is not usable.", hint)
        options = values["options"]
        if not all(isinstance(value, str) for value in options.values()):
            raise WeightsError("The weight file's 'options' are not usable.", hint)
        return ModelConfig(**values, licence=licence)


def _entry(
    name: str,
    network: str,
    conditioning: Conditioning,
    description: str,
    options: Mapping[str, str] | None = None,
    licence: str = RESEARCH_USE,
) -> ModelConfig:
    return ModelConfig(
        name,
        network,
        conditioning,
        description,
        licence,
        weights=f"{name}.safetensors",
        learned_transition=conditioning in ("mconcat", "mnorm") and NETWORKS[network].spatial,
        options=options or {},
    )


_BATCH = {"norm": "batch"}
_LANTERN = "Our own: tone curves from the light inside the mask."

MODELS: Mapping[str, ModelConfig] = {
    config.name: config
    for config in (
        _entry("deepupe", "deepupe", "none", "DeepUPE (2019), global: a grid of illumination."),
        _entry("star-dce", "star-dce", "none", "STAR-DCE (2021), global: curves by transformer."),
        _entry("deepupe-mconcat", "deepupe", "mconcat", "DeepUPE, the mask as input channels."),
        _entry("deepupe-mnorm", "deepupe", "mnorm", "DeepUPE, the mask in its norms.", _BATCH),
        _entry("star-dce-mconcat", "star-dce", "mconcat", "STAR-DCE, the mask as input channels."),
        _entry("star-dce-mnorm", "star-dce", "mnorm", "STAR-DCE, the mask in its norm.", _BATCH),
        _entry("zero-dce-mconcat", "zero-dce", "mconcat", "Zero-DCE's curves by convolutions."),
        _entry("unet-mconcat", "unet", "mconcat", "A U-Net that predicts pixels (SID, 2018)."),
        _entry("unet-mnorm", "unet", "mnorm", "The U-Net, the mask in its norms.", _BATCH),
        _entry("lut3d-mconcat", "lut3d", "mconcat", "Image-adaptive 3D look-up tables (2020)."),
        _entry("lut3d-mnorm", "lut3d", "mnorm", "3D look-up tables, the mask in the norms."),
        _entry("lantern", "lantern", "native", _LANTERN, licence=ANY_USE),
        _entry("lantern-research", "lantern", "native", f"{_LANTERN} Trained on brackets."),
        _entry("lantern-uieb-research", "lantern", "native", "Lantern, for underwater photos."),
        _entry(
            "star-dce-mconcat-uieb-research",
            "star-dce",
            "mconcat",
            "STAR-DCE, the mask as input channels, for underwater photos.",
        ),
        _entry("lpf-mconcat", "lpf", "mconcat", "Elliptical and graduated filters (DeepLPF)."),
    )
}

#: The matting networks' weight files; see :mod:`maskupe.matting.matte`.
MATTES: Mapping[str, str] = {
    "default": "matte.safetensors",
    "matte": "matte.safetensors",
    "matte-research": "matte-research.safetensors",
}

#: What ``default`` stands for.
DEFAULT = "lantern"

#: The weight files of the distribution ``maskupe-research-weights``.
RESEARCH_WEIGHTS = frozenset(
    config.weights
    for config in MODELS.values()
    if config.licence == RESEARCH_USE and config.weights is not None
) | {MATTES["matte-research"]}

#: How they are had.
GET_RESEARCH_WEIGHTS = (
    "The weights for research, which may not be used commercially, are installed with: "
    "pip install 'maskupe[research]'"
)


def given_file(model: str | Path) -> Path | None:
    """Return the weight file that is meant.

    ``None`` where the model is named as in the registry.
    """
    is_file = isinstance(model, Path) or model.endswith(".safetensors")
    return Path(model) if is_file else None


def is_file(path: Path) -> bool:
    """Return whether there is a file: no, where its name is none that a file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def resolve(name: str) -> ModelConfig:
    """Return the model of that name, or of the alias ``default``.

    Raises:
        UnknownModelError: for another name; the sentence lists those that exist.
    """
    config = MODELS.get(DEFAULT if name == "default" else name) or _of_added(name)
    if config is None:
        known = ", ".join(["default", *MODELS, *_added()])
        raise UnknownModelError(f"There is no model {name!r}.", f"There are: {known}.")
    return config


def _of_added(name: str) -> ModelConfig | None:
    """Return a model of another package's network: NAME, NAME-mconcat or NAME-mnorm."""
    network, _, conditioning = name.rpartition("-")
    if conditioning not in ("mconcat", "mnorm") or network not in _added():
        network, conditioning = name, ""
    spec = network_spec(network) if network in _added() else None
    if spec is None:
        return None
    how: Conditioning = "native" if spec.native else "none"
    if conditioning:
        how = "mconcat" if conditioning == "mconcat" else "mnorm"
    options = _BATCH if how == "mnorm" and "batch" in spec.options.get("norm", ()) else {}
    learned = how in ("mconcat", "mnorm") and spec.spatial
    return ModelConfig(name, network, how, learned_transition=learned, options=options)


@cache
def _added_folders() -> tuple[Path, ...]:
    """Return the folders of weights that other packages add; one that cannot be had is left out."""
    folders = [_RESEARCH_IN_CHECKOUT] if _RESEARCH_IN_CHECKOUT.is_dir() else []
    for entry in entry_points(group=WEIGHTS_ENTRY_POINTS):
        try:
            folder = Path(entry.load())
        except Exception as error:  # it is somebody else's code
            _log.warning("The weights of %s cannot be found: %s.", entry.value, error)
            continue
        folders.append(folder)
    return tuple(folders)


def weights_folders() -> tuple[Path, ...]:
    """Return the folders that have weights, in the order in which they are searched: ours first."""
    return (WEIGHTS_FOLDER, *_added_folders())


def find_weights(file: str) -> Path | None:
    """Return the path of a published weight file by its name, ``None`` if it is not installed."""
    return next((path for folder in weights_folders() if is_file(path := folder / file)), None)


def weights_path(config: ModelConfig) -> Path | None:
    """Return the path of a model's weights, ``None`` where none are installed."""
    return None if config.weights is None else find_weights(config.weights)


def is_shipped(path: Path) -> bool:
    """Return whether a weight file came with this package, or with an installed one of weights."""
    return path.resolve().parent in {folder.resolve() for folder in weights_folders()}


def available() -> tuple[str, ...]:
    """Return names of the models whose weights are installed, ``default`` first."""
    names = tuple(name for name, config in MODELS.items() if weights_path(config))
    return ("default", *names) if DEFAULT in names else names
