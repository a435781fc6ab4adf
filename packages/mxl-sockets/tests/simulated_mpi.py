"""An MPI of threads: as much of mpi4py's interface as an MPI hub uses, with deaths at chosen moments.

What real libraries do with it is tested under mpiexec; here every order of events can be made.
"""

# ruff: noqa: N802 - the names are MPI's
from __future__ import annotations

import threading
import types


class MPIError(Exception):
    """``MPI.Exception``."""

    def __init__(self, code):
        super().__init__(f"simulated error {code}")
        self.code = code

    def Get_error_class(self):
        return self.code


class Died(BaseException):
    """Ends the thread of a process that dies."""


FAILED, REVOKED, OTHER = 75, 77, 13


class Job:
    """The processes of one job."""

    def __init__(self, size, vendor="Open MPI"):
        self.lock = threading.Condition()
        self.dead = set()
        self.aborted = None
        self.local = threading.local()
        self.world = Shared(self, range(size))
        job = self
        self.module = types.SimpleNamespace(
            ERR_PROC_FAILED=FAILED,
            ERR_PROC_FAILED_PENDING=FAILED + 1,
            ERR_REVOKED=REVOKED,
            ERRORS_RETURN="return",
            IN_PLACE="in place",
            INT64_T="int64",
            BYTE="byte",
            Exception=MPIError,
            Is_initialized=lambda: False,
            Is_finalized=lambda: False,
            get_vendor=lambda: (vendor, (5, 0, 0)),
        )

        class Lazy:
            """COMM_WORLD is another object in each process."""

            def __getattr__(self, name):
                return getattr(job.comm(), name)

        self.module.COMM_WORLD = Lazy()

    def comm(self):
        return self.local.comm

    def run(self, *programs):
        """Run a program per rank, rank 0 in this thread; return its result, and those of the others."""
        results = [None] * len(programs)

        def process(rank, program):
            self.local.comm = Comm(self.world, rank)
            try:
                results[rank] = program()
            except Died:
                results[rank] = "died"
            except Exception as error:  # noqa: BLE001 - the test is told
                results[rank] = error

        threads = [
            threading.Thread(target=process, args=(rank, program), daemon=True)
            for rank, program in enumerate(programs)
            if rank
        ]
        for thread in threads:
            thread.start()
        self.local.comm = Comm(self.world, 0)
        try:
            results[0] = programs[0]()
        finally:
            for thread in threads:
                thread.join(10)
        assert not any(thread.is_alive() for thread in threads), "a driver did not end"
        return results

    def die(self):
        """This process is no more."""
        with self.lock:
            self.dead.add(self.local.comm.origin)
            self.lock.notify_all()
        raise Died


class Shared:
    """A communicator, as all its members see it."""

    def __init__(self, job, members):
        self.job = job
        self.members = list(members)
        self.revoked = False
        self.freed = 0
        self.boxes = {}
        self.children = {}
        self.shrinking = {}

    def living(self):
        return [one for one in self.members if one not in self.job.dead]


class Comm:
    """A communicator, as one of its members sees it."""

    def __init__(self, shared, origin):
        self.shared, self.origin = shared, origin
        self.collectives = 0
        self.dups = 0

    def Is_inter(self):
        return False

    def Get_size(self):
        return len(self.shared.members)

    def Get_rank(self):
        return self.shared.members.index(self.origin)

    def Get_group(self):
        return Group(self.shared.members)

    def Set_errhandler(self, handler):
        pass

    def Free(self):
        self.shared.freed += 1

    def Abort(self, code):
        self.shared.job.aborted = code

    def Idup(self):
        with self.shared.job.lock:
            self.dups += 1
            child, came = self.shared.children.setdefault(
                self.dups, (Shared(self.shared.job, self.shared.members), set())
            )
            came.add(self.origin)
        return Comm(child, self.origin), Request(child, lambda: len(came) == len(child.members))

    def Iscatterv(self, send, receive):
        box = self._box()
        if send is None:
            return Request(self.shared, lambda: self._take(box, self.origin, receive[0]))
        for index, origin in enumerate(self.shared.members):
            box[origin] = piece(send, index)
        return Request(self.shared, lambda: not self._gone(self.shared.members))

    def Igatherv(self, send, receive):
        box = self._box()
        if receive is None:
            box[self.origin] = bytes(memoryview(send[0]).cast("B"))
            return Request(self.shared, lambda: True)

        def arrived():
            others = [one for one in self.shared.members if one != self.origin]
            for origin in others:
                if origin in box:
                    place(receive, self.shared.members.index(origin), box[origin])
            missing = [one for one in others if one not in box]
            self._gone(missing)
            return not missing

        return Request(self.shared, arrived)

    def Isend(self, message, rank, tag):
        to = self.shared.members[rank]
        self._post()
        self.shared.boxes.setdefault(("tail", self.origin, to), []).append(bytes(message[0]))
        return Request(self.shared, lambda: True)

    def Irecv(self, message, rank, tag):
        source = self.shared.members[rank]
        self._post()
        queue = self.shared.boxes.setdefault(("tail", source, self.origin), [])

        def arrived():
            if not queue:
                self._gone([source])
                return False
            message[0][:] = queue.pop(0)
            return True

        return Request(self.shared, arrived)

    def Revoke(self):
        with self.shared.job.lock:
            self.shared.revoked = True
            self.shared.job.lock.notify_all()

    def Shrink(self):
        job, shared = self.shared.job, self.shared
        with job.lock:
            shared.shrinking.setdefault("came", set()).add(self.origin)
            job.lock.notify_all()
            ready = job.lock.wait_for(
                lambda: "new" in shared.shrinking or set(shared.living()) <= shared.shrinking["came"], 10
            )
            assert ready, "not all came to shrink"
            new = shared.shrinking.setdefault("new", Shared(job, shared.living()))
        return Comm(new, self.origin)

    def _post(self):
        if self.shared.revoked:
            raise MPIError(REVOKED)

    def _box(self):
        self._post()
        self.collectives += 1
        with self.shared.job.lock:
            return self.shared.boxes.setdefault(self.collectives, {})

    def _gone(self, members):
        if self.shared.job.dead.intersection(members):
            raise MPIError(FAILED)
        return False

    def _take(self, box, origin, buffer):
        if origin not in box:
            self._gone(self.shared.members[:1])
            return False
        memoryview(buffer).cast("B")[:] = box[origin]
        return True


class Group:
    def __init__(self, members):
        self.members = members

    def Translate_ranks(self, ranks, other):
        return [other.members.index(one) for one in self.members]


class Request:
    """Complete once `arrived` answers True; what is complete stays complete."""

    def __init__(self, shared, arrived):
        self.shared, self.arrived, self.done = shared, arrived, False

    def Test(self):
        if not self.done:
            with self.shared.job.lock:
                if self.shared.revoked:
                    raise MPIError(REVOKED)
                self.done = self.arrived()
        return self.done


def piece(message, index):
    buffer, (counts, offsets), kind = message
    size = 8 if kind == "int64" else 1
    start = size * offsets[index]
    return bytes(memoryview(buffer).cast("B")[start : start + size * counts[index]])


def place(message, index, data):
    buffer, (counts, offsets), _ = message
    start = 8 * offsets[index]
    assert len(data) == 8 * counts[index], "more was sent than is received"
    memoryview(buffer).cast("B")[start : start + len(data)] = data
