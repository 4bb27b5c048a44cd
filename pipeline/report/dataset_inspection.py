"""Inspect a data set: its statistics, and contact sheets of its examples."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from model.errors import BadUsage
from model.examples import Bytes, Examples
from pipeline.preprocess.dataset import Dataset, find_dataset, load_dataset
from pipeline.preprocess.manifest import Manifest
from pipeline.preprocess.shards import read_shard
from pipeline.preprocess.validation_config import ValidationRecord, find_validation
from pipeline.report.contact_sheet import SheetRow, Tile, draw_classes, draw_named
from pipeline.storage.files import write_without_lock
from pipeline.storage.places import Place

CLASSES_NAME = "classes.png"
EXAMPLES_NAME = "examples.png"
MAX_NAMED = 1000  # examples on one sheet


@dataclass(frozen=True)
class NamedExample:
    """An example of a split, which SPLIT:INDEX names."""

    split: str
    index: int  # position in the source
    label: int
    image: Bytes  # uint8[height, width]


class Inspection(NamedTuple):
    """What `backbeam inspect` shows of a data set, of which only the shards that were read are verified."""

    dataset: Dataset
    statistics: dict[str, Any]  # see `statistics`
    validation: ValidationRecord | None
    sheet: Place
    named: list[NamedExample]  # the examples on the sheet, if they were selected by name


def inspect_dataset(
    workspace: Place, wanted: str | None, target: Path | None, split: str, per_class: int, examples: Sequence[str]
) -> Inspection:
    """Compute the statistics of a data set, found as by `find_complete`, and write a contact sheet of a split.

    The sheet is written to the target or, if that is None, to its default folder; it shows per_class examples of each
    class, or the examples that are named, such as train:17,42. Raises BadUsage if there is no such data set, split or
    example, and CorruptArtefact if a file does not verify.
    """
    dataset = find_dataset(workspace, wanted, load_dataset)
    manifest = dataset.manifest
    _check_split("--split", split, manifest)
    indices_by_split = _parse_examples(examples, manifest)
    validation = find_validation(workspace, dataset)
    sheet = (target or workspace / "inspect" / dataset.folder.name) / (EXAMPLES_NAME if examples else CLASSES_NAME)
    named: list[NamedExample] = []
    for name, indices in indices_by_split.items():
        named += find_named(dataset, name, indices)
    data = _draw_example_sheet(manifest, named) if examples else _draw_class_sheet(dataset, split, per_class)
    write_without_lock(sheet, data)
    return Inspection(dataset, statistics(manifest), validation, sheet, named)


def _check_split(option: str, split: str, manifest: Manifest) -> None:
    """Raise BadUsage, which names the option, if there is no such split."""
    if split not in manifest.splits:
        raise BadUsage(
            f"{option}: {manifest.dataset_id} has no split {split!r}; there are: {', '.join(manifest.splits)}"
        )


def _parse_examples(texts: Sequence[str], manifest: Manifest) -> dict[str, list[int]]:
    """Return the indices by split, without duplicates, that texts such as train:17,42 name; raises BadUsage."""
    indices_by_split: dict[str, list[int]] = {}
    for text in texts:
        split, _, indices = text.partition(":")
        _check_split("--examples", split, manifest)
        if not all(index.isascii() and index.isdigit() for index in indices.split(",")):
            raise BadUsage(f"--examples takes a split and positions in its source, such as train:17,42; found {text!r}")
        indices_by_split.setdefault(split, []).extend(map(int, indices.split(",")))
    unique = {split: list(dict.fromkeys(indices)) for split, indices in indices_by_split.items()}
    if sum(map(len, unique.values())) > MAX_NAMED:
        raise BadUsage(f"--examples names more than {MAX_NAMED} examples")
    return unique


def _draw_class_sheet(dataset: Dataset, split: str, per_class: int) -> bytes:
    """Draw the first examples of each class in the order of the shards, which is shuffled."""
    manifest = dataset.manifest
    counts = manifest.splits[split].class_counts
    picked = pick_examples(dataset, split, per_class)
    rows = [
        SheetRow(class_title(label, manifest.class_names), f"{count:,} examples", [example.image for example in own])
        for label, (count, own) in enumerate(zip(counts, picked, strict=True))
    ]
    title = f"{manifest.dataset_id}, split {split}"
    return draw_classes(title, rows, per_class, manifest.height, manifest.width)


def _draw_example_sheet(manifest: Manifest, examples: list[NamedExample]) -> bytes:
    tiles = [
        Tile(example.image, (f"{example.split}:{example.index}", class_title(example.label, manifest.class_names)))
        for example in examples
    ]
    return draw_named(manifest.dataset_id, tiles, manifest.height, manifest.width)


def pick_examples(dataset: Dataset, split: str, per_class: int, most_read: float = inf) -> list[list[NamedExample]]:
    """Return up to per_class examples of each class, the first in the shards; read no more shards than necessary.

    No further shard is read after most_read examples, even if a class has less than per_class then.
    """
    picked: list[list[NamedExample]] = [[] for _ in dataset.manifest.class_names]
    num_missing = [min(count, per_class) for count in dataset.manifest.splits[split].class_counts]
    for examples in _read_shards(dataset, split):
        for label, number in enumerate(num_missing):
            for position in np.flatnonzero(examples.labels == label)[:number].tolist():
                index = int(examples.indices[position])
                picked[label].append(NamedExample(split, index, label, examples.images[position]))
                num_missing[label] -= 1
        most_read -= len(examples.labels)
        if not any(num_missing) or most_read <= 0:
            break
    return picked


def find_named(dataset: Dataset, split: str, indices: Sequence[int]) -> list[NamedExample]:
    """Return the examples of a split at given positions in the source, in the given order.

    Raises BadUsage if there is no example at a position; and CorruptArtefact.
    """
    found: dict[int, NamedExample] = {}
    for examples in _read_shards(dataset, split):
        chosen = examples.take(np.flatnonzero(np.isin(examples.indices, indices)))
        for index, image, label in zip(chosen.indices.tolist(), chosen.images, chosen.labels.tolist(), strict=True):
            found[index] = NamedExample(split, index, label, image)
    missing = sorted(set(indices) - set(found))
    if missing:
        raise BadUsage(f"--examples: {dataset.manifest.dataset_id} has no example {split}:{missing[0]}")
    return [found[index] for index in indices]


def statistics(manifest: Manifest) -> dict[str, Any]:
    """Return the manifest's statistics of each split as JSON values; shares are fractions of the split."""
    return {
        name: {
            "num_examples": split.num_examples,
            "num_rejected": manifest.num_rejected_of(name),
            "num_shards": len(split.shards),
            "pixel_mean": split.pixel_mean,
            "pixel_std": split.pixel_std,
            "classes": [
                {
                    "label": label,
                    "class_name": class_name,
                    "num_examples": count,
                    "share": count / max(1, split.num_examples),
                }
                for label, (class_name, count) in enumerate(zip(manifest.class_names, split.class_counts, strict=True))
            ],
        }
        for name, split in manifest.splits.items()
    }


def class_title(label: int, class_names: Sequence[str]) -> str:
    """Return the number of a class, followed by its name if that is another."""
    name = class_names[label] if label < len(class_names) else "no class"
    return str(label) if name == str(label) else f"{label}  {name}"


def _read_shards(dataset: Dataset, split: str) -> Iterator[Examples]:
    """Yield the examples of each shard, with images as uint8[n, height, width]."""
    manifest = dataset.manifest
    for shard in manifest.splits[split].shards:
        examples = read_shard(dataset.folder, manifest, split, shard)
        yield examples._replace(images=examples.images.reshape(-1, manifest.height, manifest.width))
