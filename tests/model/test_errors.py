import pytest

from model.errors import is_worth_retrying


@pytest.mark.parametrize("code", [5, 6, 7, 1, -9, 130, 137, 143])
def test_what_may_pass_is_worth_a_retry(code):
    assert is_worth_retrying(code)


@pytest.mark.parametrize("code", [2, 3, 4, 0])
def test_what_somebody_must_mend_is_not(code):
    assert not is_worth_retrying(code)
