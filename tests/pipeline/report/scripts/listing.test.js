import assert from "node:assert/strict";
import { test } from "node:test";

import { listing } from "./listing.js";

test("every word must be in the text, in any case and order", () => {
  assert.ok(listing.matches("modern-seed1 mnist-5k Champion", "CHAMP mnist"));
  assert.ok(listing.matches("anything", " "));
  assert.ok(!listing.matches("modern-seed1 mnist-5k", "modern article"));
});

test("numbers are ordered as numbers, texts as texts, and empty ones stay last", () => {
  assert.deepEqual(listing.order(["0.9", "", "0.10", "0.95"], false), [2, 0, 3, 1]);
  assert.deepEqual(listing.order(["0.9", "", "0.10", "0.95"], true), [3, 0, 2, 1]);
  assert.deepEqual(listing.order(["b", "a", "c"], false), [1, 0, 2]);
});
