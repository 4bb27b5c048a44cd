"""The scan as a Beam job, in this process and on workers."""

import pytest

from model.errors import BadInput, EngineFailed, StorageFailed
from pipeline.beam_runner import add_workers
from pipeline.context import StageContext
from pipeline.preprocess import scan_job
from pipeline.preprocess.scan_job import run_tasks
from pipeline.preprocess.scan_runner import open_task_runner
from pipeline.sources.source_lookup import find_source, scan_source
from tests.helpers import Digits, contents, run_in_process
from tests.pictures import write_tree
from tests.small_tasks import WRITERS


def double(number):
    if number < 0:
        raise BadInput(f"number {number} is negative")
    return 2 * number


def test_results_come_in_the_order_of_the_tasks(tmp_path):
    assert list(run_tasks(double, range(30), int, tmp_path / "scratch", [])) == [2 * number for number in range(30)]


def test_the_error_is_that_of_the_first_task_that_fails(tmp_path):
    results = run_tasks(double, [3, -1, 4, -2], int, tmp_path / "scratch", [])
    assert next(results) == 6
    with pytest.raises(BadInput, match=r"^number -1 is negative$"):
        next(results)


def refuse(number):
    raise OSError(5, "Input/output error", f"file {number}")


def test_a_disk_that_cannot_be_read_is_an_error_of_storage(tmp_path):
    with pytest.raises(StorageFailed, match=r"storage: .*Input/output error: 'file 3'"):
        list(run_tasks(refuse, [3], int, tmp_path / "scratch", []))


def test_a_task_that_was_left_out_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(scan_job, "run_pipeline", lambda *_: None)
    with pytest.raises(EngineFailed, match="wrote no result of task 0 of the scan"):
        list(run_tasks(double, [1, 2], int, tmp_path / "scratch", []))


@pytest.mark.thorough
@pytest.mark.parametrize("layout", WRITERS)
def test_workers_find_what_one_process_finds(layout, small_tasks, tmp_path, monkeypatch):
    source = find_source(str(WRITERS[layout](tmp_path / "source")), None, None)
    ran = []
    monkeypatch.setattr(scan_job, "run_tasks", lambda *arguments: ran.append(1) or run_tasks(*arguments))
    with open_task_runner(StageContext(tmp_path / "ws", add_workers((), 2))) as map_tasks:
        found = scan_source(source, map_tasks=map_tasks)
    assert len(ran) == (2 if "records" in layout else 1)  # which are measured first
    assert found == scan_source(source)
    assert contents(tmp_path / "ws") == {}


def preprocess(place, workspace, workers):
    return run_in_process("preprocess", place, "--workspace", workspace, "--workers", workers)


@pytest.mark.thorough
def test_what_is_wrong_with_a_source_is_said_in_the_same_words_by_workers(small_tasks, tmp_path):
    folder = Digits().write(tmp_path / "digits")
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes() + b"more")
    one, two = (preprocess(folder, tmp_path / f"ws{workers}", workers) for workers in (1, 2))
    assert one.code == two.code == 3
    assert one.err.splitlines()[-1] == two.err.splitlines()[-1]
    assert "trailing bytes" in two.err
    assert contents(tmp_path / "ws2") == contents(tmp_path / "ws1")


@pytest.mark.thorough
def test_a_source_that_changes_between_scan_and_preprocessing_is_refused(small_tasks, tmp_path, monkeypatch):
    folder = write_tree(tmp_path / "tree")

    def run_and_change(*arguments):
        results = list(run_tasks(*arguments))
        write_tree(folder, Digits(seed=1))
        return iter(results)

    monkeypatch.setattr(scan_job, "run_tasks", run_and_change)
    done = preprocess(folder, tmp_path / "ws", 2)
    assert done.code == 3
    assert "changed while it was read" in done.err
