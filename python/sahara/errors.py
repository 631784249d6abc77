"""What can go wrong, by who can put it right. The text says what to do."""

from __future__ import annotations


class SaharaError(Exception):
    """Anything that Sahara reports; the classes below say what kind of thing it is."""


class InputError(SaharaError, ValueError):
    """An argument, a setting or this machine is not as it has to be: yours to put right."""


class UnreachableError(SaharaError, ConnectionError):
    """The share nodes are not reached, have too much to do, or do not admit this machine's key."""


class ModelNotFoundError(SaharaError, LookupError):
    """The nodes do not have the model, or not for this machine's key."""


class ModelChangedError(SaharaError):
    """The owner has shared another version meanwhile: connect again."""


class StoppedError(SaharaError):
    """The client was closed before the answer was there."""


class FaultError(SaharaError, RuntimeError):
    """A fault of Sahara or of a node; the text names the causes."""


class TruncationWarning(UserWarning):
    """A text is longer than the model reads, and a part of it did not count."""


def exception(kind: str, text: str) -> SaharaError:
    """The exception of an error of the SDK; the native module raises it."""
    made: SaharaError = globals()[kind](text)
    return made
