"""Models of a block: what they may return to an MPI hub."""

from __future__ import annotations

import numpy as np
import pytest

from mxl_sockets import ModelError, Parameters, TwoLevelSystem
from mxl_sockets.mpi._models import ModelPerBlock, ModelPerMolecule

MOLECULES = {4: Parameters({"dt_au": 0.5}), 2: Parameters({"dt_au": 0.5})}
FIELDS = np.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize(
    ("result", "complaint"),
    [
        (FIELDS[:1], r"shape \(1, 3\)"),
        ([["a", "b", "c"]] * 2, "type <U1"),
        ([[1.0], [1.0, 2.0]], "no array"),
        (1j * FIELDS, "complex128"),
        ((FIELDS, [b""]), "1 extras for 2 molecules"),
        ((FIELDS, [5, 5]), "extra of type int"),
    ],
)
def test_what_is_no_answer_of_a_block_is_refused(result, complaint):
    """Before any of it is taken."""
    with pytest.raises(ModelError, match=complaint):
        ModelPerBlock(lambda found: lambda fields: result, MOLECULES).step(FIELDS, extras=True)


@pytest.mark.parametrize("extras", [True, False])
def test_a_block_may_return_amplitudes_alone_or_extras_too(extras):
    """Mappings become JSON; extras that nobody wants are not looked at."""
    alone = ModelPerBlock(lambda found: lambda fields: -fields, MOLECULES)
    amplitudes, texts = alone.step(FIELDS, extras=extras)
    assert (amplitudes == -FIELDS).all()
    assert texts == ([b"", b""] if extras else [])
    both = ModelPerBlock(lambda found: lambda fields: (fields, [{"id": one} for one in found]), MOLECULES)
    assert both.step(FIELDS, extras=extras)[1] == ([b'{"id":4}', b'{"id":2}'] if extras else [])


def test_a_block_that_raises_or_cannot_be_made_is_a_model_error():
    """With its own exception as the cause."""

    def refuse(*_):
        raise ArithmeticError("no")

    with pytest.raises(ModelError, match="a block of 2: ArithmeticError: no"):
        ModelPerBlock(refuse, MOLECULES)
    with pytest.raises(ModelError, match="block model failed: ArithmeticError: no") as caught:
        ModelPerBlock(lambda found: refuse, MOLECULES).step(FIELDS, extras=False)
    assert isinstance(caught.value.__cause__, ArithmeticError)


def test_models_of_molecules_keep_their_fields_and_name_their_molecule():
    """The buffer that MPI receives into is not theirs."""
    seen = []
    models = ModelPerMolecule(lambda: lambda field: seen.append(field) or (0, 0, 0), MOLECULES)
    fields = FIELDS.copy()
    assert models.step(fields, extras=False) == (pytest.approx(np.zeros((2, 3))), [])
    fields[...] = 7
    assert np.array(seen).tolist() == FIELDS.tolist()
    with pytest.raises(ModelError, match="molecule 2: TwoLevelSystem failed in initialize"):
        ModelPerMolecule(TwoLevelSystem, {2: Parameters({"dt_au": -1})})
    with pytest.raises(ModelError, match="molecule 2: ValueError"):
        ModelPerMolecule(TwoLevelSystem, {2: Parameters({"dt_au": "much"})})


def test_models_of_several_atoms_are_refused():
    """An MPI hub has one vector for each molecule."""

    class Pair(TwoLevelSystem):
        nat = 2

    with pytest.raises(ModelError, match="no nat"):
        ModelPerMolecule(Pair, MOLECULES)
