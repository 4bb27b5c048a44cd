from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from model.errors import BadInput
from pipeline.evaluate.group_counts import count_groups
from pipeline.evaluate.slices import MOST_KEYS, SLICINGS
from pipeline.evaluate.table_writer import ShardResult, as_list_array, merge_results


def test_outputs_are_converted_to_lists_with_offsets_of_32_bits():
    outputs = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert as_list_array(outputs).to_pylist() == outputs.tolist()
    assert as_list_array(outputs[:0]).to_pylist() == []
    with pytest.raises(pa.ArrowInvalid, match="2147483648 not in range"):
        as_list_array(np.broadcast_to(np.float32(0), (1, 2**31)))  # broadcast: takes no memory


@pytest.mark.parametrize(("name", "refused"), [("class", False), ("thin", True)])
def test_only_users_slicings_have_a_limit_of_keys(name, refused):
    """A data set may have more than a thousand classes."""
    keys = np.arange(MOST_KEYS + 1)
    counted = count_groups(keys, keys > 0, np.zeros(len(keys)))
    job = SimpleNamespace(slicings=SLICINGS | {"thin": "mine:thin"})
    results = [ShardResult((), {(name, "test"): counted}, (), ())]
    if refused:
        with pytest.raises(
            BadInput, match=r"^slicing thin \(mine:thin\) gives 1,001 different keys or more, expected at most 1,000"
        ):
            merge_results(results, job)
    else:
        assert len(merge_results(results, job).slices[name, "test"].keys) == 1001
