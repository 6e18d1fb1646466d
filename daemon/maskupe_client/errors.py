"""What can go wrong between a client and the daemon, each with a sentence for the person."""

from __future__ import annotations


class ClientError(Exception):
    """Base of all errors of the client: ``message`` says what happened, ``hint`` what to do."""

    code = "failed"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class NotRunningError(ClientError):
    """No daemon is there to be spoken to."""

    code = "not-running"

    def __init__(self, detail: str = "") -> None:
        super().__init__(
            f"The MaskUPE daemon is not running{f' ({detail})' if detail else ''}.",
            "Start it with the command 'maskupe-daemon' and try again.",
        )


class LinkDownError(NotRunningError):
    """The link to the daemon on another machine is down."""

    code = "link-down"

    def __init__(self, host: str) -> None:
        ClientError.__init__(
            self,
            f"The link to the MaskUPE daemon on {host} is down.",
            "Wait until 'maskupe-daemon forward' has restored it, or run 'maskupe-daemon stop' "
            "to work on this machine.",
        )


class RefusedError(ClientError):
    """The daemon, or what listens in its place, did not let this client in."""

    code = "refused"


class ProtocolMismatchError(ClientError):
    """Client and daemon come from different versions of MaskUPE."""

    code = "version"

    def __init__(self, theirs: object, ours: int) -> None:
        super().__init__(
            f"The MaskUPE daemon speaks protocol {theirs}, but this program speaks {ours}.",
            "Update MaskUPE, run 'maskupe-gimp install', and restart the daemon and GIMP.",
        )


class NotAnsweringError(ClientError):
    """The daemon is there but silent."""

    code = "not-answering"

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"The MaskUPE daemon has not answered for {seconds:.0f} s.",
            "Run 'maskupe-daemon stop', start it again and retry.",
        )


class ConnectionLostError(ClientError):
    """The daemon went away in the middle."""

    code = "lost"

    def __init__(self) -> None:
        super().__init__(
            "The MaskUPE daemon stopped in the middle of the work; the layer is unchanged.",
            "Start it again with 'maskupe-daemon' and retry.",
        )


class AnswerError(ClientError):
    """The daemon answered with an error.

    Attributes:
        code: its code, one of those in ``docs/protocol.md``.
        position: for ``busy``, how many jobs are ahead.
        retry_after: for ``busy``, after how many seconds to try again.
    """

    def __init__(
        self,
        code: str,
        message: str,
        hint: str = "",
        *,
        position: int = 0,
        retry_after: float = 0.0,
    ) -> None:
        super().__init__(message, hint)
        self.code = code
        self.position = position
        self.retry_after = retry_after
