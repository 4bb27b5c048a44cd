"""Secrets of the environment and of the command line: none is in a file, in a message or on a page."""

import pytest

from tests.helpers import Digits, backbeam, contents, free_addresses

SECRET = "sEcReT-7f3a9c1e"  # noqa: S105 - of nobody
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIA0000000000000000",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_SESSION_TOKEN": SECRET,
    "AZURE_STORAGE_CONNECTION_STRING": f"AccountKey={SECRET}",
    "GOOGLE_APPLICATION_CREDENTIALS": f'{{"private_key": "{SECRET}"}}',
    "HF_TOKEN": SECRET,
}
COMMAND_LINES = [
    ("run", "--dataset", f"https://user:{SECRET}@example.com/digits"),
    ("run", "--dataset", f"s3://AKIA:{SECRET}@bucket/digits"),
    ("preprocess", "--dataset", f"s3://bucket/train.parquet?X-Amz-Signature={SECRET},s3://bucket/test.parquet"),
    ("preprocess", "--dataset", "mnist", "--data-dir", f"gs://bucket/digits?token={SECRET}"),
    ("predict", f"https://example.com/seven.png?sig={SECRET}"),
    ("reproduce", "--dataset", f"az://user:{SECRET}@container/digits"),
    ("run", "--", f"--s3_secret_access_key={SECRET}"),
    ("run", "--", "--s3_secret_access_key", SECRET),
    ("run", "--", f"--azure_connection_string=AccountKey={SECRET}"),
    ("run", "--", f"--temp_location=https://user:{SECRET}@example.com/x"),
    ("run", "--", f"--no_such_secret={SECRET}"),
    ("run", f"--s3_secret_access_key={SECRET}"),
]


def is_nowhere(folder, *done) -> bool:
    said = "".join(each.out + each.err for each in done)
    return SECRET not in said and not any(SECRET.encode() in data for data in contents(folder).values())


@pytest.mark.parametrize("command", COMMAND_LINES, ids=lambda command: " ".join(command).replace(SECRET, "SECRET"))
def test_a_command_line_that_holds_one_is_refused(command, tmp_path):
    end = command.index("--") if "--" in command else len(command)
    place = ("--workspace", tmp_path / "ws")
    more = ("--log-file", tmp_path / "log") if command[0] in ("run", "preprocess", "reproduce") else ()
    done = backbeam(*command[:end], *place, *more, *command[end:])
    assert (done.code, done.out) == (2, ""), done.err
    assert is_nowhere(tmp_path, done)


def test_what_succeeds_leaves_none(tmp_path):
    source, place = Digits().write(tmp_path / "digits"), ("--workspace", tmp_path / "ws")
    commands = [
        ("run", "--dataset", source, "--num-steps", 20, "--log-file", tmp_path / "log"),
        ("report",),
        ("verify", "--json"),
        ("export", "--to", tmp_path / "out"),
    ]
    done = [backbeam(*command, *place, environment=ENVIRONMENT) for command in commands]
    assert [each.code for each in done] == [0] * len(commands), [each.err for each in done]
    assert is_nowhere(tmp_path, *done)


def test_what_fails_leaves_none(tmp_path):
    [address] = free_addresses(1)
    away = {
        "AWS_ENDPOINT_URL": f"http://user:{SECRET}@{address}",
        "AWS_REGION": "eu-central-1",
        "AWS_MAX_ATTEMPTS": "1",
    }
    commands = [
        (("run", "--dataset", "s3://bucket/digits"), ENVIRONMENT | away, 5),
        (("run", "--dataset", "gs://bucket/digits"), ENVIRONMENT, 5),  # whose credentials are no name of a file
        (("run", "--", "--runner=NoSuchRunner"), ENVIRONMENT, 2),
        (("run", "--dataset", tmp_path), ENVIRONMENT, 3),
    ]
    for command, environment, code in commands:
        end = command.index("--") if "--" in command else len(command)
        more = ("--workspace", tmp_path / "ws", "--log-file", tmp_path / "log")
        done = backbeam(*command[:end], *more, *command[end:], environment=environment)
        assert (done.code, "Traceback" in done.err) == (code, False), done.err.replace(SECRET, "SECRET")
        assert is_nowhere(tmp_path, done), done.err
