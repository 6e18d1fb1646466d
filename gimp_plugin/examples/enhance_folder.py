"""Lights up a folder of XCF files, each by a selection that was saved in it as a channel.

    MASKUPE_FOLDER=photos MASKUPE_OUTPUT=done MASKUPE_CHANNEL=dark \
        gimp-console -i --batch-interpreter=python-fu-eval \
        -b 'exec(open("enhance_folder.py").read())' --quit

In GIMP a selection is saved with Select > Save to Channel; the channel's name is given here. The
bottom layer of each file is lit up, and the result is written under the same name.
"""

import os
import sys
from pathlib import Path

from gi.repository import Gimp, Gio

PROCEDURE = "plug-in-maskupe-local-underexposure"


def enhance_file(source: Path, target: Path, channel_name: str) -> None:
    """Light up one file.

    Raises:
        RuntimeError: if there is no such channel, or the procedure fails.
    """
    quiet = Gimp.RunMode.NONINTERACTIVE
    image = Gimp.file_load(quiet, Gio.File.new_for_path(str(source)))
    try:
        channel = image.get_channel_by_name(channel_name)
        if channel is None:
            raise RuntimeError(f"there is no channel “{channel_name}”")
        image.select_item(Gimp.ChannelOps.REPLACE, channel)
        procedure = Gimp.get_pdb().lookup_procedure(PROCEDURE)
        if procedure is None:
            raise RuntimeError("the plug-in is not installed: run maskupe-gimp install")
        config = procedure.create_config()
        config.set_property("run-mode", quiet)
        config.set_property("image", image)
        config.set_core_object_array("drawables", [image.get_layers()[-1]])
        config.set_property("strength", 1.0)
        config.set_property("side", "outside")
        values = procedure.run(config)
        if values.index(0) != Gimp.PDBStatusType.SUCCESS:
            raise RuntimeError(values.index(1))
        Gimp.file_save(quiet, image, Gio.File.new_for_path(str(target)), None)
    finally:
        image.delete()


def enhance_folder(folder: Path, output: Path, channel_name: str) -> list[str]:
    """Light up every XCF file of a folder; the names of those that could not be."""
    output.mkdir(parents=True, exist_ok=True)
    failed = []
    for source in sorted(folder.glob("*.xcf")):
        try:
            enhance_file(source, output / source.name, channel_name)
            print(f"{source.name}: done")
        except Exception as error:
            failed.append(source.name)
            print(f"{source.name}: {error}", file=sys.stderr)
    return failed


failed = enhance_folder(
    Path(os.environ["MASKUPE_FOLDER"]),
    Path(os.environ["MASKUPE_OUTPUT"]),
    os.environ.get("MASKUPE_CHANNEL", "Selection Mask copy"),
)
if failed:  # so that gimp-console ends with an error, too
    raise RuntimeError(f"Not lit up: {', '.join(failed)}")
