import pytest

from model.errors import describe_engine_error, is_worth_retrying


@pytest.mark.parametrize("code", [5, 6, 7, 1, -9, 130, 137, 143])
def test_temporary_failures_are_worth_retrying(code):
    assert is_worth_retrying(code)


@pytest.mark.parametrize("code", [2, 3, 4, 0])
def test_failures_that_need_a_change_are_not_worth_retrying(code):
    assert not is_worth_retrying(code)


JAVA = "\n\tat org.apache.flink.X.run(X.java:1)\n\t... 4 more"
PYTHON = "Traceback (most recent call last):\n  File 'x.py', line 3, in read\nValueError: nope\n"


@pytest.mark.parametrize(
    ("text", "described"),
    [
        (f"{PYTHON}None\n", "ValueError: nope"),
        (
            "Pipeline failed. State: FAILED, Error:\na machine was lost\n",
            "Pipeline failed. State: FAILED, Error: a machine was lost",
        ),
        (f"Job 7 has failed{JAVA}\nCaused by: x.Y: no luck with it{JAVA}\n", "x.Y: no luck with it"),
        (f"Job 7 has failed{JAVA}\nCaused by: x.Y: from the harness: {PYTHON}{JAVA}\n", "ValueError: nope"),
        (f"Job 7 has failed{JAVA}\nCaused by: Timeout: 2 ms", "Job 7 has failed (caused by Timeout: 2 ms)"),
        ("the job failed: [\n  'of a list'\n]", "the job failed: ["),
        ("]", ""),
        (r'status 400: {"errors":["it failed\n\tat x\nCaused by: there is no heap\n\tat y"]}', "there is no heap"),
    ],
)
def test_an_engine_s_error_is_its_last_cause_or_its_first_sentence(text, described):
    assert describe_engine_error(RuntimeError(text)) == f"RuntimeError: {described}"


@pytest.mark.parametrize(
    ("kind", "text", "described"),
    [
        (
            "RuntimeError",
            f"Job failed\nCaused by: x.NoResourceAvailableException: Could{JAVA}",
            "too few free task slots",
        ),
        (
            "RuntimeError",
            f"Job failed\nCaused by: x.IOException: no{JAVA}\n\tat x.BlobClient.up(B.java)",
            "blob server",
        ),
        (
            "_MultiThreadedRendezvous",
            "<_MultiThreadedRendezvous of RPC that terminated with:\n\tstatus = StatusCode.UNAVAILABLE\n\t"
            'details = "Socket closed"\n\tdebug_error_string = "UNKNOWN"\n>',
            "the job server does not answer or has ended: Socket closed",
        ),
        ("FutureTimeoutError", "", "the job server does not answer"),
        ("ConnectionError", "HTTPConnectionPool(host='flink', port=8081): Max retries", "flink:8081 does not answer"),
    ],
)
def test_well_known_errors_of_engines_are_translated(kind, text, described):
    assert described in describe_engine_error(type(kind, (Exception,), {})(text))
