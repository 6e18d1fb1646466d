"""The errors that people see: each is a sentence that says what went wrong and what to do."""

from __future__ import annotations

import errno

# How the system's loader, Python, NumPy, OpenCV and ONNX Runtime say that there was no memory.
_NO_MEMORY = (
    "failed to map segment",
    "allocate memory",
    "out of memory",
    "cannot apply additional memory protection",
    "can't start new thread",
    "bad allocation",
    "bad_alloc",
    "insufficient memory",
)


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
    """The selection has no pixel in which anything could be brightened."""

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


def describe_failure(error: BaseException, again: str = "with --debug") -> str:
    """Return what to say of an error that ended a program, also one that nobody raised for people.

    Args:
        error: what ended it.
        again: how to run the program for a traceback.
    """
    if isinstance(error, MaskUPEError):
        return str(error)
    if is_memory_error(error):
        return (
            "There is not enough memory. "
            "Close other programs, use a smaller picture, or raise the limit (ulimit -v)."
        )
    what = " ".join(f"Something unexpected failed ({type(error).__name__}: {error})".split())
    return f"{what}. Run it again {again} and report what it prints."


def is_memory_error(error: BaseException) -> bool:
    """Return whether an exception says that the system gave no more memory.

    Of a graphics card's memory, too. Libraries that cannot be loaded for want of it, and those that
    are not written in Python, have exceptions of their own for that.
    """
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    text = str(error).lower()
    return isinstance(error, Exception) and any(words in text for words in _NO_MEMORY)
