"""Scan a source of any format. To add a format, see `pipeline.sources.blocks.SplitScan`."""

from pipeline.sources import idx_source, image_folder, parquet_source
from pipeline.sources.blocks import SourceScan
from pipeline.sources.catalog import AnySource, ImageFolderSource, ParquetSource


def scan_source(source: AnySource, num_classes: int | None = None) -> SourceScan:
    """Read all files of a source and check that they are undamaged and fit together.

    num_classes is for data sets that do not name their classes; by default the largest train label plus one.

    Raises:
        BadInput: a file is damaged, is not what it claims to be, or does not fit the others.
        BadUsage: num_classes is not the number of classes that the data set names.
    """
    if isinstance(source, ParquetSource):
        return parquet_source.scan(source, num_classes)
    if isinstance(source, ImageFolderSource):
        return image_folder.scan(source, num_classes)
    return idx_source.scan(source, num_classes)
