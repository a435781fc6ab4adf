"""From the threads of the user to the worker of a group."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

from group_ports.errors import PortError

if TYPE_CHECKING:
    from collections.abc import Callable

    from group_ports._port_settings import PortSettings
    from group_ports._worker import Worker

_Result = TypeVar("_Result")


class GroupLink:
    """Lets the worker of a group do something, from any thread of the process that joined it."""

    _settings: PortSettings
    _worker: Worker
    _process: int

    def _call(self, function: Callable[[], _Result]) -> _Result:
        self._check_process()
        return self._worker.calls.call(function)

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise PortError("the group was joined in another process; join it in this", PortError.ECLOSED)
