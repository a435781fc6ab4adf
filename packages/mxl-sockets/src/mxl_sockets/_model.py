"""What a driver asks of a molecular model, and what it accepts back.

A model is an object with three methods, or just a function. Staging and
committing are separate because the hub may take a request back: a staged step
is computed but not yet part of the model's past, a second one replaces it, and
only the commit makes it final.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np

from mxl_sockets._arrays import Fields
from mxl_sockets.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: What may be returned as amplitude: three numbers.
Amplitude: TypeAlias = np.ndarray[Any, np.dtype[np.floating[Any]]] | Sequence[float]
#: What may be returned as extra: bytes, or something that becomes a JSON object.
Extra: TypeAlias = bytes | Mapping[str, Any]
#: A model without a past: field in, amplitude (and extra) out.
ModelFunction: TypeAlias = Callable[[Fields], Amplitude | tuple[Amplitude, Extra]]

ResultT = TypeVar("ResultT")

_VECTOR: Final = struct.Struct("<3d")


class Parameters(dict[str, Any]):
    """The JSON object of an ``INIT`` message, with the text it was read from.

    Empty if the text is something else, such as i-PI's free text or ASE's
    single NUL byte.

    Attributes
    ----------
    text : bytes
        The text as it came.
    """

    def __init__(self, values: Mapping[str, Any] | None = None, text: bytes = b"") -> None:
        super().__init__(values or {})
        self.text = text

    @classmethod
    def from_text(cls, text: bytes) -> Parameters:
        """Read the text of an ``INIT`` message; never fails.

        Examples
        --------
        >>> Parameters.from_text(b'{"dt_au": 0.5}')
        {'dt_au': 0.5}
        >>> Parameters.from_text(b"dt : 0.5").text
        b'dt : 0.5'
        """
        try:
            values = json.loads(text.decode())
        except (ValueError, RecursionError):
            values = None
        return cls(values if isinstance(values, dict) else None, text)


@runtime_checkable
class Model(Protocol):
    """A molecule, as a `Driver` sees it.

    Atomic units throughout. All calls come from the thread that runs the
    driver. An exception ends the driver.

    A model of several atoms has an attribute ``nat`` (int): its fields and
    amplitudes then have the shape (nat, 3), and only that atom count is
    accepted. Without it there is one vector of shape (3,).
    """

    def initialize(self, molecule_id: int, dt_au: float, params: Parameters, /) -> None:
        """Start, or start again: called for every ``INIT``, also in mid-run after a reconnect.

        Parameters
        ----------
        molecule_id : int
            The number of the molecule this model now is.
        dt_au : float
            Time step, atomic units; 0.0 if the hub did not say.
        params : Parameters
            All the hub sent, as a dict.
        """

    def stage(self, field_au: NDArray[np.float64], /) -> None:
        """Compute one step from the committed state, without making it final.

        Parameters
        ----------
        field_au : ndarray, shape (3,), float64
            Electric field of this step, atomic units; the model may keep it.
        """

    def commit(self) -> tuple[Amplitude, Extra]:
        """Make the staged step final.

        Returns
        -------
        amp : array_like, shape (3,), float
            Source amplitude d(mu)/dt at the end of the step, atomic units.
            Any floating point value is passed on, nan and inf too.
        extra : bytes or mapping
            Passed on to the solver; a mapping as compact JSON with sorted keys.
        """


class FunctionModel:
    """A function in the clothes of a model; it must not remember anything between calls.

    Parameters
    ----------
    function : callable
        ``field -> amplitude`` or ``field -> (amplitude, extra)``.
    """

    def __init__(self, function: ModelFunction) -> None:
        self.function = function
        self._staged: tuple[Amplitude, Extra] = ((0.0, 0.0, 0.0), b"")

    def __repr__(self) -> str:
        return f"FunctionModel({self.function!r})"

    def initialize(self, molecule_id: int, dt_au: float, params: Parameters, /) -> None:
        """Do nothing."""

    def stage(self, field_au: NDArray[np.float64], /) -> None:
        """Call the function and keep its result."""
        result: Any = self.function(field_au)
        if isinstance(result, tuple) and len(result) == 2:
            self._staged = result
        else:
            self._staged = (result, b"")

    def commit(self) -> tuple[Amplitude, Extra]:
        """Return the result."""
        return self._staged


def as_model(model: Model | ModelFunction) -> Model:
    """Accept a model object or a function.

    Raises
    ------
    TypeError
        It is neither; or a class, of which an object is wanted.
    """
    if isinstance(model, type):
        raise TypeError(f"{model.__qualname__} is a class, pass an object of it: {model.__qualname__}(...)")
    if isinstance(model, Model):
        return model
    if callable(model):
        return FunctionModel(model)
    raise TypeError(f"{model!r} is no model: it has no initialize, stage and commit, and cannot be called")


def call_model(what: str, model: object, method: Callable[..., ResultT], *arguments: Any) -> ResultT:
    """Call one of the model's methods.

    Raises
    ------
    ModelError
        It raised; with its exception as the cause.
    """
    try:
        return method(*arguments)
    except Exception as error:
        name = type(model).__name__
        function = getattr(model, "function", None)
        if callable(function):
            name = getattr(function, "__qualname__", repr(function))
        raise ModelError(f"{name} failed in {what}: {type(error).__name__}: {error}") from error


def encode_amplitude(amplitude: Any, nat: int | None) -> bytes:
    """Return an amplitude as little-endian float64, or raise `ModelError`."""
    if nat is None and type(amplitude) in (tuple, list) and len(amplitude) == 3:
        try:  # the common case, and three times faster than by way of numpy
            return _VECTOR.pack(*amplitude)
        except (struct.error, OverflowError) as error:
            raise ModelError(f"model returned amplitude {amplitude!r}: {error}") from error
    shape = (3,) if nat is None else (nat, 3)
    try:
        array = np.asarray(amplitude)
    except ValueError as error:  # ragged
        raise ModelError(f"model returned an amplitude that is no array: {error}") from error
    if array.shape != shape or array.dtype.kind not in "fiub":
        raise ModelError(
            f"model returned an amplitude of shape {array.shape} and type {array.dtype}, "
            f"want {shape} real numbers"
        )
    return array.astype("<f8").tobytes()


def encode_extra(extra: Any) -> bytes:
    """Return an extra as bytes, a mapping as JSON, or raise `ModelError`.

    The JSON is what MaxwellLink's own drivers send: sorted, compact, UTF-8.
    """
    if isinstance(extra, (bytes, bytearray, memoryview)):
        return bytes(extra)
    if isinstance(extra, Mapping):
        try:
            text = json.dumps(
                dict(extra), sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain
            )
            return text.encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise ModelError(f"model returned an extra that JSON cannot express: {error}") from error
    raise ModelError(f"model returned an extra of type {type(extra).__name__}, want bytes or a mapping")


def split_result(result: Any) -> tuple[Any, Any]:
    """Return the two parts of what `Model.commit` returned, or raise `ModelError`."""
    if not isinstance(result, tuple) or len(result) != 2:
        raise ModelError(f"commit returned {type(result).__name__}, want a tuple (amplitude, extra)")
    return result


def _plain(value: object) -> object:
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} {value!r}")
