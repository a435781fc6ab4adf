"""The state of an object of an allowed class sets its own attributes, none that Python itself looks at."""

from __future__ import annotations

import pickle

import pytest

from group_ports import ObjectRefused
from group_ports._objects import loads


class Reading:
    """Plain attributes, by the ordinary way of pickle."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)


@pytest.mark.parametrize("name", ["__dict__", "__doc__", "__len__", "__reduce__", "__private", "__"])
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_names_that_begin_with_two_underscores_are_refused(name, protocol):
    data = pickle.dumps(Reading(volts=1.5, **{name: {"volts": 99.0}}), protocol)
    with pytest.raises(ObjectRefused, match="not the name of an attribute"):
        loads(data, allowed=(Reading,))


def test_all_others_are_set():
    data = pickle.dumps(Reading(volts=1.5, _amps=[0.25]))
    found = loads(data, allowed=(Reading,))
    assert (type(found), vars(found)) == (Reading, {"volts": 1.5, "_amps": [0.25]})
