from pipeline.cli.main import app
from tests.cli_reference import PAGE, build_page


def test_reference_page_is_current():
    assert PAGE.read_text() == build_page(), "run python -m tests.cli_reference"


def test_every_command_is_in_reference_page():
    names = [command.name or command.callback.__name__ for command in app.registered_commands]
    assert len(names) > 10
    assert [name for name in names if f"## `backbeam {name}`" not in PAGE.read_text()] == []
