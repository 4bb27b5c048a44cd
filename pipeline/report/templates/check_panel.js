import { chart } from "./chart.js";
import { pictures } from "./pictures.js";
import { stages } from "./stages.js";
import { training } from "./training.js";

/* The manual gradients of the next batch beside those of automatic differentiation, number by number, and beside the
   central difference of one parameter. */
export const checkPanel = (() => {
  const MOST_ROWS = 12;
  const DIGITS = 10;
  const EXPONENTS = Array.from({ length: 23 }, (_, i) => -1 - i / 2); // of epsilon: 0.1 to 1e-12
  const byId = (name) => document.getElementById(`inspector-${name}`);

  // Return the arrays of parameters as {layer, name, symbol, columns}; columns is 0 for biases.
  const listArrays = (layers) =>
    layers.flatMap(({ inputs }, i) => [
      { layer: i, name: "weights", symbol: `w${stages.lower(i + 1)}`, columns: inputs },
      { layer: i, name: "biases", symbol: `b${stages.lower(i + 1)}`, columns: 0 },
    ]);

  const positionOf = ({ columns }, at) => (columns ? `${Math.floor(at / columns)}, ${at % columns}` : String(at));
  const nameOf = (array, at) => `${array.symbol}[${positionOf(array, at)}]`;

  // Return the positions with the largest values, at most count.
  function largestPositions(values, count) {
    const order = Array.from(values.keys()).sort((i, j) => values[j] - values[i]);
    return order.slice(0, count);
  }

  const largestDifference = (one, other) => pictures.strengthOf(one.map((value, at) => value - other[at]));

  function sayAgreement({ arrays, batch }, manual, autodiff) {
    const told = arrays.map(({ layer, name, symbol }) => {
      const [ours, theirs] = [manual, autodiff].map(({ gradients }) => gradients[layer][name]);
      return `${pictures.written(largestDifference(ours, theirs))} in ∇${symbol}`;
    });
    byId("agreement-said").textContent =
      `Of the next ${batch.length} examples the mean loss is ${pictures.written(manual.loss)}. The two rules share no derivative; ` +
      `the largest difference is ${told.join(", ")}.`;
  }

  function showRows(panel, ours, theirs) {
    const { array } = panel;
    const rows = largestPositions(ours.map(Math.abs), MOST_ROWS).map((at) => {
      const button = pictures.make("button", { type: "button", textContent: nameOf(array, at) });
      button.setAttribute("aria-pressed", String(at === panel.at));
      button.addEventListener("click", () => {
        panel.at = at;
        show(panel);
      });
      return [button, ours[at].toPrecision(DIGITS), theirs[at].toPrecision(DIGITS), pictures.written(ours[at] - theirs[at])];
    });
    const caption = `∇${array.symbol}, its ${rows.length} largest of ${pictures.counted(ours.length)} numbers; choose one for the difference below`;
    byId("agreement").replaceChildren(pictures.table(caption, ["", "manual rule", "autodiff", "difference"], rows, "numbers"));
  }

  function showDifference(panel, gradient) {
    const { model, array, batch, at } = panel;
    const differ = (epsilon) =>
      training.difference(model.config, model.layers, batch, { layer: array.layer, name: array.name, at }, epsilon);
    const exponent = Number(byId("epsilon").value);
    const epsilon = (10 ** exponent).toExponential(1);
    const found = differ(10 ** exponent);
    byId("epsilon-value").textContent = epsilon;
    byId("epsilon").setAttribute("aria-valuetext", epsilon);
    byId("difference").textContent =
      `With ${nameOf(array, at)} moved by ${epsilon} to either side, (C₊ − C₋) / 2ε is ${found.toPrecision(12)}; ` +
      `the gradient is ${gradient.toPrecision(12)}, and they differ by ${pictures.written(Math.abs(found - gradient))}.`;
    const points = EXPONENTS.map((each) => [each, Math.log10(Math.max(Math.abs(differ(10 ** each) - gradient), 1e-18))]);
    panel.errors.replace(points, exponent);
  }

  // Compute all anew; the panel is closed on most pages, so nothing is computed before it is opened.
  function show(panel) {
    if (!byId("check").open) return;
    const { config, layers } = panel.model;
    const { layer, name } = panel.array;
    panel.batch = panel.nextBatch();
    const [manual, autodiff] = ["manual", "autodiff"].map((rule) => training.rules[rule](config, layers, panel.batch));
    const [ours, theirs] = [manual, autodiff].map(({ gradients }) => gradients[layer][name]);
    panel.at ??= largestPositions(ours.map(Math.abs), 1)[0];
    sayAgreement(panel, manual, autodiff);
    showRows(panel, ours, theirs);
    showDifference(panel, ours[panel.at]);
  }

  const power = (exponent) => (exponent === 0 ? "1" : `1e${exponent}`);

  function make(model, nextBatch) {
    const arrays = listArrays(model.layers);
    const axes = { x: [EXPONENTS.at(-1), EXPONENTS[0]], y: [-18, 0], format: power, formatX: (exponent) => `ε = ${power(exponent)}` };
    const errors = chart.make("Error of the central difference by ε", ["error"], axes);
    const panel = { model, nextBatch, arrays, errors, array: arrays.at(-2), at: null, batch: [] };
    const options = arrays.map(({ symbol }, i) => pictures.make("option", { value: String(i), textContent: `∇${symbol}` }));
    byId("difference-chart").replaceChildren(errors.element);
    byId("array").replaceChildren(...options);
    byId("array").value = String(arrays.length - 2);
    byId("array").addEventListener("change", () => {
      Object.assign(panel, { array: arrays[Number(byId("array").value)], at: null });
      show(panel);
    });
    byId("epsilon").addEventListener("input", () => show(panel));
    byId("check").addEventListener("toggle", () => show(panel));
    return { show: () => show(panel) };
  }

  return { make };
})();
