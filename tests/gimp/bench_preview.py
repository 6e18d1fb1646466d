"""``python -m tests.gimp.bench_preview``: from a moved slider to the painted preview.

In a real GIMP with its dialog on a virtual screen. The strength is changed by the Up key; the
installed copy of the plug-in gets a few lines that note when the setting changed and when GTK had
painted the answer; each step waits for the one before, so nothing has to be gathered.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from maskupe_gimp import NAME, bundle
from tests.gimp.daemon import Daemon
from tests.gimp.desktop import Desktop
from tests.gimp.finding import find_gimp
from tests.gimp.photo import babl, tiled_photo
from tests.gimp.session import Session, prepare, settle

_NOTES = """

import time as _time
_began = []
_refresh, _really_show = Preview.refresh, Preview._show

def _noted_refresh(self):
    _began[:] = [_time.perf_counter()]
    _refresh(self)

def _noted_show(self, shown):
    _really_show(self, shown)
    clock = self._image.get_frame_clock()

    def painted(*_arguments):
        clock.disconnect(handler)
        if _began:
            with open({path!r}, "a") as file:
                file.write(f"{{_time.perf_counter() - _began.pop():.6f}}\\n")

    handler = clock.connect("after-paint", painted)
    self._image.queue_draw()

Preview.refresh, Preview._show = _noted_refresh, _noted_show
"""
_SHOW = """
image = new_image(width, height)
layer = new_layer(image, width, height)
write(layer, path, babl)
select_ellipse(image, 0.3 * width, 0.25 * height, 0.4 * width, 0.5 * height)
show_dialog(image, [layer])
"""


def main() -> None:
    """Prints how long it took."""
    parser = argparse.ArgumentParser(prog="python -m tests.gimp.bench_preview", description=__doc__)
    parser.add_argument("--gimp", default="3.0", help="the version: 3.0 or 3.2")
    parser.add_argument("--megapixels", type=float, default=24.0)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="maskupe-"))
    gimp = find_gimp(options.gimp)
    bundle.copy_to(prepare(work))
    told = work / "painted.txt"
    module = work / "profile" / "plug-ins" / NAME / "maskupe_plugin" / "preview.py"
    module.write_text(module.read_text("utf-8") + _NOTES.format(path=str(told)), "utf-8")
    settle(gimp, work)
    daemon = Daemon(work)
    daemon.start()
    desktop = Desktop(gimp, work)
    session = Session(gimp, work, display=desktop.display)
    try:
        seconds = _measure(session, desktop, told, options)
    finally:
        session.process.kill()
        session.close()
        desktop.close()
        daemon.stop()
        shutil.rmtree(work, ignore_errors=True)
    spread = [1000 * s for s in sorted(seconds)]
    print(
        f"GIMP {options.gimp}, {options.megapixels:g} MP, {len(spread)} steps of the slider: "
        f"median {statistics.median(spread):.0f} ms, "
        f"nine of ten within {spread[int(0.9 * (len(spread) - 1))]:.0f} ms, "
        f"slowest {spread[-1]:.0f} ms"
    )


def _measure(
    session: Session, desktop: Desktop, told: Path, options: argparse.Namespace
) -> list[float]:
    unit = (options.megapixels * 1e6 / 24) ** 0.5
    height, width = round(4 * unit), round(6 * unit)
    photo = tiled_photo(height, width)
    values = {"width": width, "height": height}
    session.begin(_SHOW, path=session.put(photo), babl=babl(photo), **values)
    window = desktop.window("^Local Underexposure$", 120)
    desktop.focus(window)
    _wait_for(told, 1)
    time.sleep(2.0)
    desktop.keys("alt+g")
    for step in range(options.steps):
        before = _count(told)
        desktop.keys("Up" if step % 8 < 4 else "Down")
        _wait_for(told, before + 1)
        time.sleep(0.1)
    return [float(line) for line in told.read_text().split()][-options.steps :]


def _count(told: Path) -> int:
    return len(told.read_text().split()) if told.exists() else 0


def _wait_for(told: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while _count(told) < count:
        if time.monotonic() > deadline:
            raise SystemExit("The preview was not painted.")
        time.sleep(0.01)


if __name__ == "__main__":
    main()
