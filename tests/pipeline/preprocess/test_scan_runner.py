import pytest

from pipeline.beam_runner import add_workers
from pipeline.context import StageContext
from pipeline.preprocess.scan_runner import has_workers, open_task_runner, pays_workers
from pipeline.sources.scan_tasks import MANY_BYTES, map_here


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), False),
        (("--runner=DirectRunner",), False),
        (("--runner=BundleBasedDirectRunner",), False),
        (("--direct_runner_bundle_repeat=1",), False),
        (add_workers((), 2), True),
        (("--direct_running_mode", "multi_processing"), True),
        (("--runner=FlinkRunner", "--flink_master=localhost:1"), True),
        (("--runner=PortableRunner",), True),
        (("--runner=DataflowRunner", "--dry_run=True"), False),
        (("--runner=DataflowRunner", "--template_location=job"), False),
    ],
)
def test_workers_are_other_processes_that_run_the_job(arguments, expected):
    assert has_workers(arguments) is expected


def test_workers_pay_for_many_bytes_only():
    workers = add_workers((), 2)
    assert pays_workers(workers, MANY_BYTES + 1)
    assert not pays_workers(workers, MANY_BYTES)
    assert not pays_workers((), MANY_BYTES + 1)


def test_without_workers_tasks_run_in_this_process(tmp_path):
    with open_task_runner(StageContext(tmp_path, ())) as map_tasks:
        assert map_tasks is map_here
    with open_task_runner(StageContext(tmp_path, add_workers((), 2))) as map_tasks:
        assert list(map_tasks(abs, [-1], int)) == [1]  # a single task too
    assert list(tmp_path.iterdir()) == []
