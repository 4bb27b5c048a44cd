"""Published results of recipes, as counts, and whether a data set is the one that they are of."""

from typing import NamedTuple

from pipeline.preprocess.manifest import Manifest
from pipeline.sources.catalog import KNOWN

CANONICAL = "mnist"
EXCERPT = "mnist-5k"  # digits of MNIST too, but others and fewer


class PublishedFigure(NamedTuple):
    """The right answers that the source of a recipe counted among the first test digits of canonical MNIST."""

    num_correct: int
    num_examples: int


# By recipe. `model.recipes` has the sources and the same figures as text; `docs/learn.md` links to the sources.
PUBLISHED = {
    "article-manual": PublishedFigure(923, 1_000),
    "nielsen-30": PublishedFigure(9_542, 10_000),
    "nielsen-100": PublishedFigure(9_804, 10_000),  # his best run
}


def is_made_of(manifest: Manifest, known: str) -> bool:
    """Return whether a data set has the content of a known one, by the digests of its decompressed sources."""
    return {source.sha256 for source in manifest.sources} == {*KNOWN[known].content_digests}
