import pytest

from model.errors import is_worth_retrying


@pytest.mark.parametrize("code", [5, 6, 7, 1, -9, 130, 137, 143])
def test_temporary_failures_are_worth_retrying(code):
    assert is_worth_retrying(code)


@pytest.mark.parametrize("code", [2, 3, 4, 0])
def test_failures_that_need_a_change_are_not_worth_retrying(code):
    assert not is_worth_retrying(code)
