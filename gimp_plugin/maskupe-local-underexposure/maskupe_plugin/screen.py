"""The screen that the dialog is on: how much room it has, and pictures in its own pixels."""

from __future__ import annotations

import gi
from gi.repository import Gdk, GdkPixbuf, Gtk

try:
    # PyGObject hands pictures with a scale over only with the help of pycairo, which comes with
    # most GIMPs. Without it, screens of high density show each pixel of the preview twice.
    gi.require_foreign("cairo")
    _SCALES = True
except ImportError:
    _SCALES = False


#: The room that is taken for granted while no monitor is connected.
_NO_MONITOR = (1280, 720)


def free_size() -> tuple[int, int]:
    """Return width and height of the largest window that fits on the screen."""
    display = Gdk.Display.get_default()
    if display is None:
        return _NO_MONITOR
    monitor = display.get_primary_monitor() or display.get_monitor(0)
    if monitor is None:
        return _NO_MONITOR
    free = monitor.get_workarea()
    return free.width, free.height


def sharpness(widget: Gtk.Widget) -> int:
    """Return how many pixels of the screen make one of the widget's, in either direction."""
    return int(widget.get_scale_factor()) if _SCALES else 1


def set_sharp(image: Gtk.Image, pixbuf: GdkPixbuf.Pixbuf) -> None:
    """Show a picture so that each of its pixels is one of the screen's, where that can be had."""
    factor = sharpness(image)
    if factor == 1:
        image.set_from_pixbuf(pixbuf)
    else:
        image.set_from_surface(Gdk.cairo_surface_create_from_pixbuf(pixbuf, factor, None))
