import assert from "node:assert/strict";
import { test } from "node:test";

import { explain } from "./explain.js";
import { layout } from "./layout.js";
import { network } from "./network.js";

const config = { activation: "sigmoid", output: "sigmoid", loss: "quadratic", weight_decay: 0, weights_rate: 1, biases_rate: 1 };
const layers = [
  { weights: Float64Array.from({ length: 24 }, (_, i) => Math.sin(i)), biases: Float64Array.of(0.1, 0.2, 0.3), inputs: 8, outputs: 3 },
  { weights: Float64Array.of(0.7, -0.6, 0.2, -0.5, 0.8, 0.3), biases: Float64Array.of(0, 0.1), inputs: 3, outputs: 2 },
];
const model = { config, layers, functions: network.build(config), classNames: ["no", "yes"], height: 2, width: 4 };
const pixels = Uint8Array.of(255, 0, 51, 102, 0, 0, 204, 255);
const x = network.scale(pixels);
const y = network.oneHot(1, 2);
const pass = network.propagate(model.functions, layers, { x, y });
const next = network.descend(config, layers, pass.gradients);
const shown = { model, example: { pixels, target: 1 }, pass, y, next };
const near = (text, value) => assert.ok(Math.abs(Number(text) - value) <= 5e-4 * Math.abs(value), `${text} is not ${value}`);

test("the five largest terms and the rest add up to the whole", () => {
  const terms = [3, -8, 1, 0.5, -2, 6, 0.25].map((value) => ({ name: "", factors: [], value }));
  const { largest, count, rest } = explain.largestTerms(terms);
  assert.deepEqual(largest.map(({ value }) => value), [-8, 6, 3, -2, 1]);
  assert.deepEqual([count, rest], [2, 0.75]);
});

test("the terms and the bias of a unit add up to its weighted input", () => {
  const { title, lines } = explain.at(shown, { kind: "unit", layer: 1, unit: 2 }, false);
  assert.equal(title, "Unit 2 of layer 1");
  near(lines[0].match(/z₁\[2\] = (\S+),/)[1], pass.z[1][2]);
  const sum = lines.slice(1).reduce((total, line) => total + Number(line.match(/(\S+)$/)[1]), 0);
  assert.ok(Math.abs(sum - pass.z[1][2]) < 2e-3);
});

test("the error of an output is its difference times the slope, and that of a hidden unit a sum times the slope", () => {
  const output = explain.at(shown, { kind: "unit", layer: 2, unit: 1 }, true);
  assert.equal(output.title, "Output 1 of layer 2: class yes");
  near(output.lines.at(-1).match(/(\S+)$/)[1], pass.delta[2][1]);
  const hidden = explain.at(shown, { kind: "unit", layer: 1, unit: 0 }, true);
  near(hidden.lines[0].match(/ = (\S+)\. ∇a/)[1], pass.delta[1][0]);
});

test("an edge has its weight, its gradient and its weight after the step", () => {
  const { lines } = explain.at(shown, { kind: "edge", layer: 2, unit: 1, from: 0 }, true);
  near(lines[0].match(/(\S+)$/)[1], -0.5);
  near(lines[2].match(/(\S+)$/)[1], pass.gradients[1].weights[3]);
  near(lines[3].match(/(\S+)$/)[1], next[1].weights[3]);
});

test("a pixel has its row, its column and its value", () => {
  const { title, lines } = explain.at(shown, { kind: "pixel", from: 6 }, false);
  assert.equal(title, "Pixel 6: row 1, column 2");
  assert.match(lines[0], /a₀\[6\] = 204 \/ 255 = 0\.8000/);
});

test("a point on a node, a pixel or an edge finds it, and one elsewhere finds nothing", () => {
  const placed = layout.place(layout.chooseUnits(layers), model, 600, 400);
  const edges = layout.listEdges(placed, model, x);
  assert.equal(edges.length, 3 * 3 + 6);
  const find = (px, py) => layout.find(placed, edges, model, px, py);
  for (const { layer, unit, x: px, y: py } of placed.nodes.flat()) assert.deepEqual(find(px, py), { kind: "unit", layer, unit });
  const { image } = placed;
  assert.deepEqual(find(image.x + 1, image.y + 1), { kind: "pixel", from: 0 });
  assert.deepEqual(find(image.x + image.width - 1, image.y + image.height - 1), { kind: "pixel", from: 7 });
  const { start, end, ...edge } = edges.at(-1);
  assert.deepEqual(find((start.x + 3 * end.x) / 4, (start.y + 3 * end.y) / 4), { kind: "edge", ...edge });
  assert.equal(find(2, 2), null);
});

test("of a layer with many units those with the largest weights to the next layer are drawn", () => {
  const wide = { weights: new Float64Array(8 * 100), biases: new Float64Array(100), inputs: 8, outputs: 100 };
  const last = { weights: new Float64Array(200).fill(0.1), biases: new Float64Array(2), inputs: 100, outputs: 2 };
  last.weights[57] = -9;
  last.weights[199] = 3;
  const [units, outputs] = layout.chooseUnits([wide, last]);
  assert.equal(units.length, 32);
  assert.ok(units.includes(57) && units.includes(99));
  assert.deepEqual(units, [...units].sort((i, j) => i - j));
  assert.deepEqual(outputs, [0, 1]);
});
