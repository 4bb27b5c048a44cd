"""Damaged source files are rejected with their name before anything is written."""

import gzip
import shutil
from itertools import combinations

import pytest

from model.errors import BadInput
from pipeline.sources.catalog import EMBEDDED, FILE_NAMES
from pipeline.sources.source_lookup import find_source, scan_source
from tests.damage import DAMAGES, damage
from tests.helpers import write_files
from tests.pictures import scan_folder, write_rows


@pytest.fixture(scope="module")
def decompressed():
    return {name: gzip.decompress((EMBEDDED / "mnist-5k" / f"{name}.gz").read_bytes()) for name in FILE_NAMES}


@pytest.fixture(params=["gzipped", "decompressed"])
def known(request, decompressed, tmp_path):
    """A copy of the files of mnist-5k."""
    if request.param == "gzipped":
        return shutil.copytree(EMBEDDED / "mnist-5k", tmp_path / "copy")
    return write_files(tmp_path / "copy", decompressed)


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", FILE_NAMES)
def test_damaged_file_of_a_known_data_set_is_rejected(name, how, known, tmp_path):
    [path] = known.glob(f"{name}*")
    damage(path, how)
    with pytest.raises(BadInput, match=name):
        scan_source(find_source("mnist-5k", str(known), tmp_path))


@pytest.mark.parametrize("names", list(combinations(FILE_NAMES, 2)), ids=" ".join)
def test_exchanged_files_of_a_known_data_set_are_rejected(names, known, tmp_path):
    first, second = (next(known.glob(f"{name}*")) for name in names)
    first.rename(known / "aside")
    second.rename(first)
    (known / "aside").rename(second)
    with pytest.raises(BadInput, match="|".join(names)):
        scan_source(find_source("mnist-5k", str(known), tmp_path))


@pytest.mark.parametrize("how", DAMAGES)
def test_damaged_parquet_file_is_rejected(how, tmp_path):
    folder = write_rows(tmp_path / "rows", compression="none")
    damage(folder / "train.parquet", how)
    with pytest.raises(BadInput, match="train" if how != "delete" else "a split is missing"):
        scan_folder(folder)
