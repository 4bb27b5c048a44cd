"""docs/performance.md: its section about scale is current, its inputs are on the page, and the model fits the runs."""

import re

from tests.scale_page import MEASURED, PAGE, errors, fit, with_section


def test_the_section_is_current():
    assert PAGE.read_text() == with_section(PAGE.read_text()), "run python -m tests.scale_page"


def test_its_inputs_are_the_figures_of_the_page():
    text = PAGE.read_text()
    rows = {"preprocess`, in one": ("preprocess", 1), "preprocess --workers 2`": ("preprocess", 2)}
    rows |= {"validate`": ("validate", 1), "evaluate`, all": ("evaluate", 1)}
    for start, (stage, workers) in rows.items():
        row = re.search(rf"\| `{re.escape(start)}[^|]*\|([^|]+)\|([^|]+)\|([^|]+)\|", text)
        figures = [float(cell.split()[0]) for cell in row.groups()]
        expected = [micros for (_, processes), micros in MEASURED[stage].items() if processes == workers]
        assert figures == expected


def test_the_model_agrees_with_the_runs():
    for stage in MEASURED:
        for num_examples, workers, measured, modelled in errors(stage):
            allowed = 0.15 if num_examples >= 700_000 else 0.25
            assert abs(modelled / measured - 1) <= allowed, (stage, num_examples, workers)


def test_more_workers_help_only_with_what_is_shared():
    costs = fit("preprocess")
    assert 0 < costs.alone < costs.shared
    assert costs.seconds(10**9, 1000) > 1e-6 * 10**9 * costs.alone
    assert fit("validate").shared == 0
