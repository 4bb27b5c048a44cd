import { chart } from "./chart.js";
import { page } from "./page.js";
import { pictures } from "./pictures.js";
import { stages } from "./stages.js";
import { training } from "./training.js";

/* The manual gradients of the next batch beside those of automatic differentiation, number by number, and beside the
   central difference of one parameter. */
export const checkPanel = (() => {
  const MOST_ROWS = 12;
  const EXPONENTS = Array.from({ length: 23 }, (_, i) => -1 - i / 2); // of epsilon: 0.1 to 1e-12
  const SMALLEST = 1e-18; // error on the chart
  const { byId, on, say, fill } = page;
  const { written } = pictures;

  // Return the arrays of parameters as {layer, name, symbol, columns}; columns is 0 for biases.
  const listArrays = (layers) =>
    layers.flatMap(({ inputs }, layer) => [
      { layer, name: "weights", symbol: `w${stages.lower(layer + 1)}`, columns: inputs },
      { layer, name: "biases", symbol: `b${stages.lower(layer + 1)}`, columns: 0 },
    ]);

  const positionOf = (columns, at) => (columns ? `${Math.floor(at / columns)}, ${at % columns}` : at);
  const nameOf = ({ columns, symbol }, at) => `${symbol}[${positionOf(columns, at)}]`;

  // Return the positions of the values with the largest absolute values.
  const largestPositions = (values) =>
    Array.from(values.keys())
      .sort((i, j) => Math.abs(values[j]) - Math.abs(values[i]))
      .slice(0, MOST_ROWS);

  function sayAgreement({ arrays, batch }, manual, autodiff) {
    const told = arrays.map(({ layer, name, symbol }) => {
      const [ours, theirs] = [manual, autodiff].map(({ gradients }) => gradients[layer][name]);
      return `${written(pictures.strengthOf(ours.map((value, at) => value - theirs[at])))} in ∇${symbol}`;
    });
    fill("agreement-said", batch.length, written(manual.loss), told.join(", "));
  }

  function showRows(panel, ours, theirs) {
    const { array } = panel;
    const rows = largestPositions(ours).map((at) => {
      const onclick = () => {
        panel.at = at;
        show(panel);
      };
      const properties = { type: "button", ariaPressed: at === panel.at, onclick };
      const numbers = [ours[at], theirs[at]].map((value) => value.toPrecision(10));
      return [pictures.make("button", properties, nameOf(array, at)), ...numbers, written(ours[at] - theirs[at])];
    });
    const caption = `∇${array.symbol}, the ${rows.length} largest in size of ${pictures.counted(ours.length)} numbers; choose one for the difference below`;
    byId("agreement").replaceChildren(pictures.table(caption, ["", "manual rule", "autodiff", "difference"], rows, "numbers"));
  }

  function showDifference(panel, gradient) {
    const { model, array, batch, at } = panel;
    const differ = (exponent) => training.difference(model.config, model.layers, batch, { ...array, at }, 10 ** exponent);
    const exponent = Number(byId("epsilon").value);
    const epsilon = (10 ** exponent).toExponential(1);
    const found = differ(exponent);
    say("epsilon-value", epsilon);
    byId("epsilon").ariaValueText = epsilon;
    const numbers = [found, gradient].map((value) => value.toPrecision(12));
    fill("difference", nameOf(array, at), epsilon, ...numbers, written(Math.abs(found - gradient)));
    const points = EXPONENTS.map((each) => [each, Math.log10(Math.max(Math.abs(differ(each) - gradient), SMALLEST))]);
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
    panel.at ??= largestPositions(ours)[0];
    sayAgreement(panel, manual, autodiff);
    showRows(panel, ours, theirs);
    showDifference(panel, ours[panel.at]);
  }

  const format = (exponent) => (exponent === 0 ? "1" : (10 ** exponent).toExponential(0));

  function make(model, nextBatch) {
    const arrays = listArrays(model.layers);
    const axes = { x: { low: EXPONENTS.at(-1), high: EXPONENTS[0], format, name: "ε" }, y: { low: Math.log10(SMALLEST), high: 0, format } };
    const errors = chart.make("Error of the central difference by ε", ["error"], axes);
    const panel = { model, nextBatch, arrays, errors, array: arrays.at(-2), at: null, batch: [] };
    byId("difference-chart").replaceChildren(errors.element);
    byId("array").replaceChildren(...arrays.map(({ symbol }, value) => pictures.make("option", { value }, `∇${symbol}`)));
    byId("array").value = arrays.length - 2;
    on("array", "change", ({ target }) => {
      Object.assign(panel, { array: arrays[target.value], at: null });
      show(panel);
    });
    on("epsilon", "input", () => show(panel));
    on("check", "toggle", () => show(panel));
    return { show: () => show(panel) };
  }

  return { make };
})();
