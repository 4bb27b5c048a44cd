"""The spacing of the points of the learning curve, and what training prints and records of it."""

import re

import pytest

from model.recipes import TrainingConfig
from pipeline.evaluate.table_reader import read_rows
from pipeline.train.curve_points import (
    MAX_MEASURED,
    MIN_POINTS,
    SPACINGS,
    choose_steps_per_measurement,
    choose_steps_per_point,
)
from pipeline.train.run_lookup import find_model
from pipeline.train.run_record import RunRecord


@pytest.mark.parametrize(
    ("num_steps", "spacing"),
    [(1, 100), (4999, 100), (5000, 100), (9999, 100), (10_000, 200), (25_000, 500), (50_000, 1000), (300_000, 1000)],
)
def test_a_long_run_has_at_least_the_points_wanted_and_a_short_one_the_smallest_spacing(num_steps, spacing):
    assert choose_steps_per_point(num_steps) == spacing
    assert num_steps // spacing >= MIN_POINTS or spacing == SPACINGS[-1]


def test_the_default_run_has_a_point_every_200_steps_and_prints_a_line_every_1000(first_run):
    workspace, done = first_run
    run = find_model(workspace, None).run
    assert run.steps_per_point == 200
    curve = read_rows(workspace, "learning_curve", run.run_id)
    assert curve["step"].to_pylist() == list(range(0, 10_001, 200))
    printed = [int(step) for step in re.findall(r" step +(\d+): ", done.err)]
    assert printed == list(range(0, 10_001, 1000))


@pytest.mark.parametrize(
    ("num_steps", "spacing", "expected"),
    [(20, 100, 100), (10_000, 100, 100), (10_001, 100, 200), (10_000, 200, 200), (300_000, 1000, 3000)],
)
def test_layers_are_measured_at_a_hundred_points_at_most(num_steps, spacing, expected):
    found = choose_steps_per_measurement(num_steps, spacing)
    assert found == expected
    assert found % spacing == 0
    assert num_steps // found <= MAX_MEASURED


def test_a_record_of_an_earlier_version_has_the_spacing_that_was_used_then(digits_run):
    record = find_model(digits_run, None).run
    earlier = record.model_copy(update={"steps_per_point": 1000})
    text = earlier.to_json()
    assert b"steps_per_point" not in text
    assert RunRecord.from_json(text, "run.json") == earlier
    assert "steps_per_point" not in TrainingConfig.model_fields  # so ids do not depend on it
