"""Which part of the layer a magnified preview shows.

Plain arithmetic, without GIMP: tests run it in any Python.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from maskupe_plugin.region import Box

#: Pixels of the screen per pixel of the layer. Between the smallest and the fitted view there is
#: nothing: so small, no noise is seen that the fitted view does not show.
ZOOMS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


@dataclass(frozen=True)
class Viewport:
    """A part of the layer, magnified.

    Attributes:
        layer: the layer's width and height in pixels.
        room: width and height in pixels of the screen.
        zoom: pixels of the screen per pixel of the layer.
        centre: column and row of the layer, in the middle.
    """

    layer: tuple[int, int]
    room: tuple[int, int]
    zoom: float
    centre: tuple[float, float]

    @property
    def box(self) -> Box:
        """What is shown, in whole pixels of the layer."""
        sides = []
        for place, length, room in zip(self.centre, self.layer, self.room, strict=True):
            shown = min(length, max(1, int(room / self.zoom)))
            sides.append((min(max(0, round(place - shown / 2)), length - shown), shown))
        (x, width), (y, height) = sides
        return Box(x, y, width, height)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture, in pixels of the screen."""
        box = self.box
        return max(1, int(box.width * self.zoom)), max(1, int(box.height * self.zoom))

    def moved(self, dx: float, dy: float) -> Viewport:
        """Return the view after the picture was dragged by so many pixels of the screen."""
        box = self.box
        x, y = self.centre[0] - dx / self.zoom, self.centre[1] - dy / self.zoom
        # Beyond the layer's edge there is nothing, and the way back begins at once.
        width, height = self.layer
        x = min(max(x, box.width / 2), width - box.width / 2)
        y = min(max(y, box.height / 2), height - box.height / 2)
        return replace(self, centre=(x, y))

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return column and row of the layer at a place in the picture, in pixels of the screen."""
        box = self.box
        return box.x + x / self.zoom, box.y + y / self.zoom

    def zoomed(self, zoom: float, x: float, y: float) -> Viewport:
        """Return the view at another zoom.

        Args:
            zoom: the other zoom.
            x: column of the picture under which the layer's pixel stays, in pixels of the screen.
            y: row of the picture, likewise.
        """
        column, row = self.at(x, y)
        off = x - self.size[0] / 2, y - self.size[1] / 2
        centre = column - off[0] / zoom, row - off[1] / zoom
        return replace(self, zoom=zoom, centre=centre).moved(0, 0)


def next_zoom(zoom: float, step: int, fitted: float) -> float | None:
    """Return the zoom one step nearer or farther; None for the fitted view.

    Args:
        zoom: the zoom now, which may be that of the fitted view.
        step: 1 for nearer, -1 for farther.
        fitted: the zoom of the fitted view, the farthest.
    """
    if step > 0:
        return next((level for level in ZOOMS if level > zoom), ZOOMS[-1])
    return next((level for level in reversed(ZOOMS) if fitted < level < zoom), None)


def part_to_render(seen: Box, region: Box, most_pixels: int) -> Box:
    """Return what to have rendered, so that panning a little needs nothing new.

    Args:
        seen: what is shown, in layer coordinates.
        region: what can be rendered.
        most_pixels: as many pixels as that, if they suffice for what is shown.

    Returns:
        A part of the region; of no width or height where nothing of it is shown.
    """
    wanted = seen.within(region)
    if not wanted.width or not wanted.height:
        return wanted
    if region.width * region.height <= most_pixels:
        return region
    best, margin = wanted, 16
    while True:
        larger = wanted.grown(margin).within(region)
        if larger.width * larger.height > most_pixels:
            return best
        best, margin = larger, 2 * margin
