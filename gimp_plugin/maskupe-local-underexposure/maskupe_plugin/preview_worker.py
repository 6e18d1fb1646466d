"""Asks the daemon for previews beside the user interface; the newest request of a kind wins.

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
from maskupe_client.errors import (
    ClientError,
    ConnectionLostError,
    LinkDownError,
    NotRunningError,
)
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
_RENDERING = _("Rendering the actual pixels…")

#: Kinds of previews: all of what is worked on, scaled down, and a part of it at full size.
FITTED, ACTUAL_PIXELS = _ORDER = ("fitted", "actual-pixels")


class _OvertakenError(Exception):
    """A newer request is there, or the dialog was closed."""


@dataclass(frozen=True)
class _Request:
    kind: str
    request: EnhanceRequest
    planes: list[Any]
    about: Any


@dataclass(frozen=True)
class PreviewResult:
    """A preview that is ready.

    Attributes:
        kind: as it was asked for.
        about: what was handed in with the request.
        planes: the answer's planes by name.
        width: width of the transition in preview pixels.
        place: where it was computed, and details of that.
    """

    kind: str
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
        self._wanted: dict[str, _Request] = {}
        self._working = False
        self._closing = False
        self._client: Client | None = None
        self._served = False  # whether this client has brought an answer

    def ask(self, kind: str, request: EnhanceRequest, planes: list[Any], about: Any = None) -> None:
        """Ask for a preview; one of the same kind that is being made is given up.

        Args:
            kind: ``FITTED``, which goes first, or ``ACTUAL_PIXELS``.
            request: what the daemon is asked for.
            planes: its planes.
            about: what the answer comes with.
        """
        with self._change:
            self._wanted[kind] = _Request(kind, request, planes, about)
            self._change.notify()

    @property
    def idle(self) -> bool:
        """Whether everything asked for has been answered or has failed."""
        with self._change:
            return not self._wanted and not self._working

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
                while not self._wanted and not self._closing:
                    self._change.wait()
                if self._closing:
                    break
                asked = self._wanted.pop(min(self._wanted, key=_ORDER.index))
                self._working = True
            try:
                self._serve(asked)
            except _OvertakenError:
                with self._change:
                    if FITTED in self._wanted and asked.kind != FITTED:
                        self._wanted.setdefault(asked.kind, asked)  # it only has to wait
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

    def _serve(self, asked: _Request) -> None:
        if self._client is None:
            self._say(_("Connecting to the MaskUPE daemon, which is started if need be…"), False)
            self._client = connect(wait=self._stop_if_closing)
        began = time.monotonic()
        said = False

        def progress(state: Progress) -> None:
            nonlocal said
            self._stop_if_overtaken(asked.kind)
            if not said and time.monotonic() - began > _PATIENCE:
                said = True
                busy = state.stage == "queued" and state.position > 0
                waiting = _LOADING if asked.kind == FITTED else _RENDERING
                self._say(_BUSY if busy else waiting, False)

        served = self._served
        try:
            header, found = self._client.enhance(asked.request, asked.planes, progress)
        except ClientError as error:
            self._client.close()
            self._client, self._served = None, False
            # A daemon that answered before has been ended meanwhile. Connecting starts the next,
            # which does the same work; only if that fails is there something to tell.
            ended = isinstance(error, ConnectionLostError | NotRunningError)
            if served and ended and not isinstance(error, LinkDownError):
                self._serve(asked)
                return
            raise
        self._served = True
        self._say("", False)
        shown = PreviewResult(
            asked.kind, asked.about, found, header["width"], place(self._client, header)
        )
        GLib.idle_add(self._deliver, shown)

    def _deliver(self, shown: PreviewResult) -> bool:
        if not self._closing:
            self._ready(shown)
        return False

    def _stop_if_closing(self) -> None:
        if self._closing:
            raise _OvertakenError

    def _stop_if_overtaken(self, kind: str) -> None:
        if self._closing or kind in self._wanted or FITTED in self._wanted:
            raise _OvertakenError

    def _say(self, text: str, failed: bool) -> None:
        def told() -> bool:
            if not self._closing:
                self._told(text, failed)
            return False

        GLib.idle_add(told)
