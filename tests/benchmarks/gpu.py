"""Microseconds a training step on a GPU, and what the ways of training them cost; a JSON line a case.

    python -m tests.benchmarks.gpu steps [--precision tf32] [--only NAME:BATCH,...]
    python -m tests.benchmarks.gpu seeds      # several seeds as one program over stacked parameters
    python -m tests.benchmarks.gpu input      # what training reads: a resident split, and a streamed one

The peer is gpu_jax.py beside this file, with the same cases, starts and batches. XLA_FLAGS holds as for any program.
"""

import argparse
import os
import time
from functools import partial

import numpy as np
import tensorflow as tf

from model.batches import BatchPlan
from model.devices import choose_precision, initialise_devices, step_flops
from model.examples import Examples
from model.lockstep import largest_difference
from model.network import Layer
from model.reading import SplitReader
from model.recipes import find_recipe, override
from model.replicas import start_engine
from model.stacked import compile_stack
from model.training import compile_chunk, compile_loop, start_state, update
from tests.benchmarks.gpu_cases import draw_images, draw_positions, draw_start, find_cases, measure_seconds, print_row


def config_of(case, **changes):
    """Return the TrainingConfig of a case."""
    recipe = "modern" if case.modern else "article-manual"
    more = {"dropout": 0.0, "schedule": "constant", "start": "scaled"} if case.modern else {}
    sizes = {"layers": case.layers, "batch_size": case.batch, "num_steps": 10_000}
    rates = {"weights_rate": case.rate, "biases_rate": case.rate}
    return override(find_recipe(recipe).config, **more, **sizes, **rates, **changes)


def main():
    """Run the part that is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=["steps", "seeds", "input"])
    parser.add_argument("--device", default="gpu")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--only", default="")
    parser.add_argument("--step", default="manual")
    arguments = parser.parse_args()
    device = initialise_devices(arguments.device).logical[0]
    choose_precision(arguments.precision, device)
    {"steps": steps, "seeds": seeds, "input": read_input}[arguments.part](arguments, device)


def steps(arguments, device):
    """Time chunks whose images are on the device."""
    images, labels = draw_images()
    with tf.device(device):
        all_images, all_labels = tf.constant(images), tf.constant(labels)
    for case in find_cases(arguments.only):
        config = config_of(case, step=arguments.step)
        run_chunk = compile_loop(partial(update, config))
        positions = draw_positions(case)
        with tf.device(device):
            chunk = tf.gather(all_images, positions), tf.gather(all_labels, positions)
            start = start_state(config)._replace(
                parameters=tuple(Layer(*map(tf.constant, x)) for x in draw_start(case))
            )
            begun = time.monotonic()
            state, loss = run_chunk(start, *chunk)
            first = float(loss)
            compiled = time.monotonic() - begun
            memory = tf.config.experimental.get_memory_info(device)["peak"] if "GPU" in device else 0
            seconds = measure_seconds(lambda s=state, c=chunk, f=run_chunk: float(f(s, *c)[1])) / case.steps
        flops = step_flops(case.layers, case.batch)
        print_row(
            network=case.name, batch=case.batch, precision=arguments.precision,
            flags=os.environ.get("XLA_FLAGS", ""), steps=case.steps, us_a_step=round(seconds * 1e6, 2),
            tflop_a_second=round(flops / seconds / 1e12, 2), first_call_seconds=round(compiled, 2), loss=first,
            peak_mib=round(memory / 2**20),
        )  # fmt: skip


def seeds(arguments, device):
    """Time several seeds as one program over stacked parameters against one seed, and say how far they differ.

    Beside it stands how far the network alone ends from where it ends if its first weights begin one float32 further:
    as far as rounding can move it.
    """
    images, labels = draw_images()
    for case in find_cases(arguments.only):
        config = config_of(case)
        num_steps = min(case.steps, 200)
        for count in (1, 2, 8, 32):
            positions = np.random.default_rng(4).integers(0, 60_000, (count, num_steps, case.batch))
            run_stack = compile_stack(override(config, stack=count))
            run_alone = compile_chunk(config)
            with tf.device(device):
                chunks = (
                    [tf.constant(images[each]) for each in positions],
                    [tf.constant(labels[each]) for each in positions],
                )
                starts = [start_state(override(config, seed=seed)) for seed in range(count)]
                begun = time.monotonic()
                ends, losses = run_stack(starts, *chunks)
                float(losses[0])
                compiled = time.monotonic() - begun
                alone, moved = (
                    run_alone(start, chunks[0][0], chunks[1][0])[0] for start in (starts[0], _move(starts[0]))
                )
                seconds = measure_seconds(lambda s=starts, c=chunks, f=run_stack: float(f(s, *c)[1][0])) / num_steps
            print_row(
                part="seeds", network=case.name, batch=case.batch, seeds=count, us_a_step=round(seconds * 1e6, 2),
                first_call_seconds=round(compiled, 2), steps=num_steps,
                differs_from_alone=float(largest_difference(alone.parameters, ends[0].parameters)),
                moved_by_rounding=float(largest_difference(alone.parameters, moved.parameters)),
            )  # fmt: skip


def _move(start):
    """Return a state whose weights of the first layer are each the next larger float32."""
    first, *others = start.parameters
    weights = tf.constant(np.nextafter(first.weights.numpy(), np.float32(np.inf)))
    return start._replace(parameters=(first._replace(weights=weights), *others))


def read_input(arguments, device):
    """Time whole training: what an engine reads, from a split on the GPU and from one that is streamed."""
    images, labels = draw_images()

    def read_shard(number, place=None):
        rows = slice(number * 6000, number * 6000 + 6000)
        if place is not None:
            place[:] = images[rows]
        return Examples(np.arange(6000), images[rows], labels[rows].astype(np.int64))

    reader = SplitReader((6000,) * 10, 784, read_shard)
    for case in find_cases(arguments.only):
        config = config_of(case)
        engine = start_engine(config, arguments.device, None, "")
        for window in (2**30, 2**24):
            num_steps = case.steps * 8
            plan = BatchPlan(1, case.batch, num_steps, 1000, window)
            state = start_state(config)
            marks, seen = [], 0
            for x, y in engine.make_chunks(reader, plan, 0):
                state, loss = engine.run_chunk(state, x, y)
                float(loss)
                seen += len(y)
                marks.append((time.monotonic(), seen))
            middle = marks[len(marks) // 2]
            seconds = (marks[-1][0] - middle[0]) / max(1, marks[-1][1] - middle[1])
            print_row(
                part="input", network=case.name, batch=case.batch, resident=window == 2**30,
                us_a_step=round(seconds * 1e6, 2), examples_a_second=round(case.batch / seconds), chunks=len(marks),
            )  # fmt: skip


if __name__ == "__main__":
    main()
