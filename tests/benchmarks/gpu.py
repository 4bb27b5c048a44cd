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
from model.network import Layer
from model.reading import SplitReader
from model.recipes import find_recipe, override
from model.replicas import start_engine
from model.training import compile_loop, start_state, update
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
    """Time several seeds as one program over stacked parameters against one seed."""
    images, labels = draw_images()
    for case in find_cases(arguments.only):
        config = config_of(case)
        for count in (1, 2, 8, 32):
            num_steps = min(case.steps, 200)
            positions = np.random.default_rng(4).integers(0, 60_000, (num_steps, count, case.batch))
            with tf.device(device):
                chunk = tf.constant(images[positions]), tf.constant(labels[positions])
                starts = [start_state(override(config, seed=seed)) for seed in range(count)]
                state = tf.nest.map_structure(lambda *parts: tf.stack(parts), *starts)

                def each(state, x, y, config=config):
                    return tf.vectorized_map(lambda each, config=config: update(config, *each), (state, x, y))

                run_chunk = compile_loop(lambda s, x, y, f=each: mean_loss(f(s, x, y)))
                begun = time.monotonic()
                end, loss = run_chunk(state, *chunk)
                float(loss)
                compiled = time.monotonic() - begun
                alone = compile_loop(partial(update, config))(starts[0], chunk[0][:, 0], chunk[1][:, 0])[0]
                pairs = zip(tf.nest.flatten(alone.parameters), tf.nest.flatten(end.parameters), strict=True)
                differs = max(float(tf.reduce_max(tf.abs(a - b[0]))) for a, b in pairs)
                seconds = measure_seconds(lambda s=state, c=chunk, f=run_chunk: float(f(s, *c)[1])) / num_steps
            print_row(
                part="seeds", network=case.name, batch=case.batch, seeds=count, us_a_step=round(seconds * 1e6, 2),
                first_call_seconds=round(compiled, 2), differs_from_alone=differs, steps=num_steps,
            )  # fmt: skip


def mean_loss(done):
    """Return the state, and the mean of the seeds' losses."""
    return done[0], tf.reduce_mean(done[1])


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
