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
  assert.match(said((times) => 1 + times), /from 1\.000 to 2\.000, .* The loss rises: the rates are too high here\. None of the rates tried lowers it\.$/);
  assert.match(said((times) => (times ? NaN : 1)), /from 1\.000 to Infinity/);
});

test("rates that change nothing are said to change nothing", () => {
  assert.match(said((times) => 0.5 - 1e-12 * times), /Twice the rates change nothing\. None of the rates tried lowers it\.$/);
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

test("what the step itself does is said before what twice the rates do", () => {
  assert.match(sentences.describeStep([5, 0.5], 59.34, 0, 0), /from 59\.34 to 0, .* Twice the rates end at the same loss\.$/);
  assert.match(sentences.describeStep([5, 0.5], 1, 2, 2), /The loss rises: the rates are too high here\.$/);
  assert.match(sentences.describeStep([5, 0.5], 0.5, 0.5, 0.5), /Twice the rates change nothing\.$/);
  assert.match(sentences.describeStep([5, 0.5], 2, 1, 0.9999), /: about as far\.$/);
});

test("a step that is too long stands against a longer one that ends lower", () => {
  assert.match(said((times) => ({ 0: 2, 1: 1, 2: 1.5 })[times] ?? 1.9 - times / 8), /go too far here\. But at 8 times .*, the lowest of those tried\.$/);
});

test("one example has its loss, and not a mean", () => {
  const text = sentences.describeRates(TIMES.map((times) => [times, 1 / (1 + times)]), 1);
  assert.match(text, /^One step with the next train example takes its loss from 1\.000 to 0\.5000,/);
});

test("nothing is said of numbers that are not finite", () => {
  const unit = { name: "Output 0", back: NaN, slope: NaN, error: NaN };
  assert.equal(said(() => NaN), "");
  assert.equal(sentences.describeStep([5, 0.5], NaN, NaN, NaN), "");
  assert.equal(sentences.describeProduct("₂", unit, unit), "");
  assert.equal(sentences.describeMoves([{ name: "Output 0", difference: NaN, before: NaN, after: NaN }]), "");
  assert.match(sentences.describeStep([5, 0.5], 1, NaN, NaN), /from 1\.000 to Infinity, .* The loss rises: the rates are too high here\.$/);
});

test("none of several that are written alike is said to be the most", () => {
  const make = (name, before, after) => ({ name, difference: before, before, after });
  assert.equal(sentences.describeMoves([make("Output 0", 1, 1), make("Output 1", 1, 1)]), "");
  assert.equal(sentences.describeMoves([make("Output 0", 0, 0), make("Output 1", 0, 0)]), "");
  assert.equal(sentences.describeMoves([make("Output 0", 1, 1), make("Output 1", 1, 0.5)]), "Output 1 moved most, from 1.000 to 0.5000.");
  assert.equal(sentences.describeMoves([make("Output 0", 1, 1), make("Output 1", 0.5, 0.5)]), "Output 0 was most wrong, yet hardly moved, from 1.000 to 1.000.");
});

test("units that are all dead have no largest error", () => {
  const [one, other] = [{ name: "Unit 3", back: 0.5, slope: 0, error: 0 }, { name: "Unit 0", back: 0.1, slope: 0, error: 0 }];
  assert.doesNotMatch(sentences.describeProduct("₁", one, other), /Unit 0/);
  assert.equal(sentences.describeProduct("₁", { ...one, back: 0 }, other), "");
});

test("training until twice the rates go too far ends there, and where they never will", () => {
  assert.equal(sentences.describeEnd([2, 1, 0.5], 1999, 9), "");
  for (const losses of [[2, 1, 1.5], [2, 1, NaN], [2, NaN, NaN]]) assert.equal(sentences.describeEnd(losses, 0, 0), "Here twice the rates go too far.");
  assert.equal(sentences.describeEnd([NaN, NaN, NaN], 5, 0), "The loss is no longer a number.");
  assert.equal(sentences.describeEnd([1, 1, 1], 50, 10), "The last 10 steps did not change the loss of their examples.");
  assert.equal(sentences.describeEnd([2, 1, 0.5], 2000, 0), "In 2,000 steps twice the rates did not go too far.");
});
