"""Commands that fail at the Nth operation on the disk lose nothing, and a rerun completes."""

import pytest

from tests.faults.scenarios import COMMANDS


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if command.sample])
@pytest.mark.thorough
def test_some_operations_fail(name, harness, record_property):
    record_property("faults injected", harness.sweep(name, COMMANDS[name].sample))


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_every_operation_fails(name, harness, record_property):
    record_property("faults injected", harness.sweep(name, COMMANDS[name].every))
