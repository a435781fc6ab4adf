"""What this package raises beside Python's own errors.

::

    Exception
    └── RoundError              not every rig answered; carries what the others said
        ├── RigsSilent          (also TimeoutError) all that is missing is silent
        └── RigsFailed          (also RuntimeError) at least one rig failed in another way
    RuntimeError
    ├── ForeignProcessError     used in a child process that was forked after its creation
    ├── RemoteError             a callback at the other end raised
    └── OldPeer                 the other end does not number its messages

Python's own errors mean what they say: `TimeoutError` for an echo or a
response that did not come, `ConnectionError` for an end that is closed,
`ValueError`, `TypeError` and `KeyError` for arguments, before anything is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ForeignProcessError", "OldPeer", "RemoteError", "RigsFailed", "RigsSilent", "RoundError"]


class RoundError(Exception):
    """A round over several rigs is over, and not all of them answered.

    Parameters
    ----------
    message : str
        Who is missing and why, for a person.
    results : mapping of str to list, optional
    failures : mapping of str to Exception, optional
    timings : mapping of str to float, optional

    Attributes
    ----------
    results : dict of str to list
        What the other rigs answered, by name.
    failures : dict of str to Exception
        What went wrong with each rig that is missing, in the order of the rigs.
    timings : dict of str to float
        Seconds from asking a rig to its answer, for those in `results`.
    """

    def __init__(
        self,
        message: str,
        results: Mapping[str, list[Any]] | None = None,
        failures: Mapping[str, Exception] | None = None,
        timings: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(message)
        self.results: dict[str, list[Any]] = dict(results or {})
        self.failures: dict[str, Exception] = dict(failures or {})
        self.timings: dict[str, float] = dict(timings or {})

    @property
    def silent(self) -> tuple[str, ...]:
        """Names of the rigs from which nothing came in time: neither echo nor response."""
        return tuple(name for name, error in self.failures.items() if isinstance(error, TimeoutError))


class RigsSilent(RoundError, TimeoutError):
    """Some rigs did not answer in time; nothing else went wrong."""


class RigsFailed(RoundError, RuntimeError):
    """Some rigs could not be asked, or answered with an error; others may be silent as well."""


class ForeignProcessError(RuntimeError):
    """An end, or several as one, is used in a child process that was forked after its creation.

    The parent's goes on as if there were no child, whose copies of the sockets are
    closed. Closing the end in the child does nothing. Make another one there.
    """


class RemoteError(RuntimeError):
    """A callback at the other end raised: what its error message says.

    Parameters
    ----------
    text : str
        Type and text of the exception, as in ``"ValueError: boom"``.
    address : tuple of (str, int), optional
        Who sent it.

    Attributes
    ----------
    text, address
        As given.
    """

    def __init__(self, text: str, address: Any = None) -> None:
        super().__init__(text, address)
        self.text = text
        self.address = address

    def __str__(self) -> str:
        return self.text


class OldPeer(RuntimeError):
    """The other end echoes but does not number its messages, so it cannot do what was asked for.

    It is another program, or one of ours with ``numbering=False``.
    """
