import { chart } from "./chart.js";
import { pictures } from "./pictures.js";
import { stages } from "./stages.js";
import { training } from "./training.js";

/* The manual gradients of the next batch beside those of automatic differentiation, number by number, and beside the
   central difference of one parameter. */
export const checkPanel = (() => {
  const MOST_ROWS = 12;
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

  function make(model, nextBatch) {
    const arrays = listArrays(model.layers);
    const choice = { array: arrays[arrays.length - 2], at: null };
    const power = (exponent) => (exponent === 0 ? "1" : `1e${exponent}`);
    const axes = { x: [EXPONENTS.at(-1), EXPONENTS[0]], y: [-18, 0], format: power, formatX: (exponent) => `ε = ${power(exponent)}` };
    const errors = chart.make("Error of the central difference by ε", ["error"], axes);
    byId("difference-chart").replaceChildren(errors.element);
    byId("array").replaceChildren(
      ...arrays.map(({ symbol }, i) => pictures.make("option", { value: String(i), textContent: `∇${symbol}` })),
    );
    byId("array").value = String(arrays.indexOf(choice.array));

    function showRows(manual, autodiff, differences) {
      const rows = largestPositions(manual.map(Math.abs), MOST_ROWS).map((at) => {
        const button = pictures.make("button", { type: "button", textContent: nameOf(choice.array, at) });
        button.setAttribute("aria-pressed", String(at === choice.at));
        button.addEventListener("click", () => ((choice.at = at), show()));
        return [button, manual[at].toPrecision(16), autodiff[at].toPrecision(16), pictures.written(differences[at])];
      });
      const caption = `∇${choice.array.symbol}, its ${rows.length} largest of ${pictures.counted(manual.length)} numbers; choose one for the difference below`;
      byId("agreement").replaceChildren(pictures.table(caption, ["", "manual rule", "autodiff", "difference"], rows));
    }

    function showDifference(batch, gradient) {
      const parameter = { layer: choice.array.layer, name: choice.array.name, at: choice.at };
      const epsilon = 10 ** Number(byId("epsilon").value);
      const found = training.difference(model.config, model.layers, batch, parameter, epsilon);
      const name = nameOf(choice.array, choice.at);
      byId("epsilon-value").textContent = epsilon.toExponential(1);
      byId("epsilon").setAttribute("aria-valuetext", epsilon.toExponential(1));
      byId("difference").textContent =
        `With ${name} moved by ${epsilon.toExponential(1)} to either side, (C₊ − C₋) / 2ε is ${found.toPrecision(12)}; ` +
        `the gradient is ${gradient.toPrecision(12)}, and they differ by ${pictures.written(Math.abs(found - gradient))}.`;
      const points = EXPONENTS.map((exponent) => {
        const error = Math.abs(training.difference(model.config, model.layers, batch, parameter, 10 ** exponent) - gradient);
        return [exponent, Math.log10(Math.max(error, 1e-18))];
      });
      errors.replace(points, Number(byId("epsilon").value));
    }

    // Compute all anew; the panel is closed on most pages, so nothing is computed before it is opened.
    function show() {
      if (!byId("check").open) return;
      const batch = nextBatch();
      const [manual, autodiff] = ["manual", "autodiff"].map((rule) => training.rules[rule](model.config, model.layers, batch));
      const { layer, name } = choice.array;
      const [ours, theirs] = [manual, autodiff].map(({ gradients }) => gradients[layer][name]);
      choice.at ??= largestPositions(ours.map(Math.abs), 1)[0];
      const largest = arrays.map((array) => {
        const [one, other] = [manual, autodiff].map(({ gradients }) => gradients[array.layer][array.name]);
        return pictures.strengthOf(one.map((value, at) => value - other[at]));
      });
      byId("agreement-said").textContent =
        `Of the next ${batch.length} examples the mean loss is ${pictures.written(manual.loss)}. The two rules share no code but the forward functions' ` +
        `names; the largest difference is ${arrays.map(({ symbol }, i) => `${pictures.written(largest[i])} in ∇${symbol}`).join(", ")}.`;
      showRows(ours, theirs, ours.map((value, at) => value - theirs[at]));
      showDifference(batch, ours[choice.at]);
    }

    byId("array").addEventListener("change", () => {
      choice.array = arrays[Number(byId("array").value)];
      choice.at = null;
      show();
    });
    byId("epsilon").addEventListener("input", show);
    byId("check").addEventListener("toggle", show);
    return { show };
  }

  return { make };
})();
