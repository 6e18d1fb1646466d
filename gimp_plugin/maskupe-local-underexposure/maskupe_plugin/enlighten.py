"""What a call of the procedure does, with and without its dialog."""

from __future__ import annotations

from gi.repository import Gimp
from maskupe_daemon.client import Client, Progress
from maskupe_daemon.failures import ClientError

from maskupe_plugin.checks import RefusalError
from maskupe_plugin.deliver import deliver, wanted_planes
from maskupe_plugin.job import Job, plan, send
from maskupe_plugin.service import connect
from maskupe_plugin.settings import settings_of
from maskupe_plugin.words import _

# Shares of the progress bar: sending, working, writing back.
_SENT, _WORKED = 0.2, 0.8


def directly(
    image: Gimp.Image, drawables: list[Gimp.Drawable], config: Gimp.ProcedureConfig
) -> None:
    """Runs without a dialog, with the values of ``config``.

    Raises:
        RefusalError: with a text for the photographer; the layer is unchanged.
    """
    job = plan(image, drawables, settings_of(config))
    Gimp.progress_init(_("Lighting up"))
    with connect(wait=Gimp.progress_pulse) as client:
        run_job(client, job)


def interactively(
    procedure: Gimp.Procedure,
    image: Gimp.Image,
    drawables: list[Gimp.Drawable],
    config: Gimp.ProcedureConfig,
) -> bool:
    """Asks with the dialog, then runs; False if the user cancelled."""
    from maskupe_plugin.dialog import ask

    if not ask(procedure, config):
        return False
    directly(image, drawables, config)
    return True


def run_job(client: Client, job: Job) -> None:
    """Sends the region and writes the answer back.

    Raises:
        RefusalError: if the daemon cannot do it; nothing has been written then.
    """
    try:
        answer = send(client, job, wanted_planes(job), _show)
    except ClientError as error:
        raise RefusalError(error.message, error.hint) from error
    deliver(job, answer, lambda part: _bar(_WORKED + part * (1.0 - _WORKED)))
    Gimp.progress_end()


def _show(progress: Progress) -> None:
    if progress.stage == "sending":
        _bar(0.0)
    elif progress.stage == "queued" and progress.position:
        waiting = _("Waiting for {count} other jobs").format(count=progress.position)
        Gimp.progress_set_text(waiting)
    else:
        _bar(_SENT + progress.fraction * (_WORKED - _SENT))


def _bar(fraction: float) -> None:
    Gimp.progress_update(min(1.0, max(0.0, fraction)))
