"""One party to a conversation: where its server is, what people call it, how its messages are written."""

from __future__ import annotations

import logging
import warnings
from typing import Any, ClassVar, NoReturn

from echo_rig._forked import refuse_copy
from echo_rig.service import Service
from echo_rig.uri import SCHEMES, IPAddress, split_uri, validate_uri
from wireframe.echo import decode as decode_value
from wireframe.echo import encode as encode_value
from wireframe.errors import BadPayload


class Party(Service):
    """Something with a server's URI, a name and a logger; see `Communicator`."""

    __slots__ = ("logger", "server_uri")

    schemes: ClassVar[tuple[str, ...]] = SCHEMES

    def __init__(self, server_uri: str | IPAddress, name: str | None, logger: logging.Logger | None) -> None:
        self.server_uri = validate_uri(server_uri)
        if self.protocol not in self.schemes:
            raise ValueError(f"no transport for {self.protocol}://, only for {', '.join(self.schemes)}")
        self.name = name or str(server_uri)
        self.logger = logger or logging.getLogger(self.name)

    def __reduce__(self) -> NoReturn:
        """Raise TypeError: what it holds belongs to this process."""
        refuse_copy(self.name)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.server_uri}>"

    @property
    def protocol(self) -> str:
        """Scheme of the server's URI, in lower case."""
        return split_uri(self.server_uri)[0]

    @property
    def hostname(self) -> str:
        """Address of the server; IPv6 without brackets."""
        return split_uri(self.server_uri)[1]

    @property
    def port(self) -> int:
        """Port of the server."""
        return split_uri(self.server_uri)[2]

    @staticmethod
    def encode(data: Any) -> bytes:
        """Return the bytes of a message; see `wireframe.echo.encode`.

        Examples
        --------
        >>> Party.encode([None, 21, "message"])
        b'[null, 21, "message"]'
        """
        return encode_value(data)

    @staticmethod
    def decode(data: bytes | str) -> Any:
        """Return the JSON value of a message; if there is none, warn and return the text.

        Raises
        ------
        UnicodeDecodeError
            The bytes are not UTF-8.
        """
        try:
            return decode_value(data.encode() if isinstance(data, str) else data)
        except BadPayload:
            warnings.warn("Failed to decode as JSON", UserWarning, stacklevel=2)
            return data if isinstance(data, str) else data.decode()
