"""Data-parallel training: each replica computes the gradients of its part of a batch, and all take the same step.

A batch of n examples is cut into num_replicas equal parts. Each replica computes the gradients of its part, the
replicas exchange them, and each adds them up in the order of the replicas and descends. So every replica has the same
state without sending it, and the result depends on the configuration, not on where the replicas run: one device that
computes the parts in turn, several devices of a process, or several processes give the same bits (on one kind of
device), because all computation is in the two compiled functions of `_compile_halves`. The parts come from different
shards (`model.epochs`), so a process that computes one part reads only the shards of that part.

An all-reduce would add in the order of its ring, so the gradients are gathered instead.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

import tensorflow as tf

from model.batches import CHUNK_BYTES, BatchPlan, GpuMemory, make_chunks, make_chunks_on
from model.cluster import Cluster, meet
from model.devices import choose_devices, choose_precision, choose_threads, initialise_devices
from model.errors import BackbeamError, BadUsage, Damage, EngineFailed
from model.functions import Tensor
from model.lockstep import compile_run
from model.network import Masks
from model.reading import SplitReader
from model.recipes import TrainingConfig
from model.stacked import compile_stack
from model.training import SCHEDULES, ChunkFunction, State, batch_gradients, descend, draw_masks

# errors of a collective operation when another process has exited, was killed, hangs or cannot be reached
_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.DeadlineExceededError)

SERVERS_SECONDS = 60.0
_LOOK_SECONDS = 0.1
GPU_CHUNK_BYTES = 2**28  # of pixels handed to one compiled call: a GPU needs milliseconds for it, and a call 0.1 ms
Built = TypeVar("Built")


class Engine(NamedTuple):
    """How to train a configuration, and on which devices.

    Attributes:
        run_chunk: as `model.training.compile_chunk` describes it, or of a stack as `model.stacked.compile_stack` does.
        device: for the record, such as CPU:0; GPUs as the machine counts them.
        gpu: the memory of the GPU of this process that alone trains; None for CPUs and for several GPUs.
        own_part: the part of each batch that run_chunk takes, counted from 0; None for whole batches.
    """

    run_chunk: ChunkFunction
    device: str
    gpu: GpuMemory | None = None
    own_part: int | None = None

    def make_chunks(self, reader: SplitReader, plan: BatchPlan, first_step: int) -> Iterable[tuple[Tensor, Tensor]]:
        """Return the batches from first_step on, in the memory of the GPU that trains if there is one."""
        if self.gpu is None:
            own = replace(plan, own_part=self.own_part)
            chunks: Iterable[tuple[Tensor, Tensor]] = make_chunks(reader, own, first_step)
            return chunks
        larger = plan.chunk_bytes * (GPU_CHUNK_BYTES // CHUNK_BYTES)
        return make_chunks_on(self.gpu, reader, replace(plan, chunk_bytes=larger), first_step)


class _Halves(NamedTuple):
    """A step in two compiled functions, with the exchange between them.

    Attributes:
        work_out: (state, images uint8[n / replicas, inputs], labels, replica) -> the part's loss and gradients as one
            float vector.
        take_step: (state, the vectors of work_out, [replicas, ...]) -> the next state and the batch's loss.
    """

    work_out: Callable[[State, Tensor, Tensor, Tensor], Tensor]
    take_step: Callable[[State, Tensor], tuple[State, Tensor]]


def start_engine(
    config: TrainingConfig, wanted: str, cluster: Cluster | None, identity: str, damage: Damage | None = None
) -> Engine:
    """Prepare the devices, or join the other processes.

    Args:
        config: of the run.
        wanted: a device as for `model.devices.choose_devices`.
        cluster: the processes that train together; None for this one alone.
        identity: of the run; processes with different identities do not start.
        damage: what this process has found in its part of the data set; no process starts if one has found some.

    Raises:
        BadUsage: there is no such device, or the processes would train different runs.
        CorruptArtefact: a process has found damage.
        EngineFailed: another process did not connect.
    """
    choose_threads(config.layers, config.batch_size)
    if cluster:
        choose_precision(config.precision, "CPU:0")
        strategy = _join(cluster, wanted, identity, damage)
        own_part = cluster.task_index if config.own_shards else None
        run_chunk = compile_strategy(config, strategy, takes_whole=own_part is None)
        return Engine(run_chunk, f"CPU:0 of each of {config.num_replicas} workers", own_part=own_part)
    devices = initialise_devices(wanted, config.num_replicas)
    choose_precision(config.precision, devices.logical[0])
    record = ", ".join(devices.chosen)
    if len(devices.logical) > 1:
        return Engine(compile_strategy(config, tf.distribute.MirroredStrategy(devices.logical)), record)
    device = devices.logical[0]
    gpu = GpuMemory(device) if device.startswith("GPU") else None
    return Engine(partial(_run_on, device, _compile(config)), record, gpu)


def _compile(config: TrainingConfig) -> Callable[..., Any]:
    """Compile training on one device."""
    if config.stack > 1:
        return compile_stack(config)
    return compile_run(config) if config.num_replicas == 1 else compile_in_turn(config)


def compile_in_turn(config: TrainingConfig) -> ChunkFunction:
    """Compile training that computes the parts of the replicas in turn; the interface of `compile_chunk`."""
    halves = _compile_halves(config)

    def run_chunk(state: State, images: Tensor, labels: Tensor) -> tuple[State, Tensor]:
        parts = [_take_part(config, images, labels, replica) for replica in range(config.num_replicas)]

        def one_step(i: Tensor, state: State, total: Tensor) -> tuple[Tensor, State, Tensor]:
            given = [halves.work_out(state, x[i], y[i], tf.constant(r)) for r, (x, y) in enumerate(parts)]
            state, loss = halves.take_step(state, tf.stack(given))
            return i + 1, state, total + loss

        return _repeat(one_step, state, tf.zeros([]), tf.shape(images)[0])

    return tf.function(run_chunk, autograph=False, reduce_retracing=True)  # type: ignore[no-any-return]


def compile_strategy(config: TrainingConfig, strategy: Any, takes_whole: bool = True) -> ChunkFunction:
    """Compile training with a replica on each device of a strategy; the interface of `compile_chunk`.

    Args:
        config: with as many replicas as the strategy.
        strategy: a tf.distribute.MirroredStrategy or MultiWorkerMirroredStrategy.
        takes_whole: whether each process is given whole batches, or only the part of its own replica.
    """
    halves = _compile_halves(config)

    def begin(state: State, images: Tensor, labels: Tensor) -> tuple[Any, ...]:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        here = tf.nest.map_structure(tf.identity, state)
        own = _take_part(config, images, labels, replica) if takes_whole else (images, labels)
        return *own, here, tf.zeros([])

    def step(i: Tensor, state: State, total: Tensor, images: Tensor, labels: Tensor) -> tuple[State, Tensor]:
        context = tf.distribute.get_replica_context()
        given = halves.work_out(state, images[i], labels[i], tf.identity(context.replica_id_in_sync_group))
        everybodys = context.all_gather(given[tf.newaxis], axis=0)
        state, loss = halves.take_step(state, tf.ensure_shape(everybodys, (config.num_replicas, *given.shape)))
        return state, total + loss

    def run_chunk(state: State, images: Tensor, labels: Tensor) -> tuple[State, Tensor]:
        own_images, own_labels, state, total = strategy.run(begin, args=(state, images, labels))

        def one_step(i: Tensor, state: State, total: Tensor) -> tuple[Tensor, State, Tensor]:
            return i + 1, *strategy.run(step, args=(i, state, total, own_images, own_labels))

        def first(value: Tensor) -> Tensor:
            return strategy.experimental_local_results(value)[0]

        return _repeat(one_step, state, total, tf.shape(images)[0], first)

    return tf.function(run_chunk, autograph=False, reduce_retracing=True)  # type: ignore[no-any-return]


def explain(problem: tf.errors.OpError, config: TrainingConfig, device: str) -> BackbeamError | None:
    """Translate an error of TensorFlow in training; return None if neither a worker was lost nor a GPU failed.

    Args:
        problem: what TensorFlow raised in training.
        config: of the run.
        device: as the engine names it.
    """
    if config.num_replicas > 1 and isinstance(problem, _LOST):
        return EngineFailed(
            "another worker of the cluster is gone or does not answer: training has stopped and this run was not "
            f"written; start all {config.num_replicas} workers again"
        )
    if device.startswith("GPU"):
        reason = str(problem.message).partition("\n")[0][:300]
        return EngineFailed(
            f"{device}: TensorFlow cannot compute on it: {reason}; check its memory and the CUDA libraries, or train "
            "with --device cpu"
        )
    return None


def _compile_halves(config: TrainingConfig) -> _Halves:
    """Compile the two halves of a step; XLA compiles neither a whole strategy.run nor the loop around it."""

    def work_out(state: State, images: Tensor, labels: Tensor, replica: Tensor) -> Tensor:
        gradients = batch_gradients(config, state, images, labels, partial(_draw_share, replica))
        return tf.concat([tf.reshape(value, [-1]) for value in tf.nest.flatten(gradients)], 0)

    def take_step(state: State, given: Tensor) -> tuple[State, Tensor]:
        total = given[0]
        for replica in range(1, config.num_replicas):
            total += given[replica]
        loss, layers = _unflatten(total / config.num_replicas, state)
        factor = SCHEDULES[config.schedule](tf.cast(state.step, loss.dtype) / config.num_steps)
        return descend(config, state, layers, factor), loss

    return _Halves(*(tf.function(half, jit_compile=True, autograph=False) for half in (work_out, take_step)))


def _unflatten(vector: Tensor, state: State) -> tuple[Tensor, Any]:
    """Cut a vector into the loss and gradients in the structure of the parameters."""
    shapes = [part.shape for part in tf.nest.flatten(state.parameters)]
    pieces = tf.split(vector, [1, *(shape.num_elements() for shape in shapes)])
    parts = [tf.reshape(piece, shape) for piece, shape in zip(pieces[1:], shapes, strict=True)]
    return pieces[0][0], tf.nest.pack_sequence_as(state.parameters, parts)


def _draw_share(
    replica: Tensor, config: TrainingConfig, key: Tensor, step: Tensor, num_examples: Tensor, dtype: tf.DType
) -> Masks | None:
    """Draw the masks of the whole batch and return the replica's part, so that dropout equals that of one replica."""
    masks = draw_masks(config, key, step, num_examples * config.num_replicas, dtype)
    if masks is None:
        return None
    parts = [tf.reshape(mask, (config.num_replicas, -1, mask.shape[1])) for mask in masks]
    # tf.gather: a slice at a position that is an argument would be compiled again for each position
    return tuple(tf.gather(part, replica) for part in parts)


def _take_part(config: TrainingConfig, images: Tensor, labels: Tensor, replica: Tensor) -> tuple[Tensor, Tensor]:
    """Take a replica's part of every batch: images uint8[steps, n / replicas, inputs] and labels of the same."""
    steps = tf.shape(images)[0]
    parts = config.num_replicas
    images = tf.reshape(images, (steps, parts, config.batch_size // parts, config.layers[0]))
    labels = tf.reshape(labels, (steps, parts, config.batch_size // parts))
    return tf.gather(images, replica, axis=1), tf.gather(labels, replica, axis=1)


def _repeat(
    one_step: Callable[[Tensor, State, Tensor], tuple[Tensor, State, Tensor]],
    state: State,
    total: Tensor,
    num_steps: Tensor,
    first: Callable[[Tensor], Tensor] = tf.identity,
) -> tuple[State, Tensor]:
    """Take steps in a loop and return the state and the mean loss, of the first replica where there are several."""

    def more(i: Tensor, *_: object) -> Tensor:
        return i < num_steps

    _, state, total = tf.while_loop(more, one_step, (tf.constant(0), state, total), parallel_iterations=1)
    return tf.nest.map_structure(first, state), first(total) / tf.cast(num_steps, tf.float32)


def _run_on(device: str, run_chunk: Callable[..., Any], state: Any, images: Any, labels: Any) -> Any:
    with tf.device(device):
        return run_chunk(state, images, labels)


def _join(cluster: Cluster, wanted: str, identity: str, damage: Damage | None) -> Any:
    """Meet the other processes and start TensorFlow's servers; no TensorFlow operation may have run before."""
    if choose_devices(wanted, 1, len(tf.config.list_physical_devices("GPU"))) != ("CPU:0",):
        raise BadUsage("training in several processes works on CPUs only so far: add --device cpu")
    tf.config.set_visible_devices([], "GPU")
    meet(cluster, identity, damage=damage)
    ring = tf.distribute.experimental.CommunicationImplementation.RING
    options = tf.distribute.experimental.CommunicationOptions(implementation=ring)
    try:
        return build_within(
            SERVERS_SECONDS, partial(tf.distribute.MultiWorkerMirroredStrategy, communication_options=options)
        )
    except _LOST:
        raise _incomplete(cluster, "a worker left before TensorFlow began") from None
    except TimeoutError:
        raise _incomplete(cluster, f"TensorFlow waited {SERVERS_SECONDS:g} s in vain for a worker") from None


def _incomplete(cluster: Cluster, problem: str) -> EngineFailed:
    return EngineFailed(f"{problem}: nothing was trained; start all {len(cluster.addresses)} workers again")


def build_within(seconds: float, build: Callable[[], Built]) -> Built:
    """Call build() in another thread and return its result; signal handlers can run in this thread meanwhile.

    TensorFlow waits up to an hour for the other processes in native code, where Python runs no signal handler. While
    its servers start it also replaces the handler of SIGTERM, so the handler is set again repeatedly.

    Raises:
        TimeoutError: it took longer. The thread is left behind and does not keep the process from exiting.
    """
    future: Future[Built] = Future()
    threading.Thread(target=_fulfil, args=(future, build), daemon=True).start()
    deadline = time.monotonic() + seconds
    while not wait([future], _LOOK_SECONDS).done and time.monotonic() < deadline:
        _take_back_signals()
    _take_back_signals()
    return future.result(0)


def _fulfil(future: Future[Built], build: Callable[[], Built]) -> None:
    try:
        future.set_result(build())
    except Exception as problem:  # of any kind: the waiting thread raises it
        future.set_exception(problem)


def _take_back_signals() -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
