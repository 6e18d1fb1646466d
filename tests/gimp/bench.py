"""``python -m tests.gimp.bench``: what the way from GIMP to the daemon and back costs.

In a real GIMP without a user interface, on one layer and in turn: the procedure on the whole
layer, on ellipses of the layer, and GIMP's own Shadows-Highlights for comparison. The daemon's log
says how long a job computed; what is left of the procedure's time is the bridge: starting the
plug-in, reading, sending, receiving, writing, the undo step.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import tempfile
from pathlib import Path

import numpy as np

from maskupe_gimp import bundle
from tests.gimp.daemon import Daemon
from tests.gimp.finding import find_gimp
from tests.gimp.photo import babl, tiled_photo
from tests.gimp.session import Session, prepare

_SHAPE = (4, 6)  # the photograph's sides relate like these
_OPEN = """
image = new_image(width, height)
layer = new_layer(image, width, height, alpha)
write(layer, path, babl)
"""
# Every run starts without old undo steps, as the memory they take is not what is asked for.
_RUN = """
Gimp.Selection.none(image)
if ellipse:
    select_ellipse(image, *ellipse)
image.undo_disable(); image.undo_enable()
began = time.perf_counter()
called = enhance(image, [layer], strength=0.05)
result = [called, time.perf_counter() - began]
"""
_OWN = """
Gimp.Selection.none(image)
image.undo_disable(); image.undo_enable()
began = time.perf_counter()
filter = Gimp.DrawableFilter.new(layer, "gegl:shadows-highlights", "")
filter.get_config().set_property("shadows", 30.0)
filter.update()
layer.merge_filter(filter)
result = time.perf_counter() - began
"""
_LOGGED = re.compile(r"load=([0-9.]+)s run=([0-9.]+)s")


def main() -> None:
    """Prints a table of medians in seconds."""
    parser = argparse.ArgumentParser(prog="python -m tests.gimp.bench", description=__doc__)
    parser.add_argument("--gimp", default="3.0", help="the version: 3.0 or 3.2")
    parser.add_argument("--megapixels", type=float, default=24.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--alpha", action="store_true", help="a layer with alpha")
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="maskupe-"))
    plug_ins = prepare(work)
    bundle.copy_to(plug_ins)
    daemon = Daemon(work)
    daemon.start()
    # As for its users, Python keeps the compiled plug-in.
    session = Session(find_gimp(options.gimp), work, environment={"PYTHONDONTWRITEBYTECODE": ""})
    try:
        _print(options, _measure(options, session, daemon))
    finally:
        session.close()
        daemon.stop()
        shutil.rmtree(work, ignore_errors=True)


def _measure(
    options: argparse.Namespace, session: Session, daemon: Daemon
) -> dict[str, list[tuple[float, float]]]:
    """Seconds in all and of computing, for every case and round."""
    unit = (options.megapixels * 1e6 / (_SHAPE[0] * _SHAPE[1])) ** 0.5
    height, width = (round(side * unit) for side in _SHAPE)
    photo = tiled_photo(height, width, alpha=options.alpha)
    values = {"width": width, "height": height, "alpha": options.alpha}
    session.run(_OPEN, path=session.put(photo), babl=babl(photo), timeout=300, **values)
    cases = {
        "whole layer": None,
        "ellipse over all": (0, 0, width, height),
        "ellipse of 5 %": _ellipse(width, height, 0.05),
    }
    found: dict[str, list[tuple[float, float]]] = {}
    for number in range(options.rounds + 1):
        for name, ellipse in cases.items():
            called, seconds = session.run(_RUN, ellipse=ellipse, timeout=300)
            assert called == [True, ""], called
            found.setdefault(name, []).append((seconds, _computed(daemon)))
        own = session.run(_OWN, timeout=300)
        found.setdefault("Shadows-Highlights", []).append((own, own))
        if number == 0:  # caches, the model
            found.clear()
    return found


def _ellipse(width: int, height: int, share: float) -> tuple[float, float, float, float]:
    """One in the middle with this share of the layer's area."""
    scale = (share * 4 / np.pi) ** 0.5
    size = (scale * width, scale * height)
    return ((width - size[0]) / 2, (height - size[1]) / 2, *size)


def _computed(daemon: Daemon) -> float:
    """Seconds that the daemon's last job took for loading and computing."""
    log = (daemon.state / "daemon.log").read_text("utf-8")
    load, run = _LOGGED.findall(log)[-1]
    return float(load) + float(run)


def _print(options: argparse.Namespace, found: dict[str, list[tuple[float, float]]]) -> None:
    own = statistics.median(seconds for seconds, _ in found["Shadows-Highlights"])
    kind = "RGBA" if options.alpha else "RGB"
    print(
        f"GIMP {options.gimp}, {options.megapixels:g} MP {kind} u8, "
        f"medians of {options.rounds} in s (smallest in brackets)\n"
    )
    print("| | in all | computing | bridge | in all / GIMP's own | bridge / GIMP's own |")
    print("|---|---|---|---|---|---|")
    for name, runs in found.items():
        total = statistics.median(seconds for seconds, _ in runs)
        least = min(seconds for seconds, _ in runs)
        line = f"| {name} | {total:.2f} ({least:.2f}) |"
        if name != "Shadows-Highlights":
            computing = statistics.median(inside for _, inside in runs)
            bridge = statistics.median(seconds - inside for seconds, inside in runs)
            line += f" {computing:.2f} | {bridge:.2f} | {total / own:.2f} | {bridge / own:.2f} |"
        else:
            line += " | | 1 | |"
        print(line)


if __name__ == "__main__":
    main()
