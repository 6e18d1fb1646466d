"""The dialog. Imported only when one is shown: a batch run has no display."""

from __future__ import annotations

from collections.abc import Callable

import gi

gi.require_version("Gtk", "3.0")
gi.require_version("GimpUi", "3.0")
from gi.repository import Gimp, GimpUi, Gtk  # noqa: E402

from maskupe_daemon.client import Progress  # noqa: E402
from maskupe_plugin.edges_button import EdgesButton  # noqa: E402
from maskupe_plugin.job import Job, plan  # noqa: E402
from maskupe_plugin.model_row import ModelRow  # noqa: E402
from maskupe_plugin.preview import Preview  # noqa: E402
from maskupe_plugin.settings import settings_of  # noqa: E402
from maskupe_plugin.words import _  # noqa: E402


class CancelledError(Exception):
    """The user pressed Cancel while the work went on."""


class Dialog:
    """The procedure's dialog: preview to the left, settings to the right.

    Args:
        procedure: the procedure.
        config: its arguments, which the dialog changes.
        image: the image.
        drawables: what the procedure was called on.
    """

    def __init__(
        self,
        procedure: Gimp.Procedure,
        config: Gimp.ProcedureConfig,
        image: Gimp.Image,
        drawables: list[Gimp.Drawable],
    ) -> None:
        self._config = config
        self._image = image
        self._drawables = drawables
        self._cancelled = False
        GimpUi.init(procedure.get_name())
        self._dialog = GimpUi.ProcedureDialog.new(procedure, config, _("Local Underexposure"))
        self._preview = Preview(self._plan, self._show_width)
        self._settings = self._build_settings()
        columns = Gtk.Box(spacing=24, border_width=12)
        columns.pack_start(self._preview.box, True, True, 0)
        columns.pack_start(self._settings, False, False, 0)
        self._dialog.get_content_area().pack_start(columns, True, True, 0)
        columns.show_all()
        self._bar = Gtk.ProgressBar(show_text=True, margin=12)
        self._dialog.get_content_area().pack_end(self._bar, False, False, 0)
        config.connect("notify", lambda *_changed: self._preview.refresh())

    def _build_settings(self) -> Gtk.Box:
        dialog = self._dialog
        box = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=10)
        box.set_size_request(380, -1)
        self._measure = Gtk.Label(xalign=0.0, margin_start=24)
        self._measure.get_style_context().add_class("dim-label")
        strength, denoise, width = (
            dialog.get_scale_entry(name, 1.0) for name in ("strength", "denoise", "width")
        )
        # The type is named because GIMP 3.2 makes radio buttons of short lists.
        side, output = (dialog.get_widget(n, Gtk.ComboBox) for n in ("side", "output"))
        model = ModelRow(self._config)
        checks = Gtk.Box(spacing=18)
        checks.pack_start(dialog.get_widget("automatic-width", Gtk.CheckButton), False, False, 0)
        checks.pack_start(EdgesButton(self._config).button, False, False, 0)
        checks.show_all()
        for slider in (strength, denoise, width):
            slider.get_range().set_size_request(130, -1)
        labels = Gtk.SizeGroup(mode=Gtk.SizeGroupMode.HORIZONTAL)
        for row in (strength, denoise, width, side, output):
            labels.add_widget(row.get_label())
        labels.add_widget(model.label)
        rows = [
            strength,
            dialog.get_widget("automatic-denoise", Gtk.CheckButton),
            denoise,
            checks,
            self._measure,
            width,
            side,
            output,
            model.box,
        ]
        for name in ("denoise", "width"):
            dialog.set_sensitive(name, True, self._config, f"automatic-{name}", True)
        for row in rows:
            box.pack_start(row, False, False, 0)
        return box

    def _plan(self) -> Job:
        return plan(self._image, self._drawables, settings_of(self._config))

    def _show_width(self, pixels: float) -> None:
        text = _("The transition is {pixels:.0f} px wide") if pixels >= 0.5 else _("A hard edge")
        self._measure.set_text(text.format(pixels=pixels))

    def ask(self) -> bool:
        """Shows the dialog until OK (True) or Cancel (False)."""
        self._preview.refresh()
        return bool(self._dialog.run())

    def show_progress(self, work: Callable[[Callable[[Progress], None]], None]) -> None:
        """Does the work while the dialog stays, with a progress bar and a Cancel that works.

        Args:
            work: is given a function to call with its progress, at least every 50 ms.

        Raises:
            CancelledError: if the user cancelled.
        """
        self._preview.close()
        cancel = self._dialog.get_widget_for_response(Gtk.ResponseType.CANCEL)
        for widget in (
            *self._dialog.get_content_area().get_children(),
            *cancel.get_parent().get_children(),
        ):
            holds_cancel = widget is cancel or cancel.is_ancestor(widget)
            widget.set_sensitive(holds_cancel or widget is self._bar)
        cancel.grab_focus()
        self._bar.show()
        self._dialog.connect("response", self._cancel)
        self._dialog.connect("delete-event", self._cancel)
        work(self._progress)

    def _cancel(self, *_event: object) -> bool:
        self._cancelled = True
        return True

    def _progress(self, progress: Progress) -> None:
        words = {
            "sending": _("Sending the pixels"),
            "queued": _("Waiting for the daemon"),
            "running": _("Lighting up"),
        }
        self._bar.set_text(words[progress.stage])
        self._bar.set_fraction(progress.fraction)
        while Gtk.events_pending():
            Gtk.main_iteration()
        if self._cancelled:
            raise CancelledError

    def close(self) -> None:
        """Closes the dialog."""
        self._preview.close()
        self._dialog.destroy()
