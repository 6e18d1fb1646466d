"""The dialog. Imported only when one is shown: a batch run has no display."""

from __future__ import annotations

from collections.abc import Callable

import gi

gi.require_version("Gtk", "3.0")
gi.require_version("GimpUi", "3.0")
from gi.repository import Gimp, GimpUi, Gtk  # noqa: E402

from maskupe_client.client import Progress  # noqa: E402
from maskupe_plugin.checks import UserError, possible_outputs, the_drawable  # noqa: E402
from maskupe_plugin.edges_button import EdgesButton  # noqa: E402
from maskupe_plugin.i18n import _  # noqa: E402
from maskupe_plugin.job import Job, plan  # noqa: E402
from maskupe_plugin.model_row import ModelRow  # noqa: E402
from maskupe_plugin.presets_button import PresetsButton  # noqa: E402
from maskupe_plugin.preview import Preview  # noqa: E402
from maskupe_plugin.screen import free_size  # noqa: E402
from maskupe_plugin.settings import settings_of  # noqa: E402
from maskupe_plugin.width_rows import WidthRows  # noqa: E402

#: Least width of the settings, in pixels.
_SETTINGS_WIDTH = 380
#: On a screen of less height, in pixels, the settings are closer together.
_LOW_SCREEN = 700


class CancelledError(Exception):
    """The user pressed Cancel while the work went on."""


class Dialog:
    """The procedure's dialog: preview to the left, settings to the right.

    Args:
        procedure: the procedure.
        config: its arguments, which the dialog changes.
        image: the image.
        drawables: what is worked on.
        replaced: name of the layer that the result replaces; "" where it is a new one.
    """

    def __init__(
        self,
        procedure: Gimp.Procedure,
        config: Gimp.ProcedureConfig,
        image: Gimp.Image,
        drawables: list[Gimp.Drawable],
        replaced: str = "",
    ) -> None:
        self._replaced = replaced
        self._config = config
        self._image = image
        self._drawables = drawables
        self._cancelled = False
        self._outputs = Gimp.param_spec_choice_get_choice(config.find_property("output"))
        GimpUi.init(procedure.get_name())
        self._dialog = GimpUi.ProcedureDialog.new(procedure, config, _("Local Underexposure"))
        self._settings = self._build_settings()
        self._preview = Preview(config, self._plan, self._width.show)
        columns = Gtk.Box(spacing=24, border_width=12)
        columns.pack_start(self._preview.box, True, True, 0)
        columns.pack_start(self._settings, False, False, 0)
        self._dialog.get_content_area().pack_start(columns, True, True, 0)
        columns.show_all()
        self._add_presets()
        self._bar = Gtk.ProgressBar(show_text=True, margin=12)
        self._dialog.get_content_area().pack_end(self._bar, False, False, 0)
        config.connect("notify", lambda *_changed: self._preview.refresh())
        # Meanwhile an undo step or a script may have changed what is selected.
        self._dialog.connect("focus-in-event", self._noticed)
        self._dialog.connect_after("map", lambda *_mapped: self._preview.let_shrink())

    def _noticed(self, *_event: object) -> bool:
        self._preview.notice_selection()
        return False

    def _add_presets(self) -> None:
        presets = PresetsButton(self._config, lambda text: self._preview.tell(text, True)).button
        _cancel, buttons = self._cancel_button()
        buttons.pack_start(presets, False, False, 0)
        buttons.set_child_secondary(presets, True)  # to the left, beside Help
        presets.show()

    def _cancel_button(self) -> tuple[Gtk.Widget, Gtk.ButtonBox]:
        """Return the button Cancel and the row of buttons that it is in."""
        cancel = self._dialog.get_widget_for_response(Gtk.ResponseType.CANCEL)
        buttons = cancel.get_parent() if cancel else None
        assert cancel is not None and isinstance(buttons, Gtk.ButtonBox)
        return cancel, buttons

    def _build_settings(self) -> Gtk.Box:
        dialog = self._dialog
        low = free_size()[1] < _LOW_SCREEN
        box = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=3 if low else 6)
        strength, warmth, saturation, denoise, width = (
            dialog.get_scale_entry(name, 1.0)
            for name in ("strength", "warmth", "saturation", "denoise", "width")
        )
        for colour in (warmth, saturation):
            colour.set_sensitive(the_drawable(self._drawables).is_rgb())  # gray stays gray
        # The type is named because GIMP 3.2 makes radio buttons of short lists.
        side, output = (dialog.get_widget(n, Gtk.ComboBox) for n in ("side", "output"))
        bounds = self._plan().bounds
        self._width = WidthRows(self._config, width, bounds)
        edges = EdgesButton(self._config).button
        for widget in (edges, side):  # without a selection there is no outline
            widget.set_sensitive(bounds is not None)
        model = ModelRow(self._config)
        checks = Gtk.Box(spacing=18)
        checks.pack_start(self._width.automatic, False, False, 0)
        checks.pack_start(edges, False, False, 0)
        checks.show_all()
        for slider in (strength, warmth, saturation, denoise, width):
            slider.get_range().set_size_request(130, -1)
        labels = Gtk.SizeGroup(mode=Gtk.SizeGroupMode.HORIZONTAL)
        for row in (strength, warmth, saturation, denoise, width, side, output):
            labels.add_widget(row.get_label())
        labels.add_widget(model.label)
        rows: list[Gtk.Widget] = [
            *self._replaced_note(),
            strength,
            warmth,
            saturation,
            dialog.get_widget("automatic-denoise", Gtk.CheckButton),
            denoise,
            checks,
            self._width.measure,
            width,
            side,
            output,
            *self._output_note(),
            model.box,
        ]
        dialog.set_sensitive("denoise", True, self._config, "automatic-denoise", True)
        for line in rows:
            box.pack_start(line, False, False, 0)
        box.show_all()
        # What is left of the window is the preview's, though the sliders would like it too.
        box.set_hexpand(False)
        box.set_size_request(max(_SETTINGS_WIDTH, box.get_preferred_width()[1]), -1)
        return box

    def _plan(self) -> Job:
        return plan(self._image, self._drawables, settings_of(self._config))

    def _output_note(self) -> list[Gtk.Widget]:
        """Take outputs that are not possible here out of the choice; a line that says why."""
        names, forbidden = possible_outputs(the_drawable(self._drawables))
        for name in self._outputs.list_nicks():
            self._outputs.set_sensitive(name, name in names)
        if forbidden is None:
            return []
        return [_note(forbidden.message)]

    def _replaced_note(self) -> list[Gtk.Widget]:
        """Return a line that says what the result replaces, if it does."""
        if not self._replaced:
            return []
        return [_note(_("Replaces “{name}”; these are its settings").format(name=self._replaced))]

    def ask(self) -> Job | None:
        """Show the dialog until OK gives a job that can be done, or Cancel gives None."""
        self._preview.refresh()
        while self._dialog.run():
            self._preview.settle()
            try:
                return self._plan()
            except UserError as refusal:
                self._preview.tell(str(refusal), True)
        return None

    def show_progress(self, work: Callable[[Callable[[Progress], None]], None]) -> None:
        """Do the work while the dialog stays, with a progress bar and a Cancel that works.

        Args:
            work: is given a function to call with its progress, at least every 50 ms.

        Raises:
            CancelledError: if the user cancelled.
        """
        self._preview.close()
        cancel, buttons = self._cancel_button()
        for widget in (
            *self._dialog.get_content_area().get_children(),
            *buttons.get_children(),
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
        """Close the dialog."""
        for name in self._outputs.list_nicks():
            self._outputs.set_sensitive(name, True)
        self._preview.close()
        self._dialog.destroy()


def _note(text: str) -> Gtk.Label:
    note = Gtk.Label(label=text, xalign=0.0, wrap=True, max_width_chars=44)
    note.get_style_context().add_class("dim-label")
    return note
