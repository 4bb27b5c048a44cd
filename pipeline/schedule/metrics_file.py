"""Metrics of the last run and retraining in a file, in Prometheus' text format, for node_exporter's textfile collector.

The collector reads that format and not OpenMetrics, and only files whose names end in .prom. After a failure the file
keeps the figures of the last success.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from model.errors import BackbeamError, NothingRun, StorageFailed
from pipeline.context import StageLog
from pipeline.evaluate.evaluation_record import EvaluationRecord, load_evaluation
from pipeline.message_lines import escape_surrogates
from pipeline.preprocess.manifest import Manifest
from pipeline.processes import received_signals
from pipeline.progress import warn
from pipeline.storage.files import write_without_lock
from pipeline.storage.places import Place
from pipeline.train.run_record import RUN_NAME, RunRecord, load_run

if TYPE_CHECKING:
    from pipeline.maintenance.deletion import DeletionResult
    from pipeline.registry.history import Champion  # imports pyarrow.compute
    from pipeline.registry.retrain import RetrainResult
    from pipeline.stages import JobResult

_ENDED = "backbeam_last_end_timestamp_seconds"
_SUCCEEDED = "backbeam_last_success_timestamp_seconds"
_CODE = "backbeam_last_exit_code"
HELP = {
    _ENDED: "When the last command ended, as seconds since 1970.",
    _SUCCEEDED: "When a command last succeeded, as seconds since 1970; 0 if none has.",
    _CODE: "The exit code of the last command.",
    "backbeam_stage_seconds": "How long a stage took at the last success.",
    "backbeam_examples": "Examples of a split of the data set.",
    "backbeam_rejected_examples": "Examples of the sources that were left out.",
    "backbeam_dataset_bytes": "Bytes of the data set's files.",
    "backbeam_run_bytes": "Bytes of the run's parameters and tables.",
    "backbeam_accuracy": "Share of the examples of a split that the run answers right.",
    "backbeam_accuracy_low": "Lower end of the 95 % interval of the accuracy.",
    "backbeam_accuracy_high": "Upper end of the 95 % interval of the accuracy.",
    "backbeam_champion_version": "Version of the champion; 0 if there is none.",
    "backbeam_retention_failed": "1 if the last retraining could not delete what [retention] does not keep, else 0.",
}
_LABELS = {  # beside `workspace`, which all have
    "backbeam_stage_seconds": {"stage"},
    "backbeam_examples": {"split"},
    "backbeam_accuracy": {"split"},
    "backbeam_accuracy_low": {"split"},
    "backbeam_accuracy_high": {"split"},
}


class Sample(NamedTuple):
    """The value of a metric of HELP; the file adds the label `workspace`."""

    name: str
    value: float
    labels: Mapping[str, str] = {}


class MetricsFile:
    """The file of a workspace, or none. If it cannot be written, that is a warning: the work itself is done."""

    def __init__(self, path: Path | None, workspace: Place) -> None:
        self._path = path
        self._workspace = escape_surrogates(str(workspace))

    def record_success(self, samples: Iterable[Sample]) -> None:
        """Replace the file by the figures of a command that has succeeded now."""
        now = time.time()
        self._write([Sample(_ENDED, now), Sample(_SUCCEEDED, now), Sample(_CODE, 0), *samples])

    def record_failure(self, exit_code: int) -> None:
        """Replace the end and the exit code in the file, and keep the figures of the last success.

        If they cannot be read, the file stays as it is; one that is not in the format is begun anew.
        """
        if self._path is None:
            return
        try:
            found = self._read(self._path)
        except OSError as problem:
            warn(f"warning: {self._path} cannot be read, and stays as it is: {problem}")
            return
        kept = [sample for sample in found if sample.name not in (_ENDED, _CODE)]
        never = () if any(sample.name == _SUCCEEDED for sample in kept) else (Sample(_SUCCEEDED, 0),)
        self._write([Sample(_ENDED, time.time()), Sample(_CODE, exit_code), *never, *kept])

    @contextmanager
    def records_failures(self) -> Iterator[None]:
        """Record the exit code of a context that fails."""
        try:
            yield
        except NothingRun:
            raise
        except BaseException as problem:
            self.record_failure(_exit_code_of(problem))
            raise

    def _read(self, path: Path) -> list[Sample]:
        """Return what the file has for this workspace; nothing if there is no file, or it is damaged. Raises OSError.

        Samples whose labels are not those of their metric are left out: they are not from this version.
        """
        from prometheus_client.parser import text_string_to_metric_families

        try:
            families = list(text_string_to_metric_families(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return []
        except ValueError as problem:
            warn(f"warning: {path} cannot be read, so the figures of the last success are lost: {problem}")
            return []
        found = []
        for sample in (sample for family in families for sample in family.samples if sample.name in HELP):
            labels = dict(sample.labels)
            workspace = labels.pop("workspace", None)
            if workspace == self._workspace and labels.keys() == _LABELS.get(sample.name, set()):
                found.append(Sample(sample.name, sample.value, labels))
        return found

    def _write(self, samples: Iterable[Sample]) -> None:
        if self._path is None:
            return
        try:
            write_without_lock(self._path, _to_text(samples, self._workspace))
        except (OSError, StorageFailed, ValueError) as problem:  # prometheus_client refuses by ValueError
            warn(f"warning: {self._path} cannot be written, and stays as it is: {problem}")


def _to_text(samples: Iterable[Sample], workspace: str) -> bytes:
    from prometheus_client import CollectorRegistry, Gauge, generate_latest

    registry = CollectorRegistry()
    gauges: dict[str, Gauge] = {}
    for sample in samples:
        names = ("workspace", *sample.labels)
        if sample.name not in gauges:
            gauges[sample.name] = Gauge(sample.name, HELP[sample.name], names, registry=registry)
        gauges[sample.name].labels(workspace=workspace, **sample.labels).set(sample.value)
    return generate_latest(registry)


def _exit_code_of(problem: BaseException) -> int:
    """Return the exit code that the command line gives to an error."""
    if received_signals():
        return 128 + received_signals()[0]
    if isinstance(problem, BackbeamError):
        return problem.exit_code
    if isinstance(problem, OSError):
        return StorageFailed.exit_code
    code = getattr(problem, "exit_code", getattr(problem, "code", None))  # of Typer's errors, and of SystemExit
    return code if isinstance(code, int) else 1


def describe_job(workspace: Place, job: "JobResult", log: StageLog) -> list[Sample]:
    """Return the figures of a job: those of its first run. Raises CorruptArtefact if the history is corrupt."""
    from pipeline.registry.history import load_history

    champion = load_history(workspace).champion
    return _describe(job.dataset.manifest, job.runs[0], job.evaluations[0], champion, log)


def _describe(
    manifest: Manifest,
    run: RunRecord | None,
    evaluation: EvaluationRecord | None,
    champion: "Champion | None",
    log: StageLog,
) -> list[Sample]:
    samples = [Sample("backbeam_stage_seconds", seconds, {"stage": stage}) for stage, seconds in log.seconds.items()]
    samples += [
        Sample("backbeam_examples", split.num_examples, {"split": name}) for name, split in manifest.splits.items()
    ]
    samples.append(Sample("backbeam_rejected_examples", manifest.num_rejected))
    samples.append(Sample("backbeam_dataset_bytes", sum(file.num_bytes for file in manifest.files())))
    samples.append(Sample("backbeam_champion_version", champion.version if champion else 0))
    tables = [*(run.tables if run else ()), *(evaluation.tables if evaluation else ())]
    if run:
        num_bytes = sum(file.num_bytes for file in (*run.parameter_files, *tables))
        samples.append(Sample("backbeam_run_bytes", num_bytes))
    for result in evaluation.results if evaluation else ():
        for name in ("accuracy", "accuracy_low", "accuracy_high"):
            samples.append(Sample(f"backbeam_{name}", getattr(result, name), {"split": result.split}))
    return samples


def describe_retraining(
    workspace: Place, result: "RetrainResult", log: StageLog, pruned: "DeletionResult"
) -> list[Sample]:
    """Return the figures of a retraining: those of the run that was decided about, if it was not deleted since.

    Raises CorruptArtefact.
    """
    folder = workspace / "runs" / result.entry.run_id if result.entry.run_id else None
    run = load_run(folder) if folder and (folder / RUN_NAME).exists() else None
    evaluation = load_evaluation(workspace, run) if run else None
    samples = _describe(result.data.manifest, run, evaluation, result.history.champion, log)
    return [*samples, Sample("backbeam_retention_failed", int(pruned.failure is not None))]
