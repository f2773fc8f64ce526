from typing import Protocol

import pytest

from application.concepts import CONCEPTS, adapter, modules
from application.ports.storage import Votes

LAYERS = ("domain", "application", "infrastructure.database", "api")


class Unkept(Protocol):
    """A port without an adapter."""


def test_every_concept_has_a_module_in_some_layer() -> None:
    found = {module.__name__.rpartition(".")[2] for layer in LAYERS for module in modules(layer)}

    assert found == set(CONCEPTS)


def test_modules_are_in_the_order_of_the_concepts() -> None:
    names = [module.__name__ for module in modules("domain")]

    assert names[:2] == ["domain.users", "domain.posts"]


def test_the_adapter_of_a_port_is_its_subclass() -> None:
    assert adapter(Votes, "tests.fakes").__name__ == "FakeVotes"


def test_a_port_without_an_adapter_is_an_error() -> None:
    with pytest.raises(LookupError, match=r"^tests\.fakes has 0 adapters of Unkept, not one$"):
        adapter(Unkept, "tests.fakes")
