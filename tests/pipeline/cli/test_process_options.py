from pathlib import Path

from pipeline.cli.process_options import MessageOptions


def test_message_options_become_arguments():
    assert MessageOptions(True, Path("a b.log")).to_arguments() == ["--quiet", "--log-file", "a b.log"]
    assert MessageOptions().to_arguments() == []
