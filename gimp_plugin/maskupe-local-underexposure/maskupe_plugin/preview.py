"""The live preview: picture, toggles, and what can be read off it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from gi.repository import Gdk, GdkPixbuf, Gimp, GLib, Gtk, Pango

from maskupe_plugin import preview_image
from maskupe_plugin.actual_pixels import ActualPixels, weight_bytes
from maskupe_plugin.checks import UserError
from maskupe_plugin.exposure_entry import ExposureEntry
from maskupe_plugin.i18n import _
from maskupe_plugin.job import Job
from maskupe_plugin.preview_source import Proxy, read_proxy, view_of
from maskupe_plugin.preview_worker import ACTUAL_PIXELS, FITTED, PreviewResult, PreviewWorker
from maskupe_plugin.region import Box
from maskupe_plugin.screen import free_size, set_sharp, sharpness
from maskupe_plugin.thumbnail import selection_digest
from maskupe_plugin.viewport import ZOOMS, Viewport, next_zoom
from maskupe_plugin.zoom_control import LAYER, MAGNIFIED, SELECTION, ZoomControl

#: Milliseconds without a change after which a preview that is being made is given up for a newer.
_DEBOUNCE = 30
#: Size of the preview in the dialog that opens, and the least that a person can make of it. What
#: is beside, above and below it needs so much of the screen.
_WIDTH, _HEIGHT = 600, 420
_LEAST_WIDTH, _LEAST_HEIGHT = 280, 160
_BESIDE, _BELOW = 500, 265
#: Most pixels of the screen that a preview is computed for, in either direction.
_MOST = 1600
#: Behind what is transparent: size in pixels, a power of two, and two colours.
_CHEQUERS = (8, 0x999999, 0x666666)
#: Small pictures are magnified by a whole number, at most by this.
_MAGNIFIED = 16
#: Milliseconds without a change of the window's size after which the preview is made for it.
_RESIZED = 150
#: Milliseconds without a change of settings or view after which actual pixels are rendered.
_RESTED = 120
#: So near to the split view's line, in pixels of the screen, a drag moves the line.
_NEAR = 12
#: Pixels of the screen by which an arrow key moves what is seen.
_STEP = 60
_COMMAND = re.compile(r"maskupe-\w+")


class Preview:
    """The preview's widgets, in ``box``.

    Args:
        config: the procedure's arguments.
        plan: gives the job with the settings as they are now; called in the main thread.
        measured: called with the transition's width in layer pixels whenever it is known.
    """

    def __init__(
        self,
        config: Gimp.ProcedureConfig,
        plan: Callable[[], Job],
        measured: Callable[[float], None],
    ) -> None:
        self._plan = plan
        self._measured = measured
        self._proxy: Proxy | None = None
        self._read_for = (0, 0)  # the room that it was read for
        self._of_daemon = False  # whether the text shown is what the daemon's thread said
        self._selection = b""  # tells the selection that it was read with from another
        self._shown: PreviewResult | None = None
        self._split_at = 0.5
        self._timer = 0
        self._resizing = 0
        self._resting = 0
        self._job: Job | None = None
        self._selection_only = True  # whether the fitted view leaves the rest of the layer out
        self._viewport: Viewport | None = None  # None: the fitted view
        self._grabbed: tuple[float, float] | None = None  # where the picture is held
        self._room = (_WIDTH, _HEIGHT)  # pixels of the screen that the picture may take
        self._exposure = ExposureEntry(config, lambda text: self.tell(text, False))
        self._worker = PreviewWorker(self._show, self._told)
        self._actual = ActualPixels(
            lambda request, planes, about: self._worker.ask(ACTUAL_PIXELS, request, planes, about)
        )
        self.box = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=6)
        self._build()
        self._worker.start()

    def _build(self) -> None:
        self._image = Gtk.Image()
        # The event box hugs the picture, so that clicks are counted from its edge.
        self._area = Gtk.EventBox(halign=Gtk.Align.CENTER, valign=Gtk.Align.CENTER)
        self._area.set_can_focus(True)
        masks = Gdk.EventMask
        self._area.add_events(
            masks.BUTTON_PRESS_MASK | masks.BUTTON_MOTION_MASK | masks.SCROLL_MASK
        )
        self._area.connect("button-press-event", self._press)
        self._area.connect("motion-notify-event", self._drag)
        self._area.connect("scroll-event", self._scroll)
        self._area.connect("key-press-event", self._key)
        self._area.add(self._image)
        # Its size does not depend on the picture: nothing beside it moves, and it can be made
        # smaller than what is in it. (A policy of EXTERNAL shows no scroll bars.)
        frame = Gtk.ScrolledWindow(shadow_type=Gtk.ShadowType.IN)
        frame.set_policy(Gtk.PolicyType.EXTERNAL, Gtk.PolicyType.EXTERNAL)
        free_width, free_height = free_size()
        frame.set_size_request(
            max(_LEAST_WIDTH, min(_WIDTH, free_width - _BESIDE)),
            max(_LEAST_HEIGHT, min(_HEIGHT, free_height - _BELOW)),
        )
        frame.add(self._area)
        frame.connect("size-allocate", self._resize)
        self._frame = frame
        self.box.pack_start(frame, True, True, 0)

        # Close together: what is on is in bold type, and wider.
        toggles = Gtk.Box(spacing=6)
        self._on = self._toggle(
            toggles, _("_Preview"), True, _("Show the result, or the layer as it is")
        )
        self._split = self._toggle(
            toggles,
            _("Split _view"),
            False,
            _(
                "Layer to the left of the line, result to the right. "
                "Drag the line, or move it with the left and right arrow keys"
            ),
        )
        self._outline = self._toggle(
            toggles,
            _("Show _transition"),
            False,
            _("Yellow: fully lit inside. Dashed: the light has faded out, nothing beyond changes"),
        )
        self._tint = self._toggle(
            toggles,
            _("Show mas_k"),
            False,
            _("Colours what is lit up, the more, the stronger the effect is there"),
        )
        self.box.pack_start(toggles, False, False, 0)
        for toggle in (self._on, self._split, self._outline, self._tint):
            toggle.connect("toggled", lambda _toggle: self._draw())
        self._tint.connect("toggled", lambda _toggle: self.refresh())

        line = Gtk.Box(spacing=12)
        self._zoom_control = ZoomControl(
            self._zoom_by,
            lambda: self._fit(selection_only=False),
            lambda: self._fit(selection_only=True),
            self._show_actual,
        )
        line.pack_start(self._exposure.box, False, False, 0)
        line.pack_end(self._zoom_control.box, False, False, 0)
        self.box.pack_start(line, False, False, 0)
        # What is to be said takes the place of what did the work.
        self._state = Gtk.Label(xalign=0.0, wrap=True, max_width_chars=60)
        self._place = Gtk.Label(xalign=0.0, ellipsize=Pango.EllipsizeMode.END)
        self._place.get_style_context().add_class("dim-label")
        last = Gtk.Box()
        last.pack_start(self._state, True, True, 0)
        last.pack_start(self._place, True, True, 0)
        self.box.pack_start(last, False, False, 0)
        self._state.set_no_show_all(True)

    @staticmethod
    def _toggle(box: Gtk.Box, label: str, active: bool, tip: str) -> Gtk.CheckButton:
        toggle = Gtk.CheckButton(label=label, use_underline=True, active=active)
        toggle.set_tooltip_text(tip)
        box.pack_start(toggle, False, False, 0)
        return toggle

    def refresh(self) -> None:
        """Make the preview anew, at once if none is being made; many calls at once make one."""
        if self._timer:
            GLib.source_remove(self._timer)
        self._timer = GLib.timeout_add(0 if self._worker.idle else _DEBOUNCE, self._ask)

    def notice_selection(self) -> None:
        """Make the preview anew if something else is selected than it was made with."""
        if self._proxy is None:
            return
        try:
            changed = _digest(self._plan()) != self._selection
        except UserError:
            changed = True  # the preview will tell
        if changed:
            self.refresh()

    def let_shrink(self) -> None:
        """Let the person make the window smaller than it opened."""
        self._frame.set_size_request(_LEAST_WIDTH, _LEAST_HEIGHT)

    def tell(self, text: str, failed: bool) -> None:
        """Show a text below the picture, "" for none, and whether it is an error."""
        # Pango would break a line at the hyphen of a command.
        unbroken = r'<span allow_breaks="false">\g<0></span>'
        markup = _COMMAND.sub(unbroken, GLib.markup_escape_text(text))
        self._state.set_markup(f"<b>{markup}</b>" if failed else markup)
        self._state.set_visible(bool(text))
        self._place.set_visible(not text)
        self._of_daemon = False

    def _told(self, text: str, failed: bool) -> None:
        """Show what the daemon's thread has to say; "" takes back only what it said itself."""
        if failed:
            self._actual.failed()
        if text or self._of_daemon:
            self.tell(text, failed)
            self._of_daemon = bool(text)

    def settle(self) -> None:
        """Wait until the settings are those that belong to what was typed."""
        self._exposure.settle()

    def close(self) -> None:
        """End the connection to the daemon."""
        for timer in filter(None, (self._timer, self._resizing, self._resting)):
            GLib.source_remove(timer)
        self._timer = self._resizing = self._resting = 0
        self._actual.forget()
        self._worker.close()

    def _ask(self) -> bool:
        self._timer = 0
        try:
            job = self._plan()
        except UserError as refusal:  # the selection or a lock changed while the dialog is open
            self.tell(str(refusal), True)
            return False
        self._job = job
        if not self._of_daemon:
            self.tell("", False)
        view = view_of(job, self._selection_only)
        selection = _digest(job)
        if selection != self._selection:
            self._selection, self._proxy = selection, None
            self._actual.forget()
        if self._proxy is None or (self._proxy.view, self._read_for) != (view, self._room):
            self._proxy, self._read_for = read_proxy(job, view, self._room), self._room
            self._shown = None
            self._draw()
        request = self._proxy.request(job.settings, self._tint.get_active())
        self._worker.ask(
            FITTED, request, self._proxy.planes(), (self._proxy, job.settings.strength)
        )
        self._render_soon()
        return False

    def _render_soon(self) -> None:
        """Render the actual pixels that are seen, once nothing has changed for a moment."""
        if self._resting:
            GLib.source_remove(self._resting)
        self._resting = GLib.timeout_add(_RESTED, self._render) if self._viewport else 0

    def _render(self) -> bool:
        self._resting = 0
        if self._viewport is not None and self._job is not None and self._proxy is not None:
            try:
                self._actual.want(
                    self._job, self._viewport.box, self._tint.get_active(), self._proxy.context
                )
            except UserError as refusal:
                self.tell(str(refusal), False)
        return False

    def _show(self, shown: PreviewResult) -> None:
        if shown.kind == ACTUAL_PIXELS:
            self._actual.arrived(shown)
            self._draw()
            return
        proxy: Proxy = shown.about[0]
        if proxy is not self._proxy:
            return  # the view has changed since
        self._shown = shown
        self._draw()
        self._measured(shown.width / proxy.scale)
        line, details = shown.place
        self._place.set_text(line)
        self._place.set_tooltip_text(f"{line}\n{details}")
        # The picture is painted first: an idle call comes after GTK's drawing.
        GLib.idle_add(self._show_gain, shown)

    def _show_gain(self, shown: PreviewResult) -> bool:
        if shown is not self._shown:
            return False
        proxy, strength = shown.about
        areas = bytes(shown.planes["areas"])
        before, after = memoryview(proxy.before).cast("H"), shown.planes["image"].cast("H")
        self._exposure.show(strength, preview_image.exposure_gain(before, after, areas))
        return False

    def _draw(self) -> None:
        if self._proxy is None:
            return
        if self._viewport is None:
            picture = self._fitted_picture(self._proxy)
            times = self._magnified(self._proxy)
            size = times * picture.get_width(), times * picture.get_height()
        else:
            picture = self._actual_picture(self._proxy, self._viewport)
            size = self._viewport.size
        smaller = size[0] < picture.get_width()
        kind = GdkPixbuf.InterpType.BILINEAR if smaller else GdkPixbuf.InterpType.NEAREST
        # On GIMP's chequers, so that dark writing on nothing is seen in a dark window. GdkPixbuf
        # gives None where memory is short.
        picture = picture.composite_color_simple(*size, kind, 255, *_CHEQUERS) or picture
        set_sharp(self._image, picture)
        self._show_zoom(self._proxy)

    def _show_zoom(self, proxy: Proxy) -> None:
        zoom, selected = self._zoom_now(proxy), self._job is not None and self._job.selected
        view = SELECTION if self._selection_only and selected else LAYER
        if self._viewport is not None:
            view = MAGNIFIED
        self._zoom_control.show(zoom, view, selected, zoom < ZOOMS[-1])

    def _magnified(self, proxy: Proxy) -> int:
        """Return how many pixels of the screen a pixel of the fitted view takes."""
        times = self._room[0] // proxy.box.width, self._room[1] // proxy.box.height
        return max(1, min(_MAGNIFIED, *times))

    def _zoom_now(self, proxy: Proxy) -> float:
        if self._viewport is not None:
            return self._viewport.zoom
        return proxy.scale * self._magnified(proxy)

    def _fitted_picture(self, proxy: Proxy) -> GdkPixbuf.Pixbuf:
        width, height = proxy.box.width, proxy.box.height
        before = preview_image.high_bytes(proxy.before)
        if self._shown is None:
            return _pixbuf(before, width, height)
        planes = self._shown.planes
        after = preview_image.high_bytes(planes["image"])
        weight = planes.get("weight") if self._tint.get_active() else None
        return self._compose(
            before,
            after,
            bytes(planes["areas"]),
            None if weight is None else weight_bytes(weight, width, height),
            width,
            height,
        )

    def _actual_picture(self, proxy: Proxy, viewport: Viewport) -> GdkPixbuf.Pixbuf:
        view = viewport.box
        assert self._job is not None  # it is planned before anything is read
        before = self._actual.before(view, self._job)
        after = bytearray(before)
        if self._on.get_active():
            # Until its actual pixels are there, the fitted view stands in for a part.
            seen = view.within(self._job.box)
            if self._shown is not None and not self._actual.covers(seen):
                after = bytearray(_stretched(self._shown, proxy, before, view, seen))
            self._actual.lay_over(after, view)
        return self._compose(
            before,
            bytes(after),
            self._actual.areas(view),
            self._actual.weight(view) if self._tint.get_active() else None,
            view.width,
            view.height,
        )

    def _compose(
        self,
        before: bytes,
        after: bytes,
        areas: bytes | None,
        weight: bytes | None,
        width: int,
        height: int,
    ) -> GdkPixbuf.Pixbuf:
        """Return the picture with what the toggles want to be seen in it."""
        shown = bytearray(before)
        if self._on.get_active():
            split = round(self._split_at * width) if self._split.get_active() else None
            shown = preview_image.compose(before, after, width, height, split=split)
        if weight is not None:
            picture = _canvas(shown, width, height)
            tint = _pixbuf(preview_image.tint(weight), width, height)
            place = (0, 0, width, height, 0.0, 0.0, 1.0, 1.0)
            tint.composite(picture, *place, GdkPixbuf.InterpType.NEAREST, 255)
            shown = bytearray(picture.get_pixels())
        if areas is not None and self._outline.get_active():
            preview_image.draw_outlines(shown, areas, width, height)
        return _pixbuf(shown, width, height)

    def _resize(self, frame: Gtk.Widget, place: Gdk.Rectangle) -> None:
        factor = sharpness(frame)
        room = min(_MOST, place.width * factor), min(_MOST, place.height * factor)
        if room == self._room:
            return
        self._room = room
        if self._viewport is not None:
            self._viewport = replace(self._viewport, room=room).moved(0, 0)
            self._draw()
        if self._resizing:
            GLib.source_remove(self._resizing)
        self._resizing = GLib.timeout_add(_RESIZED if self._proxy else 0, self._resized)

    def _resized(self) -> bool:
        self._resizing = 0
        self.refresh()
        return False

    def _fit(self, selection_only: bool) -> None:
        self._look(None)
        if selection_only != self._selection_only:
            self._selection_only = selection_only
            self.refresh()

    def _show_actual(self) -> None:
        self._zoom_to(1.0)

    def _zoom_by(self, step: int, x: float | None = None, y: float | None = None) -> None:
        if self._proxy is None:
            return
        proxy = self._proxy
        fitted = proxy.scale * self._magnified(proxy)
        self._zoom_to(next_zoom(self._zoom_now(proxy), step, fitted), x, y)

    def _zoom_to(self, zoom: float | None, x: float | None = None, y: float | None = None) -> None:
        """Zoom, while the pixel at a place in the picture stays there, or that in its middle."""
        if self._proxy is None or self._job is None or zoom is None:
            self._look(None)
            return
        fitted, proxy = self._viewport, self._proxy
        if fitted is None:
            # The fitted view as a viewport: what it shows lies in the middle of the room.
            scale = proxy.scale * self._magnified(proxy)
            middle = proxy.view.x + proxy.view.width / 2, proxy.view.y + proxy.view.height / 2
            size = round(proxy.view.width * scale), round(proxy.view.height * scale)
            layer = self._job.layer
            fitted = Viewport((layer.width, layer.height), size, scale, middle)
        width, height = fitted.size
        zoomed = fitted.zoomed(zoom, width / 2 if x is None else x, height / 2 if y is None else y)
        self._look(replace(zoomed, room=self._room).moved(0, 0))

    def _look(self, viewport: Viewport | None) -> None:
        """Show a part of the layer, or the fitted view."""
        self._viewport = viewport
        cursor = Gdk.Cursor.new_from_name(self._area.get_display(), "grab") if viewport else None
        window = self._area.get_window()
        if window is not None:
            window.set_cursor(cursor)
        self._draw()
        self._render_soon()

    def _place_of(
        self, event: Gdk.EventButton | Gdk.EventMotion | Gdk.EventScroll
    ) -> tuple[float, float]:
        """Return where an event is in the picture, in pixels of the screen."""
        factor = sharpness(self._area)
        return event.x * factor, event.y * factor

    def _press(self, _area: Gtk.Widget, event: Gdk.EventButton) -> bool:
        if self._proxy is None or event.button != 1:
            return False
        self._area.grab_focus()
        x, y = self._place_of(event)
        line = self._split_at * self._area.get_allocated_width()
        on_line = self._split.get_active() and abs(event.x - line) < _NEAR
        if event.type == Gdk.EventType.DOUBLE_BUTTON_PRESS and not self._split.get_active():
            self._zoom_to(None if self._viewport else 1.0, x, y)
            return True
        self._grabbed = (x, y) if self._viewport is not None and not on_line else None
        return self._drag(self._area, event)

    def _drag(self, _area: Gtk.Widget, event: Gdk.EventButton | Gdk.EventMotion) -> bool:
        if self._viewport is not None and self._grabbed is not None:
            x, y = self._place_of(event)
            moved = self._viewport.moved(x - self._grabbed[0], y - self._grabbed[1])
            self._grabbed = x, y
            if moved != self._viewport:
                self._viewport = moved
                self._draw()
                self._render_soon()
            return True
        if not self._split.get_active() or self._proxy is None:
            return False
        self._move_split(event.x / self._area.get_allocated_width())
        return True

    def _scroll(self, _area: Gtk.Widget, event: Gdk.EventScroll) -> bool:
        directions = Gdk.ScrollDirection
        step = {directions.UP: 1, directions.DOWN: -1}.get(event.direction)
        if step is not None:
            self._zoom_by(step, *self._place_of(event))
        return step is not None

    def _key(self, _area: Gtk.Widget, event: Gdk.EventKey) -> bool:
        name = (Gdk.keyval_name(event.keyval) or "").removeprefix("KP_")
        across = {"Left": -1, "Right": 1}.get(name, 0)
        down = {"Up": -1, "Down": 1}.get(name, 0)
        if name in ("plus", "equal", "Add"):
            self._zoom_by(1)
        elif name in ("minus", "Subtract"):
            self._zoom_by(-1)
        elif name == "0":
            self._look(None)
        elif name == "1":
            self._show_actual()
        elif across and self._split.get_active():
            self._move_split(self._split_at + 0.02 * across)
        elif (across or down) and self._viewport is not None:
            self._look(self._viewport.moved(-_STEP * across, -_STEP * down))
        else:
            return False
        return True

    def _move_split(self, place: float) -> None:
        self._split_at = min(max(place, 0.0), 1.0)
        self._draw()


def _digest(job: Job) -> bytes:
    """Return what tells the selection of a job from that of another; b"" without one."""
    if job.bounds is None:
        return b""
    _found, x, y = job.drawable.get_offsets()
    return selection_digest(job.image, job.bounds.moved(x, y))


def _pixbuf(pixels: bytes | bytearray, width: int, height: int) -> GdkPixbuf.Pixbuf:
    data, rgb = GLib.Bytes.new(bytes(pixels)), GdkPixbuf.Colorspace.RGB
    return GdkPixbuf.Pixbuf.new_from_bytes(data, rgb, True, 8, width, height, 4 * width)


def _canvas(pixels: bytes | bytearray, width: int, height: int) -> GdkPixbuf.Pixbuf:
    """Return a picture that can be drawn on."""
    picture = _pixbuf(pixels, width, height).copy()
    if picture is None:
        raise MemoryError
    return picture


def _stretched(shown: PreviewResult, proxy: Proxy, before: bytes, view: Box, part: Box) -> bytes:
    """Return a view of the layer, a part of which is the fitted view's result, magnified."""
    picture = _canvas(before, view.width, view.height)
    if part.width and part.height:
        after = preview_image.high_bytes(shown.planes["image"])
        times = 1 / proxy.scale
        _pixbuf(after, proxy.box.width, proxy.box.height).scale(
            picture,
            part.x - view.x,
            part.y - view.y,
            part.width,
            part.height,
            proxy.box.x * times - view.x,
            proxy.box.y * times - view.y,
            times,
            times,
            GdkPixbuf.InterpType.BILINEAR,
        )
    return picture.get_pixels()
