"""The errors that people see: each is a sentence that says what went wrong and what to do."""

from __future__ import annotations


class MaskUPEError(Exception):
    """Base of all errors meant for a person.

    ``message`` says what went wrong, ``hint`` what to do about it (may be empty); ``code`` is the
    stable identifier that travels over the wire, ``exit_status`` the command line's exit status.
    """

    code = "failed"
    exit_status = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class InputError(MaskUPEError, ValueError):
    """What the caller passed cannot be used: a wrong shape, a bad file, an option out of range."""

    code = "bad-input"
    exit_status = 2


class EmptySelectionError(InputError):
    """The selection has no pixel in which anything could be lit up."""

    code = "empty-selection"


class UnknownModelError(InputError):
    """A model name that is not in the registry."""

    code = "unknown-model"


class WeightsError(MaskUPEError):
    """A weight file is missing, damaged, or made for another network."""

    code = "bad-weights"


class MemoryLimitError(MaskUPEError):
    """The job would need more memory than there is."""

    code = "out-of-memory"


class CancelledError(MaskUPEError):
    """The caller asked to stop, and the work stopped."""

    code = "cancelled"
