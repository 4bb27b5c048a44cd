import assert from "node:assert/strict";
import { test } from "node:test";

import { chart } from "./chart.js";
import { curve } from "./curve.js";

const near = (found, expected) => found.forEach((value, i) => assert.ok(Math.abs(value - expected[i]) < 1e-9, `${found}`));

test("ticks are at round values, as those of the charts that need no script", () => {
  near(chart.ticks({ low: 0, high: 10000 }), [0, 2000, 4000, 6000, 8000, 10000]);
  near(chart.ticks({ low: 0, high: 1 }), [0, 0.2, 0.4, 0.6, 0.8, 1]);
  near(chart.ticks({ low: -18, high: 0 }), [-15, -10, -5, 0]);
});

test("an axis that fits has all values, also a single one", () => {
  for (const values of [[0.013, 0.19], [0.9, 0.96, 0.93], [5], [0], [-3, -3]]) {
    const { low, high } = chart.fit(values);
    assert.ok(low <= Math.min(...values) && high >= Math.max(...values) && high > low, `${low} ${values} ${high}`);
  }
});

test("the nearest step of a report is found, and none of no reports", () => {
  assert.deepEqual([0, 149, 151, 999].map((step) => curve.nearest([100, 200, 300], step)), [100, 100, 200, 300]);
  assert.equal(curve.nearest([], 5), Infinity);
});

test("a closer look stays within the curve and has some steps", () => {
  const whole = { low: 0, high: 1000 };
  assert.deepEqual(curve.zoom(whole, whole, 300, 0.5, 40), { low: 50, high: 550 });
  assert.deepEqual(curve.zoom(whole, whole, 990, 0.5, 40), { low: 500, high: 1000 });
  assert.deepEqual(curve.zoom({ low: 50, high: 550 }, whole, 300, Infinity, 40), whole);
  const { low, high } = curve.zoom({ low: 490, high: 530 }, whole, 510, 0.5, 40);
  assert.deepEqual([low, high], [490, 530]);
});

test("a line is drawn to the ends of a closer look, also between two reports", () => {
  const points = [[0, 4], [100, 2], [200, 0]];
  assert.deepEqual(curve.within({ low: 50, high: 150 }, points), [[50, 3], [100, 2], [150, 1]]);
  assert.deepEqual(curve.within({ low: 110, high: 120 }, points), [[110, 1.8], [120, 1.6]]);
  assert.deepEqual(curve.within({ low: 0, high: 200 }, points).at(-1), [200, 0]);
});
