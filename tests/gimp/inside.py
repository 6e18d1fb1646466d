"""Runs inside GIMP as its batch command: helpers for snippets, and the loop that runs them."""

import json
import os
import time
import traceback
from pathlib import Path

from gi.repository import Gegl, Gimp

WORK = Path(os.environ["MASKUPE_TEST_WORK"])
PROCEDURE = "plug-in-maskupe-local-underexposure"
NONE = Gegl.AbyssPolicy.NONE


def rect(x, y, w, h):
    return Gegl.Rectangle.new(x, y, w, h)


def new_image(width, height, precision="U8_NON_LINEAR", gray=False, profile=None):
    base = Gimp.ImageBaseType.GRAY if gray else Gimp.ImageBaseType.RGB
    image = Gimp.Image.new_with_precision(width, height, base, getattr(Gimp.Precision, precision))
    if profile == "adobe":
        image.set_color_profile(Gimp.ColorProfile.new_rgb_adobe())
    elif profile:
        icc = Path(profile).read_bytes()
        image.set_color_profile(Gimp.ColorProfile.new_from_icc_profile(icc))
    return image


def new_layer(image, width, height, alpha=False, offset=(0, 0), parent=None, name="photo"):
    gray = image.get_base_type() == Gimp.ImageBaseType.GRAY
    kinds = Gimp.ImageType
    if gray:
        kind = kinds.GRAYA_IMAGE if alpha else kinds.GRAY_IMAGE
    else:
        kind = kinds.RGBA_IMAGE if alpha else kinds.RGB_IMAGE
    layer = Gimp.Layer.new(image, name, width, height, kind, 100, Gimp.LayerMode.NORMAL)
    image.insert_layer(layer, parent, 0)
    layer.set_offsets(*offset)
    return layer


def write(drawable, path, babl):
    data = Path(path).read_bytes()
    buffer = drawable.get_buffer()
    buffer.set(rect(0, 0, drawable.get_width(), drawable.get_height()), babl, data)
    buffer.flush()


def read(drawable, babl, name="out.raw"):
    """Writes the drawable's pixels to a file; babl None gives GIMP's own bytes."""
    box = rect(0, 0, drawable.get_width(), drawable.get_height())
    (WORK / name).write_bytes(drawable.get_buffer().get(box, 1.0, babl, NONE))


def selection_bytes(image):
    box = rect(0, 0, image.get_width(), image.get_height())
    return image.get_selection().get_buffer().get(box, 1.0, None, NONE)


def select_ellipse(image, x, y, w, h, feather=0.0):
    Gimp.context_push()
    Gimp.context_set_antialias(True)
    Gimp.context_set_feather(feather > 0)
    if feather:
        Gimp.context_set_feather_radius(feather, feather)
    image.select_ellipse(Gimp.ChannelOps.REPLACE, x, y, w, h)
    Gimp.context_pop()


def call(image, drawables, run_mode, settings):
    procedure = Gimp.get_pdb().lookup_procedure(PROCEDURE)
    config = procedure.create_config()
    config.set_property("run-mode", run_mode)
    config.set_property("image", image)
    config.set_core_object_array("drawables", drawables)
    for name, value in settings.items():
        config.set_property(name.replace("_", "-"), value)
    return procedure.run(config)


def enhance(image, drawables, **settings):
    """Calls the procedure; returns [whether it succeeded, its message]."""
    values = call(image, drawables, Gimp.RunMode.NONINTERACTIVE, settings)
    succeeded = values.index(0) == Gimp.PDBStatusType.SUCCESS
    return [succeeded, values.index(1) if not succeeded and values.length() > 1 else ""]


def show_dialog(image, drawables):
    """Calls the procedure with its dialog; returns when that is closed."""
    Gimp.Display.new(image)
    call(image, drawables, Gimp.RunMode.INTERACTIVE, {})


def serve():
    """Runs snippets as they come, until the file ``quit`` is there."""
    folder = WORK / "commands"
    names = dict(globals())
    number = 1
    while not (folder / "quit").exists():
        command = folder / f"{number:04d}.json"
        if not command.exists():
            time.sleep(0.01)
            continue
        found = json.loads(command.read_text("utf-8"))
        names.update(found["values"], result=None)
        try:
            exec(found["code"], names)
            text = json.dumps({"error": "", "result": names["result"]})
        except Exception:
            text = json.dumps({"error": traceback.format_exc(), "result": None})
        command.with_suffix(".part").write_text(text, "utf-8")
        command.with_suffix(".part").rename(command.with_suffix(".answer"))
        number += 1


serve()
