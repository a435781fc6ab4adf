"""What the hub knows and decides: blocks, the frozen step, whose answers count; no MPI.

A step is frozen when it begins, with its number, and is over when its result
has been fetched. Its fields stand in the very rows that are sent. When ranks
die, their blocks are handed over, every survivor is told of its blocks (INIT),
and the step is sent again with the same number and fields: `Keeper` answers
what it has answered before. ``generation`` counts how often models began
afresh, so that nothing is replaced unseen.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from mxl_sockets._roster import checked_id, state_in
from mxl_sockets.errors import FrozenStepError
from mxl_sockets.mpi._blocks import Assignment
from mxl_sockets.mpi._initial import ParameterTexts, encode_initial
from mxl_sockets.mpi._rows import HEADER, NONE, Reply, Rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np

    from mxl_sockets._arrays import Fields


class HubBook:
    """The hub's side of all conversations with the driver ranks.

    Parameters
    ----------
    ranks : iterable of int
        The driver ranks.
    extras : bool
        Whether drivers send extras.
    resume : bool
        Whether models that begin afresh get the last state of their molecule.

    Attributes
    ----------
    ranks : list of int
        Driver ranks that live, in the order of the communicator.
    ids : tuple of int
        Molecules, in the order of rows.
    number : int
        Of the step that is frozen, or of the last one.
    frozen : bool
        Whether a step is under way.
    stale : bool
        Whether drivers must be told of their blocks before anything else.
    generation : int
        How often models began afresh after the first time.
    lost : list of int
        Ranks that died, in the order in which they did.
    failures : dict of int to str
        Ranks whose models failed, and how.
    outgoing, incoming : Rows
        The next message to all drivers, and their replies.
    """

    def __init__(self, ranks: Iterable[int], *, extras: bool = False, resume: bool = False) -> None:
        self.ranks = list(ranks)
        self.extras = extras or resume
        self.ids: tuple[int, ...] = ()
        self.number = 0
        self.frozen = False
        self.stale = False
        self.generation = 0
        self.lost: list[int] = []
        self.failures: dict[int, str] = {}
        self._resume = resume
        self._keys = itertools.count(1)
        self._assignment = Assignment(0, self.ranks, self._keys)
        self._texts = ParameterTexts({})
        self._last_extras: list[bytes] = []
        self._saved: Fields | None = None
        self._all_done = b""
        self.outgoing = Rows(self._assignment.runs())
        self.incoming = Rows(self._assignment.runs())

    # -- molecules -----------------------------------------------------------

    def bind(self, payloads: Mapping[int, Mapping[str, Any]]) -> None:
        """Spread these molecules over the ranks; all begin afresh.

        Raises
        ------
        FrozenStepError
            A step is under way.
        TypeError, ValueError
            An id is no 32-bit number or stands there twice, or some parameters
            cannot be JSON. Nothing is changed then.
        """
        if self.frozen:
            raise FrozenStepError("an unfinished step has other molecules; repeat it first")
        ids = tuple(map(checked_id, payloads))
        texts = ParameterTexts(payloads)
        if self.ids:
            self.generation += 1
        self.ids, self._texts, self._last_extras, self.failures = ids, texts, [], {}
        self._assignment = Assignment(len(ids), self.ranks, self._keys)
        self._plan()

    def renew_failed(self) -> None:
        """Let the molecules of ranks whose models failed begin afresh there."""
        if self.failures:
            for rank in self.failures:
                self._assignment.renew(rank)
            self.failures = {}
            self.generation += 1
            self._plan()

    def lose(self, survivors: Iterable[int]) -> dict[int, list[tuple[int, int]]]:
        """Give the molecules of all ranks but these to these; return who gets which rows."""
        survivors = list(survivors)
        self.lost.extend(rank for rank in self.ranks if rank not in survivors)
        self.ranks = survivors
        self.failures = {rank: text for rank, text in self.failures.items() if rank in survivors}
        gained = self._assignment.hand_over(survivors) if survivors else {}
        if gained:
            self.generation += 1
        self._plan()
        # In a new communicator drivers expect a header alone until they are told more.
        self.outgoing = Rows([[] for _ in self.ranks])
        return gained

    def _plan(self) -> None:
        if self.frozen and self._saved is None:
            self._saved = self.outgoing.read()
        self.stale = True
        self.incoming = Rows(self._assignment.runs())

    # -- INIT ----------------------------------------------------------------

    def initial_texts(self) -> list[bytes]:
        """Return the text of INIT for each rank."""
        return [
            encode_initial(
                self._assignment.blocks(rank), self.ids, self._texts, self._state_of, extras=self.extras
            )
            for rank in self.ranks
        ]

    def _state_of(self, row: int) -> Any:
        """Return the last state that a molecule sent, if it is to be handed on."""
        return state_in(self._last_extras[row]) if self._last_extras else None

    def told(self) -> None:
        """Note that all drivers have their blocks; a frozen step can be sent (again)."""
        self._assignment.acknowledge()
        self.outgoing = Rows(self._assignment.runs())
        if self._saved is not None:
            self.outgoing.write(self._saved)
            self._saved = None
        self.stale = False

    # -- steps ---------------------------------------------------------------

    def freeze(self, fields: Fields) -> None:
        """Begin a step, or check that it is the one under way.

        Parameters
        ----------
        fields : ndarray, shape (N, 3), float64
            Copied.

        Raises
        ------
        FrozenStepError
            An unfinished step has other fields, to the bit.
        """
        if self.frozen:
            frozen = self.outgoing.read() if self._saved is None else self._saved
            if frozen.tobytes() != fields.tobytes():
                raise FrozenStepError("an unfinished step has other fields; repeat it first")
            return
        if self.stale:
            self._saved = fields.copy()
        else:
            self.outgoing.write(fields)
        self.number += 1
        self.frozen = True

    def finish(self, extras: list[bytes]) -> None:
        """Note that the result of the frozen step is about to be handed out."""
        self.frozen = False
        if self._resume:
            self._last_extras = extras

    # -- replies -------------------------------------------------------------

    def expect(self) -> None:
        """Forget old replies."""
        self.incoming.set_headers(0, NONE)
        self._all_done = HEADER.pack(Reply.DONE, self.number, 0) * len(self.ranks)

    def all_done(self) -> bool:
        """Whether all ranks have answered what they were asked, none has failed, and nothing follows."""
        return self.incoming.headers.tobytes() == self._all_done

    def lengths(self) -> list[int]:
        """Return how many bytes follow from each rank, once all replies are there.

        Raises
        ------
        ValueError
            A rank answered something else than it was asked.
        """
        headers = self.incoming.headers
        wrong = (headers[:, 1] != self.number) | (headers[:, 2] < 0)
        if wrong.any():
            index = int(wrong.argmax())
            raise ValueError(
                f"rank {self.ranks[index]} answered {headers[index].tolist()} to step {self.number}"
            )
        lengths: list[int] = headers[:, 2].tolist()
        return lengths

    def failed(self, index: int) -> bool:
        """Whether the models of the rank with this index have failed."""
        return bool(self.incoming.headers[index, 0] != Reply.DONE)

    def late_ranks(self) -> list[int]:
        """Return the ranks whose reply has not been seen."""
        answered: np.ndarray[Any, np.dtype[np.bool_]] = self.incoming.headers[:, 1] == self.number
        return [rank for rank, done in zip(self.ranks, answered.tolist(), strict=True) if not done]

    def ids_of(self, rank: int) -> list[int]:
        """Return the molecules of a living rank, in the order of its rows."""
        return [self.ids[row] for row in self._assignment.rows(rank)]

    def rows_of(self, rank: int) -> list[int]:
        """Return the rows of a living rank, in the order of its messages."""
        return list(self._assignment.rows(rank))
