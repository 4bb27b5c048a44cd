import assert from "node:assert/strict";
import { test } from "node:test";

import { address } from "./address.js";

const settings = { batch_size: 10, weights_rate: 5, biases_rate: 0.5, rule: "manual" };

test("a state that is written is read back", () => {
  const state = { example: "test:42", stage: 7, from: "trained", steps: [{ count: 20, settings }, { count: 3, settings: { ...settings, rule: "autodiff" } }] };
  const written = address.format(state);
  assert.equal(written, "#example=test:42&stage=7&from=trained&train=20x10x5x0.5xmanual,3x10x5x0.5xautodiff");
  assert.deepEqual(address.parse(written), state);
});

test("training may begin with a step of the run", () => {
  assert.equal(address.format({ example: "test:42", stage: 7, from: "100", steps: [] }), "#example=test:42&stage=7&from=100");
  const origins = { trained: "trained", 100: "100", 1000: "1000", other: "start", "": "start", "-1": "start", "1e2": "start" };
  for (const [given, from] of Object.entries(origins)) assert.equal(address.parse(`#example=42&stage=7&from=${given}`).from, from);
});

test("a link to an example leaves the parameters as they are, and is one of the test split unless it says another", () => {
  assert.deepEqual(address.parse("#example=42"), { example: "test:42", stage: 1, from: "start", steps: null });
  assert.equal(address.parse("#example=train:42").example, "train:42");
});

test("after too many steps to take again only the example has an address", () => {
  const state = { example: "test:42", stage: 7, from: "start", steps: [{ count: 900, settings }, { count: 101, settings }] };
  assert.equal(address.format(state), "#example=test:42");
});

test("a fragment without an example is none of a state", () => {
  for (const fragment of ["", "#", "#learning", "#stage=3"]) assert.equal(address.parse(fragment), null);
});

test("steps that are not understood leave the parameters as they are", () => {
  for (const train of ["x", "10", "1.5x10x5x5xmanual", "5x11x5x5xmanual", "5x10x0x5xmanual", "5x10x5x5xother", "5x10x1e999x5xmanual", "99999x10x5x5xmanual"]) {
    assert.equal(address.parse(`#example=1&stage=2&train=${train}`).steps, null, train);
  }
  assert.deepEqual(address.parse("#example=1&stage=2").steps, []);
  for (const stage of ["-4", "x", ""]) assert.equal(address.parse(`#example=1&stage=${stage}`).stage, 1);
  assert.equal(address.parse("#example=%E0%A4%A").example.startsWith("test:"), true);
});
