"""Check that the tables of an evaluation can hold a data set. Imports neither Beam nor TensorFlow."""

from pipeline.preprocess.manifest import Manifest
from pipeline.storage.tables import check_rows

OUTPUT_BYTES = 4  # of a float32; `predictions` has an output of each class in every row


def check_table_sizes(manifest: Manifest) -> None:
    """Check that no file of `confusion` and `predictions` would be larger than readers accept; raises BadInput.

    The manifest alone decides, so a job can check it before it trains.
    """
    num_classes = len(manifest.class_names)
    num_confusion_rows = len(manifest.splits) * num_classes**2
    check_rows(num_confusion_rows, 0, "confusion", f"{num_classes} classes are too many to evaluate")
    for split in manifest.splits.values():
        for shard in split.shards:
            name = f"predictions of {manifest.id_of(shard)}/{shard.name}"
            remedy = "preprocess again with a larger --num-shards"
            check_rows(shard.num_examples, OUTPUT_BYTES * num_classes, name, remedy)
