"""What can be asked of a rig: the operations and the messages they stand for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

from wireframe.echo import PROTOCOL_VERSION, ExpMessage, ExpStatus

__all__ = ["AlyxClient", "Service"]


class AlyxClient(Protocol):
    """What is used of a client of the Alyx database."""

    @property
    def base_url(self) -> str:
        """Address of the database."""

    @property
    def is_logged_in(self) -> bool:
        """Whether there is a token."""

    @property
    def user(self) -> str | None:
        """Whose token it is."""

    @property
    def _token(self) -> Any: ...


def _reference(exp_ref: Any) -> Any:
    if not exp_ref:
        return None
    if isinstance(exp_ref, dict):
        return f"{exp_ref['date']}_{int(exp_ref['sequence'])}_{exp_ref['subject']}"
    return exp_ref


def _status(status: ExpStatus | int | str) -> ExpStatus:
    if isinstance(status, str):
        return ExpStatus[status]
    if isinstance(status, bool):
        raise ValueError(f"{status} is not a valid ExpStatus")  # noqa: TRY004 - as for any other wrong value
    return ExpStatus(status)


class Service(ABC):
    """A rig, or several, as seen by who runs an experiment.

    Every operation here returns its message as a tuple of the event and its
    data, and checks the arguments. Subclasses call it and send what it returns.

    Attributes
    ----------
    name : str
        What people call it.
    """

    __slots__ = ("name",)
    __version__ = PROTOCOL_VERSION

    name: str

    @abstractmethod
    def init(self, data: Any = None) -> Any:
        """Prepare for an experiment: ``(EXPINIT, data)``."""
        return ExpMessage.EXPINIT, data

    @abstractmethod
    def start(self, exp_ref: Any, data: Any = None) -> Any:
        """Start an experiment: ``(EXPSTART, exp_ref, data)``.

        Parameters
        ----------
        exp_ref : str, dict or None
            Reference of the experiment such as ``"2022-01-01_1_subject"``, or
            a dict with the keys date, sequence and subject. What is empty
            becomes None; what is neither is sent as it is.
        data : JSON value

        Raises
        ------
        KeyError
            A key is missing.
        """
        return ExpMessage.EXPSTART, _reference(exp_ref), data

    @abstractmethod
    def stop(self, data: Any = None, immediately: bool = False) -> Any:
        """End an experiment: ``(EXPEND, data)``, or ``(EXPINTERRUPT, data)`` immediately."""
        return ExpMessage.EXPINTERRUPT if immediately else ExpMessage.EXPEND, data

    @abstractmethod
    def status(self, status: ExpStatus | int | str) -> Any:
        """Tell or ask a state: ``(EXPSTATUS, status)``.

        Parameters
        ----------
        status : ExpStatus, int or str
            A state, its value or its exact name.

        Raises
        ------
        ValueError
            There is no such value.
        KeyError
            There is no such name.
        """
        return ExpMessage.EXPSTATUS, _status(status)

    @abstractmethod
    def info(self, status: ExpStatus | int | str, data: Any = None) -> Any:
        """Tell or ask a state and more: ``(EXPINFO, status, data)``; raises as `status`."""
        return ExpMessage.EXPINFO, _status(status), data

    @abstractmethod
    def cleanup(self, data: Any = None) -> Any:
        """Tidy up behind an experiment: ``(EXPCLEANUP, data)``."""
        return ExpMessage.EXPCLEANUP, data

    @abstractmethod
    def alyx(self, alyx: AlyxClient | None) -> Any:
        """Hand on a token, or ask for one: ``(ALYX, base_url, {user: token})``.

        Parameters
        ----------
        alyx : AlyxClient or None
            Its token goes out if it is logged in; otherwise the map is empty,
            which asks the other end for a token.
        """
        if alyx is None:
            return ExpMessage.ALYX, None, {}
        token = {alyx.user: alyx._token} if alyx.is_logged_in else {}
        return ExpMessage.ALYX, alyx.base_url or None, token
