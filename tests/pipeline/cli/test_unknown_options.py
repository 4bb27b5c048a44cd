import pytest
from typer.testing import CliRunner

from model.errors import BadUsage
from pipeline.cli.main import app


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ("run --lr 0.1", "run: no such option: '--lr' (did you mean '--learning-rate' or '--weights-rate' or "),
        ("train --l2=0.1", "train: no such option: '--l2' (did you mean '--weight-decay'?); there are: "),
        ("retrain --scheduler cosine", "(did you mean '--rate-schedule'?)"),
        ("preprocess --max-rejectet 3", "(did you mean '--max-rejected'?)"),
        ("runs --zzz", "runs: no such option: '--zzz'; there are: --workspace, --json"),
        ("schedule --cron @daily --alpha 3", "schedule: no such option: '--alpha' (did you mean '--learning-rate' or "),
        (
            "schedule --cron @daily --jiter 3",
            "schedule: no such option: '--jiter' (did you mean '--jitter'?); there are: ",
        ),
        ("gradcheck --eta 3 --json", "gradcheck: no such option: '--eta'; there are: --recipe"),
    ],
)
def test_message_names_the_option_of_the_same_meaning_and_all_others(arguments, hint):
    refused = CliRunner().invoke(app, arguments.split(), obj=()).exception
    assert isinstance(refused, BadUsage)
    assert hint in str(refused)
    assert str(refused).endswith("--log-format")
