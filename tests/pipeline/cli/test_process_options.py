import json
from pathlib import Path

import pytest

from model.errors import Locked, NothingRun
from pipeline.cli.process_options import IfLocked, LockOptions, MessageOptions, OutputOptions


@pytest.mark.parametrize(("if_locked", "error"), [(IfLocked.fail, Locked), (IfLocked.skip, NothingRun)])
def test_locked_workspace_is_an_error_or_skipped(if_locked, error, tmp_path):
    with LockOptions().acquire(tmp_path), pytest.raises(error), LockOptions(if_locked=if_locked).acquire(tmp_path):
        pass


def test_message_options_become_arguments():
    assert MessageOptions(True, Path("a b.log")).to_arguments() == ["--quiet", "--log-file", "a b.log"]
    assert MessageOptions().to_arguments() == []


def test_result_is_printed_as_json_or_text(capsys):
    OutputOptions(as_json=True).print_result({"accuracy": 0.5}, ["half"])
    assert json.loads(capsys.readouterr().out) == {"accuracy": 0.5}
    OutputOptions().print_result({"accuracy": 0.5}, ["half"])
    assert capsys.readouterr().out == "half\n"
