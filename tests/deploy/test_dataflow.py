"""The Flex Template: every parameter is an option of `backbeam preprocess`; what the launcher makes of them.

tests/engines/test_dataflow.py runs what Dataflow's launcher would run.
"""

import json
import re
import runpy

import pytest

from tests.deploy.parts import CONFIGURATION, DEPLOY, IN_IMAGE, check_beam_options, check_command, options

FOLDER = DEPLOY / "dataflow"
METADATA = json.loads((FOLDER / "metadata.json").read_text())
PARAMETERS = {parameter["name"]: parameter for parameter in METADATA["parameters"]}
# of the reference of TemplateMetadata and ParameterMetadata, projects.locations.flexTemplates
FIELDS = {"name", "label", "helpText", "isOptional", "defaultValue", "regexes", "paramType"}


def command(*arguments):
    return runpy.run_path(str(FOLDER / "launch.py"))["command"](list(arguments))


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_is_an_option(name):
    parameter = PARAMETERS[name]
    assert set(parameter) <= FIELDS
    option = options("preprocess")[f"--{name.replace('_', '-')}"]
    assert f"--{name.replace('_', '-')}" in parameter["helpText"].split(":")[0].split(".")[0]
    if "defaultValue" in parameter and name != "config":
        assert parameter["defaultValue"] == str(option.default)


@pytest.mark.parametrize(
    ("name", "fine", "refused"),
    [
        ("workspace", ["gs://bucket/ws", "gs://a.bucket-1/a/b c"], ["s3://bucket/ws", "gs://bucket", "/ws", "gs://b/"]),
        ("dataset", ["gs://bucket/digits"], ["mnist", "digits", "gs://Bucket/digits"]),
        ("config", [IN_IMAGE], ["gs://bucket/run.toml", "/etc/passwd"]),
        ("num_shards", ["1", "128"], ["0", "-1", "eight", ""]),
        ("num_classes", ["10"], ["0"]),
        ("shuffle_seed", ["0", "7"], ["-1", "1.5"]),
        ("max_rejected", ["0", "100"], ["all"]),
    ],
)
def test_what_a_parameter_may_be(name, fine, refused):
    [pattern] = PARAMETERS[name]["regexes"]
    assert [value for value in fine if not re.fullmatch(pattern, value)] == []
    assert [value for value in refused if re.fullmatch(pattern, value)] == []


def test_the_command_has_ours_before_and_beams_after():
    ours = ["--workspace=gs://b/ws", f"--config={CONFIGURATION}", "--num_shards=3", "--max_rejected=2"]
    beam = ["--runner=DataflowRunner", "--project=p", "--job_name=j", "--template_location=gs://b/job_object"]
    found = command(beam[0], *ours, *beam[1:], "--dataset=gs://b/digits=1")
    own = ["--workspace=gs://b/ws", f"--config={CONFIGURATION}", "--num-shards=3", "--max-rejected=2"]
    assert found == ["backbeam", "preprocess", *own, "--dataset=gs://b/digits=1", "--", *beam]
    check_command(found[1:])
    check_beam_options(found)
