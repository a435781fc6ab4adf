"""One warning per cause: a flood of bad senders must not become a flood of log records.

The packages that log have the same copy of this module each, byte for byte:
the one thing they share, wireframe, never logs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import logging

#: Causes remembered at the most; then the memory starts anew.
MAX_CAUSES: Final = 512
#: Hosts told apart; addresses can be made up, so all others count as one. Few
#: enough that they cannot fill the memory of causes, and so be news for ever.
MAX_HOSTS: Final = 16


class QuietLogger:
    """Warns once per cause and says the rest at debug level.

    Parameters
    ----------
    logger : logging.Logger
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._hosts: set[str] = set()
        self._seen: set[tuple[str, str]] = set()

    def warn(self, host: str, cause: str, message: str, *arguments: object) -> None:
        """Log `message`; as a warning if this host did not yet give this cause.

        Parameters
        ----------
        host : str
            Who caused it.
        cause : str
            Only its words before the first comma or colon count: what follows
            are details, of which a peer could invent ever new ones.
        message, *arguments
            For the log.
        """
        if host not in self._hosts:
            if len(self._hosts) < MAX_HOSTS:
                self._hosts.add(host)
            else:
                host = ""
        cause = cause.partition(":")[0].partition(",")[0]
        if (host, cause) in self._seen:
            self._logger.debug(message, *arguments)
            return
        if len(self._seen) >= MAX_CAUSES:
            self._seen.clear()
        self._seen.add((host, cause))
        self._logger.warning(message, *arguments)
