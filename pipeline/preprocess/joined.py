"""Joint data sets: a manifest that lists the shards of several data sets, its parts, and has no shards of its own."""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

from model.errors import BadInput, BadUsage
from pipeline.preprocess.dataset import Dataset
from pipeline.preprocess.manifest import (
    Manifest,
    PartInfo,
    PreprocessConfig,
    RejectedCounts,
    SplitInfo,
    commit_manifest,
    count_rejected,
)
from pipeline.preprocess.shards import summarize_shards
from pipeline.progress import warn
from pipeline.sources.catalog import MAX_SHARDS, SPLITS, PictureOptions
from pipeline.sources.picture_style import join_styles
from pipeline.storage.files import make_empty_folder, remove_on_failure
from pipeline.storage.places import Place

MAX_NAMED = 2  # parts that the name of a joint data set lists; of more, only the first


class JoinedPart(NamedTuple):
    """A complete data set that becomes a part, and how it was named by --dataset; num_source: see `PartInfo`.

    pictures are those of the user's options that applied to it, and first_label the number of its first class.
    """

    source: str
    dataset: Dataset
    num_source: dict[str, int]
    pictures: PictureOptions = PictureOptions()
    first_label: int = 0


def join_manifests(parts: Sequence[JoinedPart]) -> Manifest:
    """Return the manifest of a joint data set, whose parts have the same classes in the same order.

    It has the splits that any part has. A part without a validation split adds no example to it.

    Raises BadInput if two parts differ in image size or channel.
    Raises BadUsage if two parts have the same sources, or a split has more than MAX_SHARDS shards.
    """
    for first_part, second_part in combinations(parts, 2):
        _check_fit(first_part, second_part)
    manifests = [part.dataset.manifest for part in parts]
    first = manifests[0]
    names = [manifest.name[:40] for manifest in manifests]
    num_shards = sum(manifest.config.num_shards for manifest in manifests)
    found = {split for manifest in manifests for split in manifest.splits}
    splits = {split: _join_split(split, manifests) for split in SPLITS if split in found}
    counts = {split: len(info.shards) for split, info in splits.items()}
    for split, count in (("train", num_shards), *counts.items()):
        if count > MAX_SHARDS:
            raise BadUsage(f"the parts have {count} {split} shards together, at most {MAX_SHARDS}: lower --num-shards")
    style = join_styles((manifest.style, manifest.splits["train"].num_examples) for manifest in manifests)
    joint = Manifest(
        name="-and-".join(names) if len(names) <= MAX_NAMED else f"{names[0]}-and-{len(names) - 1}-others",
        height=first.height,
        width=first.width,
        class_names=first.class_names,
        config=PreprocessConfig(seed=first.config.seed, num_shards=num_shards),
        sources=tuple(source for manifest in manifests for source in manifest.sources),
        splits=splits,
        num_rejected=sum(manifest.num_rejected for manifest in manifests),
        rejected=None,
        rejected_counts=_add_rejected(manifests),
        parts=tuple(
            PartInfo(
                dataset_id=part.dataset.folder.name,
                dataset_digest=part.dataset.digest,
                num_source={split: part.num_source.get(split, 0) for split in splits},
            )
            for part in parts
        ),
    )
    return joint.with_style(style)


def write_joint(folder: Place, manifest: Manifest) -> None:
    """Write the folder of a joint data set; on failure it is removed."""
    make_empty_folder(folder)
    with remove_on_failure(folder):
        commit_manifest(folder, manifest)


def _check_fit(first_part: JoinedPart, second_part: JoinedPart) -> None:
    first = first_part.dataset.manifest
    second = second_part.dataset.manifest
    both = f"{first_part.source} and {second_part.source}"
    if first.sources == second.sources:
        raise BadUsage(f"--dataset: {both} are the same data: name each once")
    sizes = [f"{manifest.height} x {manifest.width}" for manifest in (first, second)]
    if sizes[0] != sizes[1]:
        raise BadInput(f"{both} differ in image size: {sizes[0]} and {sizes[1]}; expected one size")
    if first.style.channel != second.style.channel:
        raise BadInput(
            f"{both} differ in how pictures are read: by their {first.style.channel} and their {second.style.channel}"
        )
    if first.style.background != second.style.background:
        warn(
            f"warning: {both} differ in their background, which is {first.style.background} and "
            f"{second.style.background} in most pictures"
        )


def _add_rejected(manifests: Sequence[Manifest]) -> dict[str, RejectedCounts]:
    counts = Counter[tuple[str, int | None]]()
    for manifest in manifests:
        for split, rejected in manifest.rejected_counts.items():
            counts.update({(split, label): count for label, count in enumerate(rejected.class_counts)})
            counts[split, None] += rejected.num_examples - sum(rejected.class_counts)
    return count_rejected(dict(counts), len(manifests[0].class_names))


def _join_split(split: str, manifests: Sequence[Manifest]) -> SplitInfo:
    shards = tuple(
        shard.model_copy(update={"part": number})
        for number, manifest in enumerate(manifests)
        if split in manifest.splits
        for shard in manifest.splits[split].shards
    )
    return summarize_shards(shards, manifests[0].num_pixels)
