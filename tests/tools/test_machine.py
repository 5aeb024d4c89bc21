"""The machine is the one that torch says."""

import torch

from imageclf.models.device import processor_kind
from tools.verifying.provenance import Machine, _torch_version, made_on, this_machine


def test_this_machine_is_what_torch_says() -> None:
    expected = Machine(torch.__version__, processor_kind())
    assert this_machine(expected) == expected
    assert this_machine(Machine("1.0", "PDP-11")) == expected


def test_torch_need_not_be_imported_where_the_card_agrees() -> None:
    assert _torch_version() == torch.__version__


def test_a_card_without_a_machine_is_another_machine() -> None:
    assert made_on({}) != this_machine(made_on({}))
