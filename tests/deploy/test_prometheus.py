"""The rules for Prometheus: they are valid, ask for metrics that exist, and tell what they should."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.schedule.metrics_file import HELP, MetricsFile, Sample
from tests.deploy.parts import DEPLOY, documents

RULES = DEPLOY / "prometheus" / "backbeam-alerts.yaml"
SCENARIOS = Path(__file__).parent / "alerts.test.yaml"


@pytest.fixture
def promtool():
    found = shutil.which("promtool")
    if not found:
        pytest.skip("needs promtool, of Debian's package prometheus")
    return found


def run(*arguments, **more):
    done = subprocess.run(list(map(str, arguments)), capture_output=True, text=True, timeout=60, **more)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_ask_for_metrics_that_are_written():
    [rules] = documents(RULES)
    expressions = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    named = set(re.findall(r"\bbackbeam_\w+", " ".join(expressions)))
    assert len(named) > 5
    assert named <= set(HELP)


def test_every_rule_is_tried():
    [rules] = documents(RULES)
    [scenarios] = documents(SCENARIOS)
    raised = {
        each["alertname"] for test in scenarios["tests"] for each in test["alert_rule_test"] if "exp_alerts" in each
    }
    assert raised == {rule["alert"] for group in rules["groups"] for rule in group["rules"]}


def test_prometheus_takes_the_rules(promtool):
    run(promtool, "check", "rules", RULES)


def test_the_alerts_are_raised_when_they_should_be(promtool):
    run(promtool, "test", "rules", SCENARIOS)


def test_prometheus_reads_the_file(promtool, tmp_path):
    file = tmp_path / "backbeam.prom"
    samples = [Sample(name, 1) for name in HELP if not name.startswith("backbeam_last")]
    MetricsFile(file, tmp_path / 'a "workspace"\\').record_success(samples)
    with file.open("rb") as stream:
        run(promtool, "check", "metrics", stdin=stream)
