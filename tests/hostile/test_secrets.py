"""Secrets in the environment or on the command line are not written to files, messages or pages."""

import pytest

from tests.helpers import Digits, contents, free_addresses, run_in_process

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


def is_secret_kept(folder, *done) -> bool:
    output = "".join(command.out + command.err for command in done)
    return SECRET not in output and not any(SECRET.encode() in data for data in contents(folder).values())


@pytest.mark.parametrize("command", COMMAND_LINES, ids=lambda command: " ".join(command).replace(SECRET, "SECRET"))
def test_a_command_line_with_a_secret_is_rejected(command, tmp_path):
    end = command.index("--") if "--" in command else len(command)
    workspace = ("--workspace", tmp_path / "ws")
    more = ("--log-file", tmp_path / "log") if command[0] in ("run", "preprocess", "reproduce") else ()
    done = run_in_process(*command[:end], *workspace, *more, *command[end:])
    assert (done.code, done.out) == (2, ""), done.err
    assert is_secret_kept(tmp_path, done)


@pytest.mark.thorough
def test_commands_that_succeed_write_no_secret(tmp_path):
    source = Digits().write(tmp_path / "digits")
    commands = [
        ("run", "--dataset", source, "--num-steps", 20, "--log-file", tmp_path / "log"),
        ("report",),
        ("verify", "--json"),
        ("export", "--to", tmp_path / "out"),
    ]
    done = [run_in_process(*command, "--workspace", tmp_path / "ws", environment=ENVIRONMENT) for command in commands]
    assert [one.code for one in done] == [0] * len(commands), [one.err for one in done]
    assert is_secret_kept(tmp_path, *done)


def test_commands_that_fail_write_no_secret(tmp_path):
    [address] = free_addresses(1)
    unreachable_store = {
        "AWS_ENDPOINT_URL": f"http://user:{SECRET}@{address}",
        "AWS_REGION": "eu-central-1",
        "AWS_MAX_ATTEMPTS": "1",
    }
    commands = [
        (("run", "--dataset", "s3://bucket/digits"), ENVIRONMENT | unreachable_store, 5),
        (("run", "--dataset", "gs://bucket/digits"), ENVIRONMENT, 5),  # its credentials variable must name a file
        (("run", "--", "--runner=NoSuchRunner"), ENVIRONMENT, 2),
        (("run", "--dataset", tmp_path), ENVIRONMENT, 3),
    ]
    for command, environment, code in commands:
        end = command.index("--") if "--" in command else len(command)
        more = ("--workspace", tmp_path / "ws", "--log-file", tmp_path / "log")
        done = run_in_process(*command[:end], *more, *command[end:], environment=environment)
        assert done.code == code, done.err.replace(SECRET, "SECRET")
        assert is_secret_kept(tmp_path, done), done.err
