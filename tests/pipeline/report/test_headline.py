"""The headline of a run's page: the published figure of its recipe, and its rank among the runs of its data set."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from model.recipes import RECIPES
from pipeline.evaluate.evaluated_runs import find_evaluated, list_runs
from pipeline.preprocess.dataset import load_dataset
from pipeline.report.headline import build_headline, rank_runs
from pipeline.report.published_figures import CANONICAL, EXCERPT, PUBLISHED, is_made_of
from pipeline.sources.catalog import KNOWN
from pipeline.train.run_lookup import load_dataset_of

LEARN = Path(__file__).parents[3] / "docs" / "learn.md"


def headline(workspace, name, manifest=None):
    [evaluated] = find_evaluated(workspace, [name])
    own = load_dataset_of(workspace, evaluated.run, load_dataset).manifest
    return build_headline(evaluated, manifest or own)


def manifest_of(known):
    return SimpleNamespace(sources=[SimpleNamespace(sha256=digest) for digest in KNOWN[known].content_digests])


@pytest.mark.parametrize("recipe", RECIPES)
def test_published_figures_are_those_of_the_recipes_and_of_the_documentation(recipe):
    [row] = [line for line in LEARN.read_text().splitlines() if line.startswith(f"| `{recipe}` |")]
    documented = row.split("|")[3]
    if recipe not in PUBLISHED:
        assert (RECIPES[recipe].published, documented.strip()) == ("none", "")
        return
    num_correct, num_examples = PUBLISHED[recipe]
    text = f"{num_correct} of the first 1,000" if num_examples == 1000 else f"{100 * num_correct / num_examples:.2f} %"
    assert RECIPES[recipe].published.startswith(text)
    assert text in documented


def test_a_data_set_is_known_by_all_its_sources():
    assert is_made_of(manifest_of(EXCERPT), EXCERPT)
    assert not is_made_of(manifest_of(EXCERPT), CANONICAL)
    fewer = SimpleNamespace(sources=manifest_of(CANONICAL).sources[:2])
    assert not is_made_of(fewer, CANONICAL)


def test_the_excerpt_of_mnist_stands_beside_the_published_figure_without_a_verdict(digits_run):
    built = headline(digits_run, "article-manual")
    assert built["sentences"][0].startswith("Published for this recipe: 923 of 1,000 test digits (Aloni")
    assert "but of canonical MNIST" in built["sentences"][0]
    assert [figure.what for figure in built["figures"]] == ["this run", "published"]
    assert built["sentences"][1] == "The only evaluated run of this data set in the workspace."


@pytest.mark.parametrize(
    ("first_1000_correct", "verdict"),
    [(950, "Better than published: 950"), (920, "As good as published"), (850, "Worse than published: 850")],
)
def test_a_run_on_canonical_mnist_is_compared_with_the_published_figure(digits_run, first_1000_correct, verdict):
    [evaluated] = find_evaluated(digits_run, ["article-manual"])
    result = evaluated.evaluation.test_result()
    changed = result.model_copy(update={"num_examples": 10_000, "first_1000_correct": first_1000_correct})
    evaluation = evaluated.evaluation.model_copy(update={"results": (changed,)})
    built = build_headline(evaluated._replace(evaluation=evaluation), manifest_of(CANONICAL))
    assert built["sentences"][0].startswith(verdict)


def test_runs_of_a_data_set_are_ranked(seeds_run):
    ranked = rank_runs(list_runs(seeds_run).runs)
    orders = [(each.test.accuracy, -each.test.loss) for each in ranked]
    assert orders == sorted(orders, reverse=True)
    best = headline(seeds_run, ranked[0].run.run_id)
    assert re.fullmatch(r"The best of 3 evaluated runs .*, which have \d+\.\d\d to \d+\.\d\d %\.", best["sentences"][0])
    last = headline(seeds_run, ranked[2].run.run_id)
    assert last["sentences"][0].startswith("Rank 3 of 3")
    assert [figure.what for figure in last["figures"]] == ["this run", f"best other run: {ranked[0].run.run_id}"]


def test_runs_whose_records_cannot_be_read_are_counted(seeds_run, tmp_path):
    workspace = shutil.copytree(seeds_run, tmp_path / "ws")
    first, second, _ = sorted((workspace / "runs").iterdir())
    (first / "run.json").write_text("{")
    built = headline(workspace, second.name)
    assert "2 evaluated runs" in built["sentences"][0]
    assert built["sentences"][1].endswith("not counted: 1.")
