"""What the procedure can work on; everything else is refused in a sentence."""

from __future__ import annotations

from gi.repository import Gimp

from maskupe_plugin.i18n import _
from maskupe_plugin.outputs import ABOVE, THIS_LAYER
from maskupe_plugin.region import Box


class UserError(Exception):
    """The procedure cannot go on. The text is for the photographer: what is wrong, what to do.

    Args:
        message: what is wrong.
        hint: what to do.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".strip())
        self.message = message


def the_drawable(drawables: list[Gimp.Drawable]) -> Gimp.Drawable:
    """Return the one drawable to work on.

    Raises:
        UserError: if there is not exactly one, or its kind forbids it.
    """
    if len(drawables) != 1:
        raise UserError(
            _("Local Underexposure works on one layer, and {count} are selected.").format(
                count=len(drawables)
            ),
            _("Select a single layer in the Layers dialog."),
        )
    drawable = drawables[0]
    if drawable.is_group():
        raise UserError(
            _("A layer group has no pixels of its own."),
            _("Select a layer inside the group, or merge the group first."),
        )
    if drawable.is_indexed():
        raise UserError(
            _("Indexed colors are too few for a smooth transition."),
            _("Convert the image first: Image > Mode > RGB."),
        )
    return drawable


def possible_outputs(drawable: Gimp.Drawable) -> tuple[tuple[str, ...], UserError | None]:
    """Return where a result can go, and what forbids the rest; None where nothing does."""
    protection = _protection(drawable)
    here = (THIS_LAYER,) if protection is None else ()
    if isinstance(drawable, Gimp.Channel):
        return here, protection or UserError(
            _("From a channel or a layer mask no new layer can be made."),
            _("Set the output to “This layer”."),
        )
    return (*here, *ABOVE), protection


def _protection(drawable: Gimp.Drawable) -> UserError | None:
    """Return what GIMP would not write, or only by destroying what makes the layer special."""
    item: Gimp.Item | None = drawable
    while item is not None:
        # GIMP writes nothing there and reports success all the same.
        if item.get_lock_content():
            return UserError(
                _("The pixels of “{name}” are locked.").format(name=item.get_name()),
                _("Unlock them in the Layers dialog, or set the output to a new layer."),
            )
        item = item.get_parent()
    kind = _kept_by_content(drawable)
    if kind:
        return UserError(
            _("“{name}” is a {kind}, which new pixels would destroy.").format(
                name=drawable.get_name(), kind=kind
            ),
            _("Rasterize it first, or set the output to a new layer."),
        )
    return None


def _kept_by_content(drawable: Gimp.Drawable) -> str:
    """Return what kind of layer it is whose pixels are made from something else; or ""."""
    if not isinstance(drawable, Gimp.Layer):
        return ""
    # Since GIMP 3.2 such layers can be rasterized and stay what they are; there are more kinds.
    rasterized = getattr(drawable, "is_rasterized", None)
    if rasterized is not None and rasterized():
        return ""
    if drawable.is_text_layer():
        return _("text layer")
    for name, kind in (("VectorLayer", _("vector layer")), ("LinkLayer", _("link layer"))):
        known = getattr(Gimp, name, None)
        if known is not None and isinstance(drawable, known):
            return kind
    return ""


def selected_box(drawable: Gimp.Drawable) -> Box | None:
    """Return bounds of the selection within the layer, in layer coordinates.

    None without a selection.

    Raises:
        UserError: if the selection misses the layer.
    """
    if Gimp.Selection.is_empty(drawable.get_image()):
        return None
    hit, x, y, width, height = drawable.mask_intersect()
    if not hit or width <= 0 or height <= 0:
        raise UserError(
            _("The selection does not touch the layer “{name}”.").format(name=drawable.get_name()),
            _("Select a part of this layer, or make another layer active."),
        )
    return Box(x, y, width, height)
