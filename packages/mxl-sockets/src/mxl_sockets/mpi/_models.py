"""The molecules of one block: a model for each, or one for all; no MPI."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from mxl_sockets._arrays import Fields
from mxl_sockets._model import (
    Extra,
    Model,
    ModelFunction,
    Parameters,
    as_model,
    call_model,
    encode_amplitude,
    encode_extra,
    split_result,
)
from mxl_sockets.errors import ModelError

#: Makes the model of one molecule: a class, or any callable without arguments.
ModelMaker: TypeAlias = Callable[[], Model | ModelFunction]
#: One step of all molecules of a block: fields (n, 3) in, amplitudes (n, 3) out,
#: or a tuple of them and a sequence of n extras.
BlockModel: TypeAlias = Callable[[Fields], ArrayLike | tuple[ArrayLike, Sequence[Extra]]]
#: Makes the model of a block from the INIT parameters of its molecules.
BlockMaker: TypeAlias = Callable[[Mapping[int, Parameters]], BlockModel]
#: What a step of a block comes to: amplitudes (n, 3), and extras if asked for.
Answer: TypeAlias = tuple[Fields, list[bytes]]


class ModelPerMolecule:
    """A `Model` for each molecule of a block.

    All stage a step before any commits it, so a model that refuses a field
    leaves the others where they were.

    Parameters
    ----------
    make : callable
        Makes a model.
    molecules : mapping of int to Parameters

    Raises
    ------
    ModelError
        A model cannot be made, or refuses its parameters.
    """

    def __init__(self, make: ModelMaker, molecules: Mapping[int, Parameters]) -> None:
        self._models: list[Model] = []
        for molecule_id, params in molecules.items():
            try:
                model = as_model(make())
                dt_au = float(params.get("dt_au", 0.0))
            except Exception as error:
                raise ModelError(f"molecule {molecule_id}: {type(error).__name__}: {error}") from error
            if getattr(model, "nat", None) is not None:
                raise ModelError(f"molecule {molecule_id}: an MPI hub has one vector for each, no nat")
            _call(molecule_id, "initialize", model, model.initialize, molecule_id, dt_au, params)
            self._models.append(model)
        self._ids = list(molecules)

    def step(self, fields: Fields, *, extras: bool) -> Answer:
        """Make a step; raises `ModelError`."""
        # The models may keep their field, and `fields` is a buffer of MPI.
        for molecule_id, model, field in zip(self._ids, self._models, fields.copy(), strict=True):
            _call(molecule_id, "stage", model, model.stage, field)
        amplitudes, texts = [], []
        for molecule_id, model in zip(self._ids, self._models, strict=True):
            amplitude, extra = split_result(_call(molecule_id, "commit", model, model.commit))
            amplitudes.append(encode_amplitude(amplitude, None))
            if extras:
                texts.append(encode_extra(extra))
        return np.frombuffer(b"".join(amplitudes), "<f8").reshape(-1, 3), texts


class ModelPerBlock:
    """One function for all molecules of a block.

    Parameters
    ----------
    make : callable
    molecules : mapping of int to Parameters

    Raises
    ------
    ModelError
        The function cannot be made.
    """

    def __init__(self, make: BlockMaker, molecules: Mapping[int, Parameters]) -> None:
        self._shape = (len(molecules), 3)
        try:
            self._function = make(molecules)
        except Exception as error:
            raise ModelError(f"a block of {len(molecules)}: {type(error).__name__}: {error}") from error

    def step(self, fields: Fields, *, extras: bool) -> Answer:
        """Make a step; raises `ModelError`."""
        try:
            result: Any = self._function(fields)
        except Exception as error:
            raise ModelError(f"block model failed: {type(error).__name__}: {error}") from error
        texts: Any = []
        if isinstance(result, tuple) and len(result) == 2:
            result, texts = result
        try:
            amplitudes = np.asarray(result)
        except ValueError as error:  # ragged
            raise ModelError(f"block model returned what is no array: {error}") from error
        if amplitudes.shape != self._shape or amplitudes.dtype.kind not in "fiub":
            raise ModelError(
                f"block model returned shape {amplitudes.shape} and type {amplitudes.dtype}, "
                f"want {self._shape} real numbers"
            )
        if not extras:
            return amplitudes, []
        encoded = [encode_extra(extra) for extra in texts or [b""] * self._shape[0]]
        if len(encoded) != self._shape[0]:
            raise ModelError(f"block model returned {len(encoded)} extras for {self._shape[0]} molecules")
        return amplitudes, encoded


def _call(molecule_id: int, what: str, model: Model, method: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return call_model(what, model, method, *arguments)
    except ModelError as error:
        raise ModelError(f"molecule {molecule_id}: {error}") from error.__cause__
