from tests.cli_reference import PAGE, build_page


def test_reference_page_is_current():
    assert PAGE.read_text() == build_page(), "run python -m tests.cli_reference"
