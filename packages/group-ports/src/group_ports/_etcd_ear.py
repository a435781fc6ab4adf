"""A thread that asks etcd what takes long to answer, and tells that something may have changed.

Nothing of what comes is believed, or even read: it only makes `EtcdLeaderSource`
look sooner. So it does no harm if this hears nothing, or nonsense.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from group_ports._etcd_gateway import EtcdFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from group_ports._etcd_gateway import Gateway

#: Seconds of the longest question. Then it is asked anew, in case the line is dead.
LISTEN_S: Final = 600.0
#: Seconds between two hints at least.
MIN_GAP_S: Final = 0.02


class EtcdEar:
    """Listens to one question.

    Parameters
    ----------
    path : str
    gateway : Gateway
        For this alone.
    question : callable
        Returns the question.
    hint : callable
        Called when something came.
    failed : callable
        Takes the gateway and an `EtcdFailure`.
    pause_s : float
        Seconds between two questions.

    Attributes
    ----------
    wanted : threading.Event
        Set: ask. Not set: wait until it is.
    """

    def __init__(
        self,
        path: str,
        gateway: Gateway,
        *,
        question: Callable[[], Mapping[str, Any]],
        hint: Callable[[], None],
        failed: Callable[[Gateway, EtcdFailure], None],
        pause_s: float,
    ) -> None:
        self.wanted = threading.Event()
        self._path = path
        self._gateway = gateway
        self._question = question
        self._hint = hint
        self._failed = failed
        self._pause_s = pause_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"group-ports etcd {path}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def interrupt(self) -> None:
        """Ask anew."""
        self._gateway.interrupt()

    def stop(self, wait_s: float) -> None:
        """End; wait for that so many seconds at the most."""
        self._stopping.set()
        self.wanted.set()
        tries = 20
        for _ in range(tries):
            # More than once: it may have been between two questions.
            self._gateway.interrupt()
            self._thread.join(wait_s / tries)
            if not self._thread.is_alive():
                return

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.wanted.wait()
            if self._stopping.is_set():
                return
            try:
                for _ in self._gateway.listen(self._path, self._question(), LISTEN_S):
                    self._hint()
                    if self._stopping.wait(MIN_GAP_S):
                        return
            except EtcdFailure as error:
                self._failed(self._gateway, error)
            self._stopping.wait(self._pause_s)
