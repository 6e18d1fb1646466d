"""Asks the daemon for previews beside the user interface; the newest request wins.

The thread only speaks to the daemon. It never calls GIMP, whose library belongs to the main
thread; what it has to say goes there with ``GLib.idle_add``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gi.repository import GLib

from maskupe_client.client import Client, EnhanceRequest, Progress
from maskupe_client.errors import ClientError, ConnectionLostError
from maskupe_plugin import log
from maskupe_plugin.checks import UserError
from maskupe_plugin.error_messages import message_for
from maskupe_plugin.i18n import _
from maskupe_plugin.place import place
from maskupe_plugin.service import connect

#: After how many seconds without an answer the dialog says what it waits for.
_PATIENCE = 0.4
_BUSY = _("The daemon is busy with another job…")
_LOADING = _("The daemon loads the model…")


class _OvertakenError(Exception):
    """A newer request is there, or the dialog was closed."""


@dataclass(frozen=True)
class PreviewResult:
    """A preview that is ready.

    Attributes:
        about: what was handed in with the request.
        planes: the answer's planes by name.
        width: width of the transition in preview pixels.
        place: where it was computed, and details of that.
    """

    about: Any
    planes: dict[str, memoryview]
    width: float
    place: tuple[str, str]


class PreviewWorker(threading.Thread):
    """One thread with one connection to the daemon.

    Args:
        ready: called in the main thread with each :class:`PreviewResult`.
        told: called in the main thread with what is going on, "" when all is well, and whether
            that is an error.
    """

    def __init__(
        self, ready: Callable[[PreviewResult], None], told: Callable[[str, bool], None]
    ) -> None:
        super().__init__(name="preview", daemon=True)
        self._ready = ready
        self._told = told
        self._change = threading.Condition()
        self._wanted: tuple[EnhanceRequest, list[Any], Any] | None = None
        self._working = False
        self._closing = False
        self._client: Client | None = None
        self._served = False  # whether this client has brought an answer

    def ask(self, request: EnhanceRequest, planes: list[Any], about: Any) -> None:
        """Ask for a preview; one that is being made is given up."""
        with self._change:
            self._wanted = (request, planes, about)
            self._change.notify()

    @property
    def idle(self) -> bool:
        """Whether everything asked for has been answered or has failed."""
        with self._change:
            return self._wanted is None and not self._working

    def close(self) -> None:
        """End the thread and its connection, which ends its job in the daemon too."""
        with self._change:
            self._closing = True
            self._change.notify()
        self.join(2.0)

    def run(self) -> None:
        """The thread: waits for requests and answers the newest."""
        while True:
            with self._change:
                self._working = False
                while self._wanted is None and not self._closing:
                    self._change.wait()
                if self._closing or self._wanted is None:
                    break
                request, planes, about = self._wanted
                self._wanted, self._working = None, True
            try:
                self._serve(request, planes, about)
            except _OvertakenError:
                continue
            except ClientError as error:
                self._say(" ".join(message_for(error)).strip(), True)
            except UserError as error:
                self._say(str(error), True)
            except Exception:
                log.failure("A preview failed.")
                text = _("The preview failed. Details are in {log}.").format(log=log.log_file())
                self._say(text, True)
        if self._client:
            self._client.close()

    def _serve(self, request: EnhanceRequest, planes: list[Any], about: Any) -> None:
        if self._client is None:
            self._say(_("Connecting to the MaskUPE daemon, which is started if need be…"), False)
            self._client = connect(wait=self._stop_if_closing)
        began = time.monotonic()
        said = False

        def progress(state: Progress) -> None:
            nonlocal said
            self._stop_if_overtaken()
            if not said and time.monotonic() - began > _PATIENCE:
                said = True
                busy = state.stage == "queued" and state.position > 0
                self._say(_BUSY if busy else _LOADING, False)

        served = self._served
        try:
            header, found = self._client.enhance(request, planes, progress)
        except ClientError as error:
            self._client.close()
            self._client, self._served = None, False
            # A daemon that answered before has been ended meanwhile. Connecting starts the next,
            # which does the same work; only if that fails is there something to tell.
            if served and isinstance(error, ConnectionLostError):
                self._serve(request, planes, about)
                return
            raise
        self._served = True
        self._say("", False)
        shown = PreviewResult(about, found, header["width"], place(self._client, header))
        GLib.idle_add(self._deliver, shown)

    def _deliver(self, shown: PreviewResult) -> bool:
        if not self._closing:
            self._ready(shown)
        return False

    def _stop_if_closing(self) -> None:
        if self._closing:
            raise _OvertakenError

    def _stop_if_overtaken(self) -> None:
        if self._closing or self._wanted is not None:
            raise _OvertakenError

    def _say(self, text: str, failed: bool) -> None:
        def told() -> bool:
            if not self._closing:
                self._told(text, failed)
            return False

        GLib.idle_add(told)
