"""The text of the INIT order: which blocks a rank has, and the parameters of new ones; no MPI.

A JSON object, one for each rank::

    {"extras": bool, "blocks": [{"key": int, "count": int}, ...]}

lists all blocks of the rank in the order of its rows. One that the rank may not
have yet holds besides ``"ids"`` (its molecules), ``"texts"`` (different INIT
parameters, as JSON texts) and ``"which"`` (the index of each molecule's text).
Equal parameters are sent once: a million molecules mostly share them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mxl_sockets._model import Parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mxl_sockets.mpi._blocks import Block


class ParameterTexts:
    """INIT parameters of all molecules as JSON, equal ones once.

    Parameters
    ----------
    payloads : mapping of int to mapping

    Raises
    ------
    TypeError, ValueError
        Some parameters cannot be JSON; the molecule is named.
    """

    def __init__(self, payloads: Mapping[int, Mapping[str, Any]]) -> None:
        known: dict[int, str] = {}  # by identity: the common case is one mapping for all
        self._texts: list[str] = []
        for molecule_id, payload in payloads.items():
            text = known.get(id(payload))
            if text is None:
                try:
                    text = known[id(payload)] = json.dumps(dict(payload))
                except (TypeError, ValueError, RecursionError) as error:
                    kind = ValueError if isinstance(error, RecursionError) else type(error)
                    raise kind(f"INIT parameters of molecule {molecule_id}: {error}") from error
            self._texts.append(text)

    def text(self, row: int, state: Any) -> str:
        """Return the text of one molecule, with ``"state"`` set if `state` is not None."""
        if state is None:
            return self._texts[row]
        return json.dumps({**json.loads(self._texts[row]), "state": state})


def encode_initial(
    blocks: Iterable[Block],
    ids: Sequence[int],
    texts: ParameterTexts,
    state_of: Callable[[int], Any],
    *,
    extras: bool,
) -> bytes:
    """Return the text for a rank.

    Parameters
    ----------
    blocks : iterable of Block
        All of the rank's blocks.
    ids : sequence of int
        Molecule of each row.
    texts : ParameterTexts
        Parameters of each row.
    state_of : callable
        Answers the state of a row to go on from, or None.
    extras : bool
        Whether the hub wants extras.
    """
    listed = []
    for block in blocks:
        entry: dict[str, Any] = {"key": block.key, "count": block.stop - block.start}
        if not block.known:
            places: dict[str, int] = {}
            entry["which"] = [
                places.setdefault(texts.text(row, state_of(row)), len(places))
                for row in range(block.start, block.stop)
            ]
            entry["texts"] = list(places)
            entry["ids"] = list(ids[block.start : block.stop])
        listed.append(entry)
    return json.dumps({"extras": extras, "blocks": listed}, separators=(",", ":")).encode()


@dataclass(slots=True)
class InitialBlock:
    """A block as a rank is told of it.

    Attributes
    ----------
    key, count : int
    molecules : dict of int to Parameters, or None
        INIT parameters of each molecule, in order; None for a block that the
        rank has.
    """

    key: int
    count: int
    molecules: dict[int, Parameters] | None


def decode_initial(text: bytes) -> tuple[bool, list[InitialBlock]]:
    """Return whether extras are wanted, and the blocks."""
    said = json.loads(text)
    blocks = []
    for entry in said["blocks"]:
        molecules = None
        if "ids" in entry:
            texts = [one.encode() for one in entry["texts"]]
            molecules = {}
            for molecule_id, index in zip(entry["ids"], entry["which"], strict=True):
                params = Parameters.from_text(texts[index])
                params["molecule_id"] = molecule_id
                molecules[molecule_id] = params
        blocks.append(InitialBlock(entry["key"], entry["count"], molecules))
    return said["extras"], blocks
