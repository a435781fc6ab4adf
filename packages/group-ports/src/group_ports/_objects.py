"""Objects from the network, without the danger of `pickle.loads`.

A pickle is a program. `pickle.loads` runs it with every callable that can be
imported, so whoever can send one byte string can do whatever this process can.
Refusing names (``find_class``) is not enough: the programs can also set
attributes of the classes that are left, and take all memory with a few bytes.

So the program is read by a machine of our own (`_pickle_machine`), instruction
by instruction, and only those are obeyed that build numbers, strings, bytes,
the containers of Python and arrays of numbers. The one thing that is ever
called is a constructor of plain data (`_plain_data`, `_object_arrays`), or of a
class that the caller allowed, found in a table by its name; nothing is
imported, and nothing can be set but attributes of objects that were just made.
Parts are counted, and a size is believed only if the bytes are there.

An allowed class gets whatever arguments and attributes the peer likes: allow
classes that check them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from group_ports._pickle_machine import PickleMachine
from group_ports.errors import ObjectRefused

if TYPE_CHECKING:
    from collections.abc import Iterable


def loads(data: bytes, *, allowed: Iterable[type] = (), max_objects: int = 1_000_000) -> Any:
    """Build the object that was pickled, if it is plain data.

    Parameters
    ----------
    data : bytes
        A pickle of any protocol, as it came from a peer.
    allowed : iterable of type
        Classes whose objects may be built as well.
    max_objects : int
        Instructions to follow at the most, about one for each part.

    Returns
    -------
    object
        None, bool, int, float, complex, str, bytes, bytearray; list, tuple, dict,
        set, frozenset; arrays and numbers of NumPy, but not of objects; and
        objects of the allowed classes.

    Raises
    ------
    ObjectRefused
        Anything else, or damaged.

    Examples
    --------
    >>> import pickle
    >>> loads(pickle.dumps({"voltage": [229.8, 230.1]}))
    {'voltage': [229.8, 230.1]}
    >>> loads(pickle.dumps(print))
    Traceback (most recent call last):
    ...
    group_ports.errors.ObjectRefused: builtins.print is not allowed
    """
    machine = PickleMachine(allowed, max_objects)
    try:
        return machine.run(data)
    except ObjectRefused:
        raise
    except Exception as error:
        # Damaged programs fail in many ways, and so do constructors of allowed
        # classes; to the caller it is one thing.
        raise ObjectRefused(f"not a whole object: {type(error).__name__}: {str(error)[:200]}") from error
