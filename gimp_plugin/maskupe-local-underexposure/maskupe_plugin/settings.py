"""The procedure's arguments: one table for the PDB, the dialog and the last values."""

from __future__ import annotations

from dataclasses import dataclass

from gi.repository import Gimp, GObject

from maskupe_plugin.checks import UserError
from maskupe_plugin.i18n import _
from maskupe_plugin.outputs import ILLUMINATION, MASKED_LAYER, NEW_LAYER, THIS_LAYER
from maskupe_plugin.region import AUTO, read_edges

#: Strength 1 is the model's proposal, 0 changes nothing.
MAX_STRENGTH = 2.0
#: Warmth of the added light: from this much cooler to this much warmer.
MAX_WARMTH = 1.0
#: Saturation of what is brightened: from gray, this far below 0, to twice the chroma.
MAX_SATURATION = 1.0
#: Widest transition, and farthest that edges are followed, in pixels.
MAX_WIDTH = 5000.0

_BOTH = GObject.ParamFlags.READWRITE


@dataclass(frozen=True)
class Settings:
    """What the user asks for, as plain values."""

    strength: float = 1.0
    denoise: float | str = AUTO
    warmth: float = 0.0
    saturation: float = 0.0
    width: float | str = AUTO
    side: str = "outside"
    edges: float | str = AUTO
    model: str = "default"
    output: str = THIS_LAYER


def add_arguments(procedure: Gimp.Procedure) -> None:
    """Register the arguments, in the order in which scripts see them."""
    procedure.add_double_argument(
        "strength",
        _("Stren_gth"),
        _("How much light to add: 0 changes nothing, 1 is what the model proposes"),
        0.0,
        MAX_STRENGTH,
        1.0,
        _BOTH,
    )
    procedure.add_boolean_argument(
        "automatic-denoise",
        _("Automatic noise re_duction"),
        _("Reduce as much noise as is found in what is lit up"),
        True,
        _BOTH,
    )
    procedure.add_double_argument(
        "denoise",
        _("_Noise reduction"),
        _("How much noise to reduce, where it is not automatic: 0 none, 1 the most"),
        0.0,
        1.0,
        0.5,
        _BOTH,
    )
    procedure.add_boolean_argument(
        "automatic-width",
        _("_Automatic transition"),
        _(
            "Let the transition grow with the selection: a fifth of its radius. "
            "A feathered selection keeps its own edge"
        ),
        True,
        _BOTH,
    )
    procedure.add_double_argument(
        "width",
        _("Transition _width"),
        _("Width of the transition in pixels, where it is not automatic; 0 is a hard edge"),
        0.0,
        MAX_WIDTH,
        40.0,
        _BOTH,
    )
    procedure.add_choice_argument(
        "side",
        _("Transition s_ide"),
        _("On which side of the selection's edge the light fades out"),
        _sides(),
        "outside",
        _BOTH,
    )
    procedure.add_string_argument(
        "edges",
        _("_Follow edges"),
        _(
            "How far from the selection's outline the light follows the subject's edges: "
            "“auto”, “off” or a number of pixels"
        ),
        AUTO,
        _BOTH,
    )
    procedure.add_string_argument(
        "model",
        _("_Model"),
        _("Name of the model, as listed by “maskupe models”; “default” is the recommended one"),
        "default",
        _BOTH,
    )
    procedure.add_choice_argument(
        "output",
        _("Outp_ut"),
        _("Where the result goes"),
        _outputs(),
        THIS_LAYER,
        _BOTH,
    )
    # The last ones: scripts may count the arguments.
    procedure.add_double_argument(
        "warmth",
        # Without a mnemonic: GIMP's buttons and the other settings have all of its letters.
        _("Warmth"),
        _("Colour of the light that is added: above 0 warmer, below 0 cooler"),
        -MAX_WARMTH,
        MAX_WARMTH,
        0.0,
        _BOTH,
    )
    procedure.add_double_argument(
        "saturation",
        _("Saturation"),
        _("Colour of what is lit up: above 0 more, up to twice as much, below 0 less, -1 is gray"),
        -MAX_SATURATION,
        MAX_SATURATION,
        0.0,
        _BOTH,
    )


def _sides() -> Gimp.Choice:
    choice = Gimp.Choice.new()
    choice.add("outside", 0, _("Outside"), _("The selection is fully lit, its surroundings fade"))
    choice.add("centred", 1, _("Centred"), _("Half inside of the edge, half outside"))
    choice.add("inside", 2, _("Inside"), _("Nothing outside of the selection is touched"))
    return choice


def _outputs() -> Gimp.Choice:
    choice = Gimp.Choice.new()
    choice.add(THIS_LAYER, 0, _("This layer"), _("Change the layer itself"))
    choice.add(NEW_LAYER, 1, _("New layer"), _("Put the result into a new layer above"))
    choice.add(
        MASKED_LAYER,
        2,
        _("New layer with mask"),
        _("A new layer whose layer mask holds the transition, to be painted on"),
    )
    choice.add(
        ILLUMINATION,
        3,
        _("Illumination layer"),
        _("A layer in Divide mode that holds only the light: change it with any tool"),
    )
    return choice


def settings_of(config: Gimp.ProcedureConfig) -> Settings:
    """Return the values of one run.

    Raises:
        UserError: for a text that cannot be understood.
    """
    automatic = config.get_property("automatic-width")
    automatic_denoise = config.get_property("automatic-denoise")
    return Settings(
        strength=config.get_property("strength"),
        denoise=AUTO if automatic_denoise else config.get_property("denoise"),
        warmth=config.get_property("warmth"),
        saturation=config.get_property("saturation"),
        width=AUTO if automatic else config.get_property("width"),
        side=config.get_property("side"),
        edges=_edges(config.get_property("edges") or AUTO),
        model=config.get_property("model") or "default",
        output=config.get_property("output"),
    )


def put_settings(config: Gimp.ProcedureConfig, settings: Settings) -> None:
    """Set the arguments so that :func:`settings_of` gives these settings.

    A number that is automatic keeps the value from before.
    """
    for name in ("denoise", "width"):
        value = getattr(settings, name)
        config.set_property(f"automatic-{name}", value == AUTO)
        if value != AUTO:
            config.set_property(name, value)
    for name in ("strength", "warmth", "saturation"):
        config.set_property(name, getattr(settings, name))
    config.set_property("edges", str(settings.edges))
    for name in ("side", "model", "output"):
        config.set_property(name, getattr(settings, name))


def _edges(text: str) -> float | str:
    try:
        return read_edges(text, MAX_WIDTH)
    except ValueError:
        raise UserError(
            _("How far to follow edges cannot be “{value}”.").format(value=text),
            _("Use “auto”, “off” or a number of pixels from 0 to {most}.").format(
                most=round(MAX_WIDTH)
            ),
        ) from None
