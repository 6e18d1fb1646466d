"""The procedure from scripts: Script-Fu, the example for folders, wrong arguments."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

from maskupe_gimp import source
from tests.gimp.daemon import Daemon
from tests.gimp.finding import Gimp
from tests.gimp.photo import babl, dark_photo, tiled_photo
from tests.gimp.session import Session

SAVE = """
from gi.repository import Gio
image = new_image(512, 512)
layer = new_layer(image, 512, 512)
write(layer, path, babl)
select_ellipse(image, 150, 120, 200, 240)
if named:
    Gimp.Selection.save(image).set_name("dark")
Gimp.Selection.none(image)
Gimp.file_save(Gimp.RunMode.NONINTERACTIVE, image, Gio.File.new_for_path(target), None)
image.delete()
"""
LOAD = """
image = Gimp.file_load(Gimp.RunMode.NONINTERACTIVE, Gio.File.new_for_path(target))
read(image.get_layers()[0], babl)
image.delete()
"""


def batch(gimp: Gimp, work: Path, interpreter: str, code: str, **values: str) -> tuple[int, str]:
    """Runs code in a gimp-console of its own: its status, and what it printed."""
    variables = {
        "HOME": str(work / "home"),
        "GIMP3_DIRECTORY": str(work / "profile"),
        "MASKUPE_STATE_DIR": str(work / "state"),
        **values,
    }
    command = ["gimp-console", "-i", f"--batch-interpreter={interpreter}", "-b", code, "--quit"]
    line = gimp.command(command, work, variables)
    ran = subprocess.run(line, capture_output=True, text=True, check=False, timeout=120)
    return ran.returncode, ran.stdout + ran.stderr


def test_the_example_lights_up_a_folder(
    installed_gimp: Gimp, gimp: Session, work: Path, daemon: Daemon
) -> None:
    photo = dark_photo()
    folder, output = work / "photos", work / "lit"
    folder.mkdir()
    values = {"path": gimp.put(photo), "babl": babl(photo)}
    gimp.run(SAVE, target=str(folder / "a.xcf"), named=True, **values)
    gimp.run(SAVE, target=str(folder / "b.xcf"), named=False, **values)
    example = work / "enhance_folder.py"
    shutil.copyfile(source().parent / "examples" / example.name, example)
    status, said = batch(
        installed_gimp,
        work,
        "python-fu-eval",
        f"exec(open({str(example)!r}).read())",
        MASKUPE_FOLDER=str(folder),
        MASKUPE_OUTPUT=str(output),
        MASKUPE_CHANNEL="dark",
    )
    assert status != os.EX_OK  # b has no such channel
    assert "a.xcf: done" in said and "b.xcf: there is no channel “dark”" in said
    assert "Not lit up: b.xcf" in said
    assert sorted(path.name for path in output.iterdir()) == ["a.xcf"]
    gimp.run(LOAD, target=str(output / "a.xcf"), babl=babl(photo))
    after = gimp.get(photo.shape, np.uint8)
    assert after[220:260, 230:270].mean() > 1.3 * photo[220:260, 230:270].mean()
    assert np.array_equal(after[:80], photo[:80])


def test_script_fu(installed_gimp: Gimp, work: Path, daemon: Daemon) -> None:
    daemon.start()
    photo = dark_photo()
    cv2.imwrite(str(work / "in.png"), photo[..., ::-1])
    scheme = f"""
(let* ((image (car (gimp-file-load RUN-NONINTERACTIVE "{work}/in.png")))
       (layer (vector-ref (car (gimp-image-get-layers image)) 0)))
  (gimp-image-select-ellipse image CHANNEL-OP-REPLACE 150 120 200 240)
  (plug-in-maskupe-local-underexposure #:run-mode RUN-NONINTERACTIVE #:image image
    #:drawables (vector layer) #:strength 1.0 #:side "outside" #:edges "off")
  (gimp-file-save RUN-NONINTERACTIVE image "{work}/out.png"))
"""
    status, said = batch(installed_gimp, work, "plug-in-script-fu-eval", scheme)
    assert status == os.EX_OK, said[-2000:]
    after = cv2.imread(str(work / "out.png"))[..., ::-1]
    assert after[220:260, 230:270].mean() > 1.3 * photo[220:260, 230:270].mean()
    assert np.array_equal(after[:80], photo[:80])


def test_what_the_command_line_makes_of_the_same_picture(gimp: Session, work: Path) -> None:
    """One file through GIMP and through ``maskupe enhance``: equal within a level."""
    photo = tiled_photo(900, 1400)
    code = """
image = new_image(1400, 900)
layer = new_layer(image, 1400, 900)
write(layer, path, babl)
select_ellipse(image, 500, 300, 380, 300, feather=25)
(WORK / "selection.raw").write_bytes(image.get_selection().get_buffer().get(
    rect(0, 0, 1400, 900), 1.0, "Y u8", NONE))
result = enhance(image, [layer])
read(layer, babl)
image.delete()
"""
    assert gimp.run(code, path=gimp.put(photo), babl=babl(photo)) == [True, ""]
    through_gimp = gimp.get(photo.shape, np.uint8)
    cv2.imwrite(str(work / "photo.png"), photo[..., ::-1])
    cv2.imwrite(str(work / "mask.png"), gimp.get(photo.shape[:2], np.uint8, "selection.raw"))
    command = ["maskupe", "enhance", "photo.png", "--mask", "mask.png", "-o", "cli.png"]
    program = [str(Path(sys.executable).parent / command[0]), *command[1:]]
    subprocess.run(program, cwd=work, check=True, capture_output=True)
    through_cli = cv2.imread(str(work / "cli.png"))[..., ::-1]
    difference = np.abs(through_gimp.astype(int) - through_cli.astype(int))
    assert (through_cli != photo).any()
    assert difference.max() <= 1
