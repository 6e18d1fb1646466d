"""The live preview: picture, toggles, and what can be read off it."""

from __future__ import annotations

import re
from collections.abc import Callable

from gi.repository import Gdk, GdkPixbuf, Gimp, GLib, Gtk, Pango

from maskupe_plugin import preview_image
from maskupe_plugin.checks import UserError
from maskupe_plugin.exposure_entry import ExposureEntry
from maskupe_plugin.i18n import _
from maskupe_plugin.job import Job
from maskupe_plugin.preview_source import Proxy, read_proxy, view_of
from maskupe_plugin.preview_worker import PreviewResult, PreviewWorker
from maskupe_plugin.screen import free_size, set_sharp, sharpness

#: Milliseconds without a change after which a preview that is being made is given up for a newer.
_DEBOUNCE = 30
#: Size of the preview in the dialog that opens, and the least that a person can make of it. What
#: is beside, above and below it needs so much of the screen.
_WIDTH, _HEIGHT = 600, 420
_LEAST_WIDTH, _LEAST_HEIGHT = 280, 160
_BESIDE, _BELOW = 470, 250
#: Most pixels of the screen that a preview is computed for, in either direction.
_MOST = 1600
#: Small pictures are magnified by a whole number, at most by this.
_MAGNIFIED = 16
#: Milliseconds without a change of the window's size after which the preview is made for it.
_RESIZED = 150
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
        self._shown: PreviewResult | None = None
        self._split_at = 0.5
        self._timer = 0
        self._resizing = 0
        self._room = (_WIDTH, _HEIGHT)  # pixels of the screen that the picture may take
        self._exposure = ExposureEntry(config, lambda text: self.tell(text, False))
        self._worker = PreviewWorker(self._show, self.tell)
        self.box = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=6)
        self._build()
        self._worker.start()

    def _build(self) -> None:
        self._image = Gtk.Image()
        # The event box hugs the picture, so that clicks are counted from its edge.
        self._area = Gtk.EventBox(halign=Gtk.Align.CENTER, valign=Gtk.Align.CENTER)
        self._area.set_can_focus(True)
        self._area.add_events(Gdk.EventMask.BUTTON_PRESS_MASK | Gdk.EventMask.BUTTON_MOTION_MASK)
        self._area.connect("button-press-event", self._drag)
        self._area.connect("motion-notify-event", self._drag)
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

        toggles = Gtk.Box(spacing=12)
        self._on = self._toggle(
            toggles, _("_Preview"), True, _("Show the result, or the layer as it is")
        )
        self._split = self._toggle(
            toggles,
            _("Split _view"),
            False,
            _("Layer to the left of the line, result to the right"),
        )
        self._zoom = self._toggle(
            toggles, _("_Zoom to selection"), True, _("Show the selection's surroundings only")
        )
        self._outline = self._toggle(
            toggles,
            _("Show _transition"),
            False,
            _("Yellow: fully lit inside. Dashed: the light has faded out, nothing beyond changes"),
        )
        self.box.pack_start(toggles, False, False, 0)
        for toggle in (self._on, self._split, self._outline):
            toggle.connect("toggled", lambda _toggle: self._draw())
        self._split.connect("toggled", self._explain_split)
        self._zoom.connect("toggled", lambda _toggle: self.refresh())

        line = Gtk.Box(spacing=12)
        self._state = Gtk.Label(xalign=0.0, wrap=True, max_width_chars=60)
        line.pack_start(self._exposure.box, False, False, 0)
        line.pack_start(self._state, True, True, 0)
        self.box.pack_start(line, False, False, 0)
        self._place = Gtk.Label(xalign=0.0, ellipsize=Pango.EllipsizeMode.END)
        self._place.get_style_context().add_class("dim-label")
        self.box.pack_start(self._place, False, False, 0)

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

    def let_shrink(self) -> None:
        """Let the person make the window smaller than it opened."""
        self._frame.set_size_request(_LEAST_WIDTH, _LEAST_HEIGHT)

    def tell(self, text: str, failed: bool) -> None:
        """Show a text below the picture, "" for none, and whether it is an error."""
        # Pango would break a line at the hyphen of a command.
        unbroken = r'<span allow_breaks="false">\g<0></span>'
        markup = _COMMAND.sub(unbroken, GLib.markup_escape_text(text))
        self._state.set_markup(f"<b>{markup}</b>" if failed else markup)

    def settle(self) -> None:
        """Wait until the settings are those that belong to what was typed."""
        self._exposure.settle()

    def close(self) -> None:
        """End the connection to the daemon."""
        for timer in filter(None, (self._timer, self._resizing)):
            GLib.source_remove(timer)
        self._timer = self._resizing = 0
        self._worker.close()

    def _ask(self) -> bool:
        self._timer = 0
        try:
            job = self._plan()
        except UserError as refusal:  # the selection or a lock changed while the dialog is open
            self.tell(str(refusal), True)
            return False
        self._zoom.set_sensitive(job.selected)
        view = view_of(job, self._zoom.get_active())
        if self._proxy is None or (self._proxy.view, self._read_for) != (view, self._room):
            self._proxy, self._read_for = read_proxy(job, view, self._room), self._room
            self._shown = None
            self._draw()
        request = self._proxy.request(job.settings)
        self._worker.ask(request, self._proxy.planes(), (self._proxy, job.settings.strength))
        return False

    def _show(self, shown: PreviewResult) -> None:
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
        width, height = self._proxy.box.width, self._proxy.box.height
        before = preview_image.high_bytes(self._proxy.before)
        shown = bytearray(before)
        if self._shown is not None:
            if self._on.get_active():
                after = preview_image.high_bytes(self._shown.planes["image"])
                split = round(self._split_at * width) if self._split.get_active() else None
                shown = preview_image.compose(before, after, width, height, split=split)
            if self._outline.get_active():
                preview_image.draw_outlines(
                    shown, bytes(self._shown.planes["areas"]), width, height
                )
        pixbuf = GdkPixbuf.Pixbuf.new_from_bytes(
            GLib.Bytes.new(bytes(shown)),
            GdkPixbuf.Colorspace.RGB,
            True,
            8,
            width,
            height,
            4 * width,
        )
        times = min(_MAGNIFIED, self._room[0] // width, self._room[1] // height)
        if times > 1:
            nearest = GdkPixbuf.InterpType.NEAREST
            pixbuf = pixbuf.scale_simple(times * width, times * height, nearest)
        set_sharp(self._image, pixbuf)

    def _resize(self, frame: Gtk.Widget, place: Gdk.Rectangle) -> None:
        factor = sharpness(frame)
        room = min(_MOST, place.width * factor), min(_MOST, place.height * factor)
        if room == self._room:
            return
        self._room = room
        if self._resizing:
            GLib.source_remove(self._resizing)
        self._resizing = GLib.timeout_add(_RESIZED if self._proxy else 0, self._resized)

    def _resized(self) -> bool:
        self._resizing = 0
        self.refresh()
        return False

    def _explain_split(self, toggle: Gtk.CheckButton) -> None:
        """Tell how to move the line while there is one; else the tip would cover the picture."""
        tip = _("In the split view, drag the line, or move it with the left and right arrow keys")
        self._area.set_tooltip_text(tip if toggle.get_active() else None)

    def _drag(self, _area: Gtk.Widget, event: Gdk.Event) -> bool:
        if not self._split.get_active() or self._proxy is None:
            return False
        self._area.grab_focus()
        self._move_split(event.x / self._area.get_allocated_width())
        return True

    def _key(self, _area: Gtk.Widget, event: Gdk.EventKey) -> bool:
        step = {Gdk.KEY_Left: -0.02, Gdk.KEY_Right: 0.02}.get(event.keyval)
        if step is None or not self._split.get_active():
            return False
        self._move_split(self._split_at + step)
        return True

    def _move_split(self, place: float) -> None:
        self._split_at = min(max(place, 0.0), 1.0)
        self._draw()
