"""What a call of the procedure does, with and without its dialog."""

from __future__ import annotations

import time
from collections.abc import Callable

from gi.repository import Gimp

from maskupe_client.client import Client, Progress
from maskupe_client.errors import ClientError
from maskupe_plugin import tile_io
from maskupe_plugin.apply_result import apply_result, takers, wanted_planes
from maskupe_plugin.checks import UserError, possible_outputs, the_drawable
from maskupe_plugin.error_messages import message_for
from maskupe_plugin.i18n import _
from maskupe_plugin.job import Job, plan, send
from maskupe_plugin.re_edit import MadeLayer, find_made
from maskupe_plugin.service import connect
from maskupe_plugin.settings import put_settings, settings_of

# Shares of the progress bar: sending, working, writing back.
_SENT, _WORKED = 0.2, 0.8
#: Seconds between two steps of the bar.
_EYE = 0.05


def run_noninteractive(
    image: Gimp.Image, drawables: list[Gimp.Drawable], config: Gimp.ProcedureConfig
) -> None:
    """Run without a dialog, with the values of ``config``.

    Raises:
        UserError: with a text for the photographer; the layer is unchanged.
    """
    job = plan(image, drawables, settings_of(config))
    Gimp.progress_init(_("Lighting up"))
    with connect(wait=Gimp.progress_pulse) as client:
        run_job(client, job)


def run_interactive(
    procedure: Gimp.Procedure,
    image: Gimp.Image,
    drawables: list[Gimp.Drawable],
    config: Gimp.ProcedureConfig,
) -> bool:
    """Ask with the dialog, then run; False if the user cancelled.

    On a layer that the filter has made the dialog has its settings, and the result replaces it.

    Raises:
        UserError: with a text for the photographer; the layer is unchanged.
    """
    made = find_made(image, drawables)
    if made is not None:
        drawables = [made.source]
        put_settings(config, made.settings)
    # What cannot be worked on at all is said at once, not after the settings were made.
    wanted = fit_output(drawables, config)
    fitted = config.get_property("output")
    try:
        if made is not None:
            made.select()
        plan(image, drawables, settings_of(config))
        if not _ask_and_run(procedure, image, drawables, config, made):
            return False
    finally:
        if made is not None:
            made.deselect()
    if config.get_property("output") == fitted:
        # GIMP keeps what is there now for the next time, which may be on a layer of another kind.
        config.set_property("output", wanted)
    return True


def _ask_and_run(
    procedure: Gimp.Procedure,
    image: Gimp.Image,
    drawables: list[Gimp.Drawable],
    config: Gimp.ProcedureConfig,
    made: MadeLayer | None,
) -> bool:
    from maskupe_plugin.dialog import CancelledError, Dialog

    dialog = Dialog(procedure, config, image, drawables, made.layer.get_name() if made else "")
    try:
        job = dialog.ask()
        if job is None:
            return False
        Gimp.progress_init(_("Lighting up"))
        with connect() as client:
            dialog.show_progress(lambda report: run_job(client, job, report, made))
    except CancelledError:
        return False
    finally:
        dialog.close()
    return True


def fit_output(drawables: list[Gimp.Drawable], config: Gimp.ProcedureConfig) -> str:
    """Replace an output that is not possible here, as the last layer's may be, by one that is.

    Returns:
        The output that was there.

    Raises:
        UserError: if the drawable cannot be worked on, or there is no possible output.
    """
    outputs, forbidden = possible_outputs(the_drawable(drawables))
    if forbidden is not None and not outputs:
        raise forbidden
    wanted: str = config.get_property("output")
    if wanted not in outputs:
        config.set_property("output", outputs[0])
    return wanted


def run_job(
    client: Client,
    job: Job,
    report: Callable[[Progress], None] | None = None,
    made: MadeLayer | None = None,
) -> None:
    """Send the region and write the answer back.

    Args:
        client: a connection to the daemon.
        job: what to do.
        report: called besides GIMP's own progress bar; what it raises cancels the job.
        made: a layer of ours that the result replaces.

    Raises:
        UserError: if the daemon cannot do it; nothing has been written then.
    """

    bar = _Bar()

    def show(progress: Progress) -> None:
        tile_io.wait_idle()
        bar.show(progress)
        if report:
            report(progress)

    def written(part: float) -> None:
        bar.move(_WORKED + part * (1.0 - _WORKED))

    try:
        answer = send(client, job, wanted_planes(job), show, takers(job, written))
    except ClientError as error:
        raise UserError(*message_for(error)) from error
    finally:
        tile_io.wait_idle()
    apply_result(job, answer, written, made)
    Gimp.progress_end()


class _Bar:
    """GIMP's progress bar. Telling GIMP takes time, so it is told no oftener than is seen."""

    def __init__(self) -> None:
        self._fraction = 0.0
        self._told = time.monotonic()

    def show(self, progress: Progress) -> None:
        """Show how far the daemon is."""
        if progress.stage == "queued" and progress.position:
            waiting = _("Jobs ahead in the queue: {count}").format(count=progress.position)
            Gimp.progress_set_text(waiting)
        elif progress.stage != "sending":
            self.move(_SENT + progress.fraction * (_WORKED - _SENT))

    def move(self, fraction: float) -> None:
        """Move it on, never back."""
        now = time.monotonic()
        if fraction > self._fraction and now - self._told >= _EYE:
            self._fraction, self._told = fraction, now
            tile_io.wait_idle()
            Gimp.progress_update(fraction)
