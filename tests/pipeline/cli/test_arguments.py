import time

import pytest
import typer

from model.errors import BadUsage
from pipeline.cli.arguments import MOST_CHARACTERS, refuse_long_arguments, refuse_secrets, split_arguments
from pipeline.cli.options import MOST_REASON, refuse_long_reason, refuse_nan


@pytest.mark.parametrize(
    "argument",
    [
        "s3://key:secret@bucket/name",
        "https://host/file?token=secret",
        "--dataset=gs://user@bucket",
        "see s3://bucket and https://user@host",
        "1s3://secret@bucket",
        "a://b://secret@c",
        "a://b?secret://c",
    ],
)
def test_uri_with_secret_is_rejected_and_not_repeated(argument):
    with pytest.raises(BadUsage, match=r"a \w+:// URI with USER@ or \?QUERY") as refused:
        refuse_secrets([argument])
    assert not any(secret in str(refused.value) for secret in ("secret@", "token"))


@pytest.mark.parametrize(
    "argument", ["s3://bucket/a@b", "who@host", "why?", "://user@host", "gs://bucket/name, is it?", "a,s3://b,c@d"]
)
def test_arguments_without_secret_are_accepted(argument):
    refuse_secrets([argument])


@pytest.mark.parametrize("text", ["x" * 10**6, "1" * 10**6, "://" * 300_000, "a://" * 250_000, "a@b?" * 250_000])
def test_search_for_secrets_takes_linear_time(text):
    started = time.process_time()
    refuse_secrets([text])
    assert time.process_time() - started < 5


def test_arguments_after_two_dashes_go_to_beam():
    assert split_arguments(["run", "--", "--runner=X", "--", "y"]) == (["run"], ["--runner=X", "--", "y"])
    assert split_arguments(["run"]) == (["run"], [])


def test_too_long_argument_is_rejected():
    refuse_long_arguments(["x" * MOST_CHARACTERS])
    with pytest.raises(BadUsage, match="an argument of 16,385 characters, expected at most 16,384: 'xxx"):
        refuse_long_arguments(["run", "x" * (MOST_CHARACTERS + 1)])


def test_too_long_reason_is_rejected():
    assert refuse_long_reason("x" * MOST_REASON) == "x" * MOST_REASON
    with pytest.raises(typer.BadParameter, match="1,001 characters, expected at most 1,000"):
        refuse_long_reason("x" * (MOST_REASON + 1))


def test_nan_seconds_are_rejected():
    assert refuse_nan(0.5) == 0.5
    with pytest.raises(typer.BadParameter, match="nan"):
        refuse_nan(float("nan"))
