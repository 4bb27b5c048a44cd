import assert from "node:assert/strict";
import { test } from "node:test";

import { points } from "./points.js";

test("the bits of a float16 are its value", () => {
  const values = { 0x0000: 0, 0x3c00: 1, 0xbc00: -1, 0x3e00: 1.5, 0x7bff: 65504, 0x0400: 2 ** -14, 0x03ff: (1023 / 1024) * 2 ** -14, 0x8001: -(2 ** -24) };
  for (const [bits, value] of Object.entries(values)) assert.equal(points.half(Number(bits)), value);
});

test("the layers of a step are decoded in the order weights, biases", () => {
  const bits = new Uint16Array([0x3c00, 0x4000, 0x4200, 0x4400, 0x4500, 0xc600]); // 1 2 3 4 of the weights, 5 -6
  const parameters = Buffer.from(bits.buffer).toString("base64");
  const { 100: [layer] } = points.decode({ layers: [2, 2], points: [{ step: 100, parameters }] });
  assert.deepEqual([...layer.weights], [1, 2, 3, 4]);
  assert.deepEqual([...layer.biases], [5, -6]);
  assert.deepEqual([layer.inputs, layer.outputs], [2, 2]);
});
