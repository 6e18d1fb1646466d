"""What a client asks for, and how far it has come. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from maskupe_client.framing import PlaneSpec, new_id


class Progress(NamedTuple):
    """How far a job is.

    Attributes:
        stage: ``"sending"``, ``"queued"``, ``"running"``, in this order.
        fraction: of the running stage, 0…1.
        position: how many jobs are ahead while queued.
    """

    stage: str
    fraction: float
    position: int


@dataclass(frozen=True)
class EnhanceRequest:
    """One job; ``docs/protocol.md`` explains the fields of ``enhance``.

    Attributes:
        image: the region's plane, (h, w, c).
        layer: (height, width) of the whole layer.
        origin: (row, column) of the region in the layer.
        selection: the selection's plane, (h, w), or None for everything.
        context: the plane of the whole layer, scaled down, (ch, cw, c), or None where the region
            is the whole layer.
        model: a model's name.
        strength: 0…2, 1 is the model's proposal.
        denoise: noise reduction, 0…1, or ``"auto"``.
        warmth: of the added light, -1…1; positive is warmer. A daemon older than the field adds
            light as if it were 0.
        saturation: of what is brightened, -1…1; -1 is gray, 1 twice the chroma. A daemon older than
            the field takes it for 0.
        width: of the transition in pixels, or ``"auto"``.
        side: ``"outside"``, ``"inside"`` or ``"centred"``.
        edges: how far from the selection's edge the effect follows the subject's edges, in pixels;
            ``"auto"``, or ``"off"`` for a transition by distance alone. The region must reach as
            far: ``maskupe.areas.transition.Transition.reach``.
        outputs: what to answer with: ``"image"``, ``"weight"``, ``"illumination"``, ``"areas"``,
            ``"enhanced"``.
        part: (row, column, height, width) of the only part of the region that is wanted back, which
            has the same values as in the whole answer; None for all of it.
        replaces: id of an older job of the same client that is not wanted any more.
        id: identifies the job; keep it when repeating a request.
    """

    image: PlaneSpec
    layer: tuple[int, int]
    origin: tuple[int, int] = (0, 0)
    selection: PlaneSpec | None = None
    context: PlaneSpec | None = None
    model: str = "default"
    strength: float = 1.0
    denoise: float | str = "auto"
    warmth: float = 0.0
    saturation: float = 0.0
    width: float | str = "auto"
    side: str = "outside"
    edges: float | str = "auto"
    outputs: Sequence[str] = ("image",)
    part: tuple[int, int, int, int] | None = None
    replaces: str | None = None
    id: str = field(default_factory=new_id)

    def header(self) -> dict[str, Any]:
        """Return the request's header."""
        # Left out where they say nothing, as by clients that are older than the fields.
        colour = {"warmth": self.warmth, "saturation": self.saturation}
        colour = {name: value for name, value in colour.items() if value}
        return {
            "type": "enhance",
            "id": self.id,
            "model": self.model,
            "strength": self.strength,
            "denoise": self.denoise,
            **colour,
            "width": self.width,
            "side": self.side,
            "edges": self.edges,
            "layer": list(self.layer),
            "origin": list(self.origin),
            "image": self.image.as_map(),
            "selection": self.selection.as_map() if self.selection else None,
            "context": self.context.as_map() if self.context else None,
            "outputs": list(self.outputs),
            "part": list(self.part) if self.part else None,
            "replaces": self.replaces,
        }
