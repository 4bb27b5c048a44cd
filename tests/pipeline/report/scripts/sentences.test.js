import assert from "node:assert/strict";
import { test } from "node:test";

import { sentences } from "./sentences.js";

const TIMES = [0, 0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 8];
const said = (lossAt) => sentences.describeRates(TIMES.map((times) => [times, lossAt(times)]), 10);

test("a longer step that is better is said to be so, and by how much", () => {
  const text = said((times) => 2 * 0.5 ** times);
  assert.match(text, /^One step with the next 10 train examples takes their mean loss from 2\.000 to 1\.000, with twice the rates to 0\.5000\./);
  assert.match(text, /It falls by 1\.000, with twice the rates by 1\.500: 1\.5 times as far\. At 8 times .* the lowest of those tried\.$/);
  assert.doesNotMatch(text, /too far/);
});

test("a longer step that is worse goes too far, and ends above where it began if it does", () => {
  assert.match(said((times) => 1 + (times - 1.2) ** 2), /Twice the rates go too far here\. At 8 times the rates it ends at 47\.24, above where it began\.$/);
  assert.match(said((times) => (times ? 1 + 0.05 * Math.abs(times - 1) : 2)), /go too far here\. .*; of those tried, 1 times is best\.$/);
});

test("a step that raises the loss is too long itself", () => {
  assert.match(said((times) => 1 + times), /from 1\.000 to 2\.000, .* The loss rises: the rates are too high here\. No rate up to 8 times as high lowers it\.$/);
  assert.match(said((times) => (times ? NaN : 1)), /from 1\.000 to Infinity/);
});

test("rates that change nothing are said to change nothing", () => {
  assert.match(said((times) => 0.5 - 1e-12 * times), /Twice the rates change nothing\. No rate up to 8 times as high lowers it\.$/);
});

test("the network is named by what training began with and by its steps", () => {
  const names = [0, 1, 1234].map((count) => sentences.describeNetwork("the untrained network", count));
  assert.deepEqual(names, ["the untrained network", "the untrained network + 1 step", "the untrained network + 1,234 steps"]);
  assert.equal(sentences.describeBatch(1), "the next train example");
});

test("an error is the derivative times the slope, and another unit may have the largest", () => {
  const flat = { name: "Output 0", back: 0.9978, slope: 0.002186, error: 0.002181 };
  const steep = { name: "Output 5", back: -0.5872, slope: 0.2424, error: -0.1423 };
  const text = sentences.describeProduct("₂", flat, steep);
  assert.match(text, /^Output 0 has the largest ∇a₂ in size, 0\.9978, and a slope of 0\.002186\./);
  assert.match(text, /its a grows by 0\.001 × 0\.002186, and C by 0\.9978 times that: its ∇z₂ is 0\.9978 × 0\.002186 = 0\.002181\./);
  assert.match(text, /Output 5 has the largest ∇z₂ in size, -0\.1423: its ∇a₂ is -0\.5872 and its slope 0\.2424\.$/);
  assert.doesNotMatch(sentences.describeProduct("₂", steep, steep), /has the largest ∇z/);
});

test("the output that was most wrong is said to have hardly moved only if it has", () => {
  const stuck = { name: "Output 0", difference: 0.9978, before: 0.9978, after: 0.9746, slope: 0.002186 };
  const free = { name: "Output 1", difference: 0.8797, before: 0.8797, after: 0.0038, slope: 0.1059 };
  assert.equal(
    sentences.describeMoves([stuck, free]),
    "Output 0 was most wrong, yet hardly moved, from 0.9978 to 0.9746; its slope was 0.002186. " +
      "Output 1 moved most, from 0.8797 to 0.003800; its slope was 0.1059.",
  );
  const { slope, ...withoutSlope } = free;
  assert.equal(sentences.describeMoves([withoutSlope]), "Output 1 was most wrong and moved, from 0.8797 to 0.003800.");
});

test("a step of one example has both falls of its loss", () => {
  const text = sentences.describeStep([5, 0.5], 2.093, 1.438, 1.342);
  assert.match(text, /goes from 2\.093 to 1\.438, with twice these rates to 1\.342\. It falls by 0\.6550, with twice the rates by 0\.7510: 1\.15 times as far\.$/);
});
