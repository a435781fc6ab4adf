"""What a port says about itself."""

# ruff: noqa: N815 - the names are those of the original
# Annotations are objects here, not text: tools that document named tuples cannot look text up.

from enum import IntEnum
from typing import NamedTuple

__all__ = ["PortInfo", "PortScope"]


class PortScope(IntEnum):
    """How far a port reaches. Ports of groups are global."""

    GLOBAL = 1
    LOCAL = 2
    INTERNAL = 3

    def scope(self) -> str:
        """Return the word for it.

        Examples
        --------
        >>> PortScope.GLOBAL.scope()
        'global'
        """
        return self.name.lower()


class PortInfo(NamedTuple):
    """Kind, place and message type of a port, the same tuple as the original's.

    Attributes
    ----------
    portKind : str
        ``gpub``, ``gsub``, ``gqry`` or ``gans``.
    portScope : PortScope
    portName : str
    msgType : str
    portHost : str
        Address of the interface.
    portNum : int or None
        TCP port where it can be reached; -1 if it only connects, None if it is
        not bound yet.
    """

    portKind: str
    portScope: PortScope
    portName: str
    msgType: str
    portHost: str
    portNum: int | None
