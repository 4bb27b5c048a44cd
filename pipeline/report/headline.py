"""Say whether a run is good: beside the published figure of its recipe, and beside the other runs of its data set."""

from typing import Any, NamedTuple

from model.recipes import RECIPES
from pipeline.evaluate.evaluated_runs import EvaluatedRun, RunSummary, list_runs
from pipeline.evaluate.evaluation_record import SplitResult
from pipeline.evaluate.metrics import wilson
from pipeline.preprocess.manifest import Manifest
from pipeline.report.published_figures import CANONICAL, EXCERPT, PUBLISHED, is_made_of


class Figure(NamedTuple):
    """A share of right answers with its 95 % Wilson interval, 0 to 1 each."""

    what: str
    accuracy: float
    low: float
    high: float


def build_headline(evaluated: EvaluatedRun, manifest: Manifest) -> dict[str, Any]:
    """Return the `sentences` that say how good the run is, and the `figures` to draw beside its own, which is first.

    Records of other runs that cannot be read are counted in a sentence; nothing else of other runs is read.
    """
    listing = list_runs(evaluated.workspace)
    peers = rank_runs([each for each in listing.runs if each.run.dataset_digest == evaluated.run.dataset_digest])
    published_sentences, published_figures = _published(evaluated, manifest)
    sentences = [*published_sentences, _describe_rank(evaluated, peers)]
    if listing.problems:
        sentences.append(f"Runs whose records cannot be read, and that are not counted: {len(listing.problems):,}.")
    own = _figure("this run", evaluated.evaluation.test_result())
    return {"sentences": sentences, "figures": [own, *published_figures, *_best_other(evaluated, peers)]}


def rank_runs(summaries: list[RunSummary]) -> list[RunSummary]:
    """Return the evaluated runs, the best first: by accuracy on the test split, among equals by the lower loss."""
    evaluated = [summary for summary in summaries if summary.evaluation]
    return sorted(evaluated, key=lambda summary: _order(summary.test), reverse=True)


def _order(result: SplitResult) -> tuple[float, float]:
    return result.accuracy, -result.loss


def _published(evaluated: EvaluatedRun, manifest: Manifest) -> tuple[list[str], list[Figure]]:
    """Return a sentence on the published figure of the recipe and the figure, or nothing if the data are not MNIST."""
    name = evaluated.run.config.recipe
    published = PUBLISHED.get(name)
    is_canonical = is_made_of(manifest, CANONICAL)
    if published is None or not (is_canonical or is_made_of(manifest, EXCERPT)):
        return [], []
    share = published.num_correct / published.num_examples
    figure = Figure("published", share, *wilson(*published))
    said = f"{published.num_correct:,} of {published.num_examples:,} test digits ({RECIPES[name].source})"
    if not is_canonical:
        return [f"Published for this recipe: {said}, but of canonical MNIST, with fifteen times the train digits."], [
            figure
        ]
    return [f"{_compare_with_published(evaluated, published.num_examples, share)}: {said}."], [figure]


def _compare_with_published(evaluated: EvaluatedRun, num_examples: int, share: float) -> str:
    """Return how a run compares with a published share of right answers to the first test examples."""
    test = evaluated.evaluation.test_result()
    num_correct = test.num_correct if num_examples == test.num_examples else test.first_1000_correct
    interval = wilson(num_correct, num_examples)
    own = f"{num_correct:,} right"
    if interval.low <= share <= interval.high:
        return f"As good as published, within the 95 % interval: {own}, published"
    return f"{'Better' if share < interval.low else 'Worse'} than published: {own}, published"


def _describe_rank(evaluated: EvaluatedRun, peers: list[RunSummary]) -> str:
    own = _order(evaluated.evaluation.test_result())
    rank = 1 + sum(_order(peer.test) > own for peer in peers)
    if len(peers) == 1:
        return "The only evaluated run of this data set in the workspace."
    place = "The best" if rank == 1 else f"Rank {rank:,}"
    lowest = peers[-1].test.accuracy
    return (
        f"{place} of {len(peers):,} evaluated runs of this data set, "
        f"which have {100 * lowest:.2f} to {100 * peers[0].test.accuracy:.2f} %."
    )


def _best_other(evaluated: EvaluatedRun, peers: list[RunSummary]) -> list[Figure]:
    others = [peer for peer in peers if peer.run.run_id != evaluated.run.run_id]
    if not others:
        return []
    best = others[0]
    return [_figure(f"best other run: {best.run.name or best.run.run_id}", best.test)]


def _figure(what: str, result: SplitResult) -> Figure:
    return Figure(what, result.accuracy, result.accuracy_low, result.accuracy_high)
