import pytest

from model.errors import BadInput
from pipeline.sources.catalog import PictureOptions
from pipeline.sources.parquet_columns import ParquetColumns
from pipeline.sources.parquet_tasks import check_num_rows, cut_tasks, list_groups
from tests.pictures import write_rows

COLUMNS = ParquetColumns("image", True, "label")


def test_positions_go_on_from_file_to_file(tmp_path):
    files = tuple(write_rows(tmp_path / name, row_group_size=25) / "train.parquet" for name in "ab")
    groups = list_groups(files)
    assert [(group.file, group.number, group.first_row, group.start, group.num_rows) for group in groups] == [
        *((files[0], number, 25 * number, 25 * number, num_rows) for number, num_rows in enumerate((25, 25, 10))),
        *((files[1], number, 25 * number, 60 + 25 * number, num_rows) for number, num_rows in enumerate((25, 25, 10))),
    ]


def test_every_row_is_of_one_task_and_every_group_is_checked_by_one(small_tasks, tmp_path):
    groups = list_groups((write_rows(tmp_path / "rows", row_group_size=7) / "train.parquet",))
    tasks = cut_tasks(groups, COLUMNS, PictureOptions())
    assert len(tasks) == 4
    assert [task.span.start for task in tasks] == [0, *(task.span.stop for task in tasks[:-1])]
    assert tasks[-1].span.stop == 60
    assert [group for task in tasks for group in task.own_groups()] == groups
    for task in tasks:
        held = {row for group in task.groups for row in range(group.start, group.stop)}
        assert held >= set(range(task.span.start, task.span.stop))


def test_a_group_of_another_length_than_the_metadata_says_is_damage(tmp_path):
    [group, *_] = list_groups((write_rows(tmp_path / "rows") / "train.parquet",))
    check_num_rows(group, 7)
    with pytest.raises(BadInput, match=r"train.parquet: no sound Parquet file: row group 0 has 6 rows, expected 7"):
        check_num_rows(group, 6)
