"""Running a Beam pipeline: options, messages of the engine, and translation of its errors.

Beam is not imported here: the modules of Beam jobs pass its classes.
"""

import argparse
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NamedTuple

from model import errors
from pipeline.processes import code_identity, finish_writes
from pipeline.progress import show_message, warn

# Beam's DirectRunner first tries to download and execute a binary, Prism; here both names run in this process.
_IN_PROCESS_NAMES = {"directrunner", "fnapirunner"}
IN_PROCESS_RUNNER = "FnApiRunner"
MOST_WORKERS = 1024  # processes

_SUBPROCESS_ENVIRONMENT = "beam:env:harness_subprocess_python:v1"

# The errors of a worker that cannot unpickle functions because its code is of another version, or another package.
_CODE_MISMATCH = re.compile(
    r"^\w+Error: (No module named '(?:pipeline|model)\b.*|.*\bmodule '(?:pipeline|model)\b.*)$", re.MULTILINE
)

# Options by which Dataflow builds a job without running it. Other engines ignore them and would run the job.
BUILD_ONLY_OPTIONS = ("dry_run", "template_location")

# Options by which Beam's own clients of stores are configured, and what configures those used here.
_STORE_OPTIONS = {
    "--s3": "s3:// is configured by the environment: AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; "
    "AWS_REGION; AWS_ENDPOINT_URL",
    "--azure": "az:// is configured by the environment: AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or "
    "other credentials of Azure's; AZURE_STORAGE_ENDPOINT",
}

_LOOPBACK = re.compile(r"localhost|127\.0\.0\.1|::1")
_NO_CLUSTER = ("[auto]", "[local]", "[collection]")  # values of --flink_master that name none
_FLINK_SECONDS = 10.0  # to wait for an answer of Flink, or for the end of a job that is cancelled
_POLL_SECONDS = 0.2
_ENDED = ("DONE", "FAILED", "CANCELLED", "UPDATED", "DRAINED", "FINISHED", "CANCELED")  # of Beam and of Flink

# Options that --workers sets, so that users may not combine it with them.
_WORKER_OPTIONS = ("--runner", "--direct_running_mode", "--direct_num_workers")


def beam_arguments(arguments: Sequence[str]) -> list[str]:
    """Return the arguments for Beam; without --runner, the local engine runs in this process.

    Raises BadUsage if the first argument is not an option.
    """
    if arguments and not arguments[0].startswith("--"):
        raise errors.BadUsage(f"options for Beam begin with --; found {arguments[0]!r}")
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--runner", default=IN_PROCESS_RUNNER)
    parsed, rest = parser.parse_known_args(list(arguments))
    runner = IN_PROCESS_RUNNER if parsed.runner.lower() in _IN_PROCESS_NAMES else parsed.runner
    # Beam would also pickle the main module for its workers, but it holds nothing that they need.
    main_session = [] if "--save_main_session" in rest else ["--no_save_main_session"]
    return [*rest, *main_session, f"--runner={runner}"]


def runs_locally(arguments: Sequence[str]) -> bool:
    """Return whether all workers run on this machine, so that they can exchange local files."""
    return f"--runner={IN_PROCESS_RUNNER}" in beam_arguments(arguments)


def add_workers(arguments: Sequence[str], num_workers: int | None) -> tuple[str, ...]:
    """Return the user's options for Beam with those that start worker processes on this machine.

    One worker is this process; None leaves the arguments unchanged. Raises BadUsage if the arguments set the engine or
    its workers too, or configure access to a store, or there are too few or too many workers.
    """
    _check_no_store(arguments)
    if num_workers is None:
        return tuple(arguments)
    if not 1 <= num_workers <= MOST_WORKERS:
        raise errors.BadUsage(f"--workers is {num_workers}, expected 1 to {MOST_WORKERS:,}")
    conflicts = [argument for argument in arguments if argument.split("=")[0] in _WORKER_OPTIONS]
    if conflicts:
        raise errors.BadUsage(
            f"--workers {num_workers} and {conflicts[0]} (after --) both choose the engine or its workers: "
            "leave one out"
        )
    if num_workers == 1:
        return tuple(arguments)
    return (*arguments, "--direct_running_mode=multi_processing", f"--direct_num_workers={num_workers}")


class FlinkCluster(NamedTuple):
    """A Flink cluster, by the address of its REST API, and the name of the only job that is submitted to it."""

    address: str
    job_name: str

    def request(self, method: str, path: str) -> Any:
        """Return the answer to a request; raises EngineFailed if Flink refuses it or does not answer."""
        import requests

        try:
            response = requests.request(method, f"{self.address}/v1/{path}", timeout=_FLINK_SECONDS)
            response.raise_for_status()
            return response.json()
        except requests.RequestException as problem:
            described = errors.describe_engine_error(problem)
            raise errors.EngineFailed(f"Flink at {self.address}: {described}") from problem

    def check(self, options: Mapping[str, Any]) -> None:
        """Refuse a job that could not run: it would wait for slots in vain, or hang at workers that are shared.

        Raises EngineFailed if there is no task manager, BadUsage if the options do not fit the cluster.
        """
        settings = {setting["key"]: setting["value"] for setting in self.request("GET", "jobmanager/config")}
        parallelism = options["parallelism"]
        if parallelism < 1:
            parallelism = int(settings.get("parallelism.default", 1))
        num_slots = self.request("GET", "overview")["slots-total"]
        starts_more = any(name.startswith(("kubernetes.", "yarn.")) for name in settings)  # task managers, on demand
        if num_slots < parallelism and not starts_more:
            if num_slots == 0:
                raise errors.EngineFailed(f"Flink at {self.address} has no task manager yet")
            raise errors.BadUsage(
                f"--parallelism={parallelism} needs as many task slots, and Flink at {self.address} has {num_slots}: "
                "lower it, or add task managers or slots (taskmanager.numberOfTaskSlots)"
            )
        if parallelism > 1 and (options["environment_type"] or "").upper() == "EXTERNAL":
            self._check_pools(options["environment_config"] or "")

    def _check_pools(self, pool: str) -> None:
        """Raise BadUsage if task managers share a worker pool: both number their workers alike, and the job hangs."""
        managers = self.request("GET", "taskmanagers")["taskmanagers"]
        hosts = [re.sub(r"^.*@|:\d+/.*$", "", manager["path"]) for manager in managers]
        pools = set(hosts) if _LOOPBACK.search(pool) else {pool}
        if len(pools) < len(hosts):
            raise errors.BadUsage(
                f"--environment_config={pool} gives {len(hosts)} task managers ({', '.join(hosts)}) {len(pools)} "
                "worker pool, and one that is shared hangs: run each with a pool in its own network, at localhost; or "
                "give --parallelism=1"
            )

    def cancel(self) -> list[str]:
        """Cancel the job unless it has ended, wait for its end, and return its id in a list, or none."""
        running = self._find_running()
        for job in running:
            self.request("PATCH", f"jobs/{job}?mode=cancel")
        deadline = time.monotonic() + _FLINK_SECONDS
        while self._find_running():
            if time.monotonic() > deadline:
                raise errors.EngineFailed(f"it has not ended within {_FLINK_SECONDS:g} seconds")
            time.sleep(_POLL_SECONDS)
        return running

    def _find_running(self) -> list[str]:
        jobs = self.request("GET", "jobs/overview")["jobs"]
        return [job["jid"] for job in jobs if job["name"] == self.job_name and job["state"] not in _ENDED]


def _find_flink_cluster(options: Mapping[str, Any]) -> FlinkCluster | None:
    """Return the cluster that --flink_master names, with a job name that no other job has, or None."""
    master = (options["flink_master"] or "").strip().rstrip("/")
    if options["runner"].lower() not in ("flinkrunner", "portablerunner") or master in ("", *_NO_CLUSTER):
        return None
    address = master if re.match("https?://", master) else f"http://{master}"
    return FlinkCluster(address, f"{options['job_name'] or 'backbeam'}-{uuid.uuid4().hex[:12]}")


def run_pipeline(beam: ModuleType, options_class: Any, arguments: Sequence[str], build: Callable[[Any], Any]) -> None:
    """Let build apply a job's transforms to a pipeline, run it and wait for its end.

    beam is the package apache_beam, options_class its class PipelineOptions; arguments are the user's options for Beam,
    as `beam_options.read_beam_options` returns them. build returns the output of the job's last step.

    Raises:
        BadUsage: the engine does not know an option, or Beam cannot load the engine.
        NothingRun: the options ask to build the job without running it.
        EngineFailed: the engine failed, or the job ended in another state than DONE.
        BackbeamError: the job's own code raised it in a worker.
    """
    options = options_class(beam_arguments(arguments))
    build_only = find_build_only_options(options)
    _exclude_current_folder(options.view_as(beam.options.pipeline_options.PortableOptions))
    values = options.get_all_options()
    cluster = _find_flink_cluster(values)
    if cluster:
        cluster.check(values)
        options.view_as(beam.options.pipeline_options.GoogleCloudOptions).job_name = cluster.job_name
    try:
        pipeline = beam.Pipeline(options=options)
    except (ValueError, ImportError) as problem:  # unknown runner, or its package is not installed
        raise errors.BadUsage(f"Beam: {problem}") from problem
    result = build(pipeline)
    # By name: Beam imports the module of this class only if it creates such a runner.
    if type(pipeline.runner).__name__ == IN_PROCESS_RUNNER:
        from pipeline.beam_workers import use_own_workers

        use_own_workers()
    else:
        # So that the last step has an output: Beam's job service notices the end of a worker only while it waits for
        # one. As bool, because a reshuffle sends its elements from worker to worker, and a manifest may have megabytes.
        result | "Done" >> beam.Map(bool) | "Ended" >> beam.Reshuffle()
    try:
        with _stop_job_servers(pipeline.runner):
            state = _run_to_end(beam, pipeline, cluster)
    except Exception as problem:  # engines raise errors of any class
        raise _translate_error(problem) from problem
    if build_only:
        raise errors.NothingRun(
            f"{build_only}: the job was built and not run, so it made nothing; to run it, leave the option out"
        )
    if state != "DONE":
        raise errors.EngineFailed(f"the engine ended in state {state}, expected DONE")


def _run_to_end(beam: ModuleType, pipeline: Any, cluster: FlinkCluster | None) -> Any:
    """Run a job and return the state that it ended in; if the wait for it fails or is interrupted, cancel the job."""
    result = None
    try:
        result = pipeline.run()
        return result.wait_until_finish()
    except BaseException:  # a cluster would continue, and write to a workspace whose temporary files have been removed
        finish_writes()  # of an engine's threads in this process
        _cancel_job(beam, result, cluster)
        raise


def _cancel_job(beam: ModuleType, result: Any, cluster: FlinkCluster | None) -> None:
    """Cancel a job unless it has ended; if that fails, warn that it may go on. result is None before it is submitted.

    Beam 2.77 cancels a jar's job under an address that Flink does not have, and Beam's job server for Flink interrupts
    its own thread only. So a job on a cluster that is known is cancelled by Flink's own API.
    """
    job = getattr(result, "_job_id", "that was submitted")
    try:
        if cluster:
            for job in cluster.cancel():
                show_message(f"cancelled job {job} on {cluster.address}")
        elif result is not None and result.state not in _ENDED:
            result.cancel()
            if _is_of_flink(beam, result):
                raise errors.EngineFailed(
                    "Flink goes on when the job server cancels; name the cluster by --flink_master"
                )
    except Exception as problem:  # what led here is raised
        address = cluster.address if cluster else "http://JOBMANAGER:8081"
        warn(
            f"warning: the engine may go on with job {job}, which could not be cancelled: "
            f"{errors.describe_engine_error(problem)}; cancel it there, on Flink by "
            f"curl -X PATCH '{address}/v1/jobs/ID?mode=cancel' (the ids: {address}/v1/jobs/overview)"
        )


def _is_of_flink(beam: ModuleType, result: Any) -> bool:
    """Return whether a job was sent to Beam's job server for Flink."""
    if not hasattr(result, "_job_service"):
        return False
    request = beam.portability.api.beam_job_api_pb2.DescribePipelineOptionsRequest()
    described = result._job_service.DescribePipelineOptions(request, timeout=_FLINK_SECONDS)
    return any(option.name == "flink_master" for option in described.options)


@contextmanager
def _stop_job_servers(runner: Any) -> Iterator[None]:
    """Stop an engine's job server when the job ends, not at exit, when the temporary files that it needs are gone."""
    started: list[Any] = []
    create_server = getattr(runner, "default_job_server", None)

    def create_and_record(options: Any) -> Any:
        started.append(create_server(options))  # type: ignore[misc]
        return started[-1]

    if create_server:
        runner.default_job_server = create_and_record
    try:
        yield
    finally:
        for server in started:
            for job in getattr(server, "_jobs", {}).values():
                if hasattr(job, "delete_jar"):  # uploaded to Flink, which would keep it
                    job.delete_jar()
            server.stop()


def _exclude_current_folder(options: Any) -> None:
    """Keep workers that a job service starts as its children from importing modules from the service's folder."""
    if options.environment_type == _SUBPROCESS_ENVIRONMENT and options.environment_config:
        options.environment_config = f"PYTHONSAFEPATH=1 {options.environment_config}"  # run by a shell


def _check_no_store(arguments: Sequence[str]) -> None:
    """Refuse Beam's options for stores: jobs display their options, secrets included, and obstore does not see them."""
    for argument in arguments:
        for prefix, instead in _STORE_OPTIONS.items():
            if argument.startswith(prefix):
                option = argument.split("=")[0]
                raise errors.BadUsage(f"{option}: access to {instead}")


def find_build_only_options(options: Any) -> str:
    """Return the options, as text, that ask to build a job without running it; BadUsage if the engine ignores them."""
    values = options.get_all_options(drop_default=True)
    build_only = [f"--{name}={values[name]}" for name in BUILD_ONLY_OPTIONS if values.get(name)]
    if build_only and "dataflow" not in values["runner"].lower():
        raise errors.BadUsage(
            f"{build_only[0]} goes with --runner=DataflowRunner: {values['runner']} would run the job"
        )
    return " ".join(build_only)


def _translate_error(problem: Exception) -> errors.BackbeamError:
    """Return the error for an exception of an engine, which contains a worker's error as text, or the text "None"."""
    own_error = errors.recover(problem)
    if own_error is not None:
        return own_error
    mismatch = _CODE_MISMATCH.search(str(problem))
    if mismatch:
        return errors.EngineFailed(
            f"the engine failed: a worker does not run the driver's {code_identity()}: {mismatch[1]}; install that "
            "version wherever workers run"
        )
    return errors.EngineFailed(f"the engine failed: {errors.describe_engine_error(problem)}")
