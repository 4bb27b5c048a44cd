import assert from "node:assert/strict";
import { test } from "node:test";

import { network } from "./network.js";
import { start } from "./start.js";
import { training } from "./training.js";

const RATES = { weights_rate: 0.3, biases_rate: 0.2 };

let drawn = 0;
const draw = () => start.philox([drawn++, 0, 0, 0], [1, 2])[0] / 2 ** 31 - 1;
const drawMany = (length) => Float64Array.from({ length }, draw);

const makeLayers = (sizes) =>
  sizes.slice(1).map((outputs, i) => ({
    weights: drawMany(outputs * sizes[i]),
    biases: drawMany(outputs),
    inputs: sizes[i],
    outputs,
  }));

const makeExamples = (count) =>
  Array.from({ length: count }, (_, i) => ({ x: drawMany(6), y: network.oneHot(i % 3, 3), target: i % 3 }));

const flatten = (layers) => layers.flatMap(({ weights, biases }) => [...weights, ...biases]);

function assertClose(found, expected, tolerance) {
  assert.equal(found.length, expected.length);
  const furthest = Math.max(...found.map((value, i) => Math.abs(value - expected[i])));
  assert.ok(furthest <= tolerance, `differs by ${furthest}`);
}

for (const activation of ["sigmoid", "tanh", "relu"]) {
  for (const output of ["sigmoid", "softmax"]) {
    for (const loss of ["quadratic", "cross-entropy"]) {
      test(`both rules and differences agree: ${activation}, ${output}, ${loss}`, () => {
        const config = { activation, output, loss, weight_decay: 0, ...RATES };
        const layers = makeLayers([6, 5, 4, 3]);
        const batch = makeExamples(4);
        const manual = training.rules.manual(config, layers, batch);
        const autodiff = training.rules.autodiff(config, layers, batch);
        assertClose(flatten(autodiff.gradients), flatten(manual.gradients), 1e-15);
        assert.ok(Math.abs(autodiff.loss - manual.loss) < 1e-14);
        for (const [l, name, at] of [[0, "weights", 7], [1, "biases", 2], [2, "weights", 5]]) {
          const slope = training.difference(config, layers, batch, { layer: l, name, at }, 1e-5);
          assert.ok(Math.abs(slope - manual.gradients[l][name][at]) < 1e-9);
        }
      });
    }
  }
}

test("large weighted inputs give finite losses and gradients by both rules", () => {
  for (const output of ["sigmoid", "softmax"]) {
    for (const loss of ["quadratic", "cross-entropy"]) {
      const config = { activation: "sigmoid", output, loss };
      const layers = [{ ...makeLayers([6, 3])[0], biases: Float64Array.of(1000, -1000, 0) }];
      const batch = makeExamples(3);
      const [manual, autodiff] = ["manual", "autodiff"].map((rule) => training.rules[rule](config, layers, batch));
      assert.ok(Number.isFinite(manual.loss));
      assertClose(flatten(autodiff.gradients), flatten(manual.gradients), 1e-12);
    }
  }
});

test("a step moves every parameter against its gradient, and the weights shrink by the weight decay", () => {
  const config = { activation: "tanh", output: "softmax", loss: "quadratic", weight_decay: 0.1 };
  const [layers, examples] = [makeLayers([6, 4, 3]), makeExamples(3)];
  const trainer = training.makeTrainer(config, layers, examples);
  const { gradients } = training.rules.manual(config, layers, trainer.nextBatch(3));
  trainer.step({ rule: "manual", batch_size: 3, ...RATES });
  const expected = layers.map(({ weights, biases }, i) => ({
    weights: weights.map((w, at) => w - 0.3 * (gradients[i].weights[at] + 0.1 * w)),
    biases: biases.map((b, j) => b - 0.2 * gradients[i].biases[j]),
  }));
  assertClose(flatten(trainer.layers), flatten(expected), 1e-15);
});

test("every example is used once before one is used again, in another order", () => {
  const examples = makeExamples(10);
  const trainer = training.makeTrainer({}, [], examples);
  const first = trainer.nextBatch(10);
  trainer.waiting.splice(0, 10);
  const second = trainer.nextBatch(10);
  for (const epoch of [first, second]) assert.deepEqual(new Set(epoch), new Set(examples));
  assert.notDeepEqual(first, second);
  assert.deepEqual(training.makeTrainer({}, [], examples).nextBatch(10), first);
});

test("training lowers the loss until all examples are right", () => {
  const config = { activation: "sigmoid", output: "softmax", loss: "cross-entropy", weight_decay: 0 };
  const [layers, examples] = [makeLayers([6, 8, 3]), makeExamples(9)];
  const trainer = training.makeTrainer(config, layers, examples);
  const before = training.evaluate(config, layers, examples);
  for (let step = 0; step < 2000; step++) {
    trainer.step({ rule: "autodiff", batch_size: 3, weights_rate: 1, biases_rate: 1 });
  }
  const after = training.evaluate(config, trainer.layers, examples);
  assert.ok(after.loss < before.loss / 10);
  assert.equal(after.right, 9);
});

test("of wrong outputs near 0 or 1 hardly a share is left in the errors, unless the loss cancels the slope", () => {
  const saturated = [{ weights: drawMany(18), biases: Float64Array.of(30, -30, -30), inputs: 6, outputs: 3 }];
  const examples = makeExamples(9);
  const shareOf = (loss, layers) => training.evaluate({ activation: "sigmoid", output: "sigmoid", loss }, layers, examples).share;
  assert.ok(shareOf("quadratic", saturated) < 1e-6);
  assert.ok(shareOf("quadratic", makeLayers([6, 3])) > 0.05);
  assert.equal(shareOf("cross-entropy", saturated), 1);
});
