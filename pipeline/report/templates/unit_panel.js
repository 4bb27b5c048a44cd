import { network } from "./network.js";
import { pictures } from "./pictures.js";
import { stages } from "./stages.js";
import { training } from "./training.js";

/* One unit in full: its weights, the examples that make it fire, the gradients of its weights by the examples of the next
   batch, their mean, and what a step changes. */
export const unitPanel = (() => {
  const MOST_EXAMPLES = 8; // on either end of the order of values
  const byId = (name) => document.getElementById(`inspector-${name}`);

  const rowOf = ({ weights, inputs }, j) => weights.slice(j * inputs, (j + 1) * inputs);

  // Say how the article's rule and the mean of the gradients are related, for the weight with the largest sum and the bias.
  function sayRule(l, j, perExample) {
    const size = perExample.length;
    const sumOf = (values) => values.reduce((sum, value) => sum + value, 0);
    const sums = perExample[0].weights.map((_, k) => sumOf(perExample.map(({ weights }) => weights[k])));
    const k = network.largest(sums.map(Math.abs));
    const bias = sumOf(perExample.map((each) => each.bias));
    return (
      `For w${stages.lower(l)}[${j}, ${k}] the ${size} gradients add up to ${pictures.written(sums[k])}, and their mean is ` +
      `${pictures.written(sums[k] / size)}. The article moves the weights by 0.5 times the sum, here ${pictures.written(0.5 * sums[k])}, ` +
      `which is ${0.5 * size} times the mean, and the biases by 0.5 times the mean, b${stages.lower(l)}[${j}] by ` +
      `${pictures.written((0.5 * bias) / size)}. So its rule follows one gradient, that of the mean loss, with a rate of ` +
      `${0.5 * size} for weights and of 0.5 for biases.`
    );
  }

  function make(model, nextBatch) {
    const selected = { layer: 1, unit: 0 };
    const draw = (caption, row, most) =>
      selected.layer === 1
        ? pictures.panel(caption, pictures.signed(row, model.height, model.width, "small-image", caption, most ?? pictures.largestOf(row)))
        : pictures.panel(caption, pictures.bars(row, caption));

    function showFiring() {
      const { layer, unit } = selected;
      const values = model.examples.train.map((example) => ({
        example,
        value: network.forward(model.functions, model.layers, example.x).a[layer][unit],
      }));
      values.sort((one, other) => other.value - one.value);
      const list = (shown) =>
        shown.map(({ example, value }) => {
          const said = `${model.classNames[example.target]}: ${pictures.written(value)}`;
          return pictures.panel(pictures.written(value), pictures.grey(example.x, model.height, model.width, said));
        });
      byId("unit-firing").replaceChildren(
        pictures.panel("fires most for these train examples", pictures.make("div", { className: "row" }, ...list(values.slice(0, MOST_EXAMPLES)))),
        pictures.panel("and least for these", pictures.make("div", { className: "row" }, ...list(values.slice(-MOST_EXAMPLES)))),
        pictures.outputs("mean value for the train examples of each class", { [`a${stages.lower(layer)}`]: classMeans(values) }, model.classNames),
      );
    }

    function classMeans(values) {
      return Float64Array.from(model.classNames, (_, label) => {
        const own = values.filter(({ example }) => example.target === label);
        return own.reduce((sum, { value }) => sum + value / own.length, 0);
      });
    }

    function showGradients() {
      const { layer, unit } = selected;
      const batch = nextBatch();
      const perExample = batch.map((example) => {
        const gradient = network.propagate(model.functions, model.layers, example.x, example.y).gradients[layer];
        return { example, weights: rowOf(gradient, unit), bias: gradient.biases[unit] };
      });
      const most = Math.max(...perExample.map(({ weights }) => pictures.largestOf(weights)));
      const { gradients } = training.rules.manual(model.config, model.layers, batch);
      const after = network.descend({ ...model.config, ...model.settings }, model.layers, gradients);
      const [mean, before, moved] = [gradients, model.layers, after].map((layers) => rowOf(layers[layer - 1], unit));
      const own = perExample.map(({ example, weights }) =>
        pictures.make(
          "div",
          {},
          pictures.grey(example.x, model.height, model.width, `example of ${model.classNames[example.target]}`),
          draw(model.classNames[example.target], weights, most),
        ),
      );
      byId("unit-gradients").replaceChildren(
        pictures.panel(
          `∇w${stages.lower(layer)} of unit ${unit} by each of the next ${batch.length} examples; full colour is ${pictures.written(most)}`,
          pictures.make("div", { className: "row" }, ...own),
        ),
        pictures.make(
          "div",
          { className: "row" },
          draw("their mean", mean, most),
          draw("the change of the weights by this step", moved.map((value, k) => value - before[k])),
        ),
      );
      byId("unit-rule").textContent = sayRule(layer, unit, perExample);
    }

    function show() {
      byId("unit-name").textContent = `unit ${selected.unit} of layer ${selected.layer}`;
      byId("unit-number").value = String(selected.unit);
      if (!byId("unit").open) return;
      const { layer, unit } = selected;
      const row = rowOf(model.layers[layer - 1], unit);
      const bias = pictures.written(model.layers[layer - 1].biases[unit]);
      byId("unit-weights").replaceChildren(draw(`weights of the unit, ${pictures.rangeOf(row)}; its bias is ${bias}`, row));
      showFiring();
      showGradients();
    }

    function select(layer, unit) {
      selected.layer = layer;
      selected.unit = Math.min(Math.max(0, Math.trunc(unit) || 0), model.layers[layer - 1].outputs - 1);
      byId("unit-layer").value = String(layer);
      byId("unit-number").max = String(model.layers[layer - 1].outputs - 1);
      show();
    }

    byId("unit-layer").replaceChildren(
      ...model.layers.map((_, i) => pictures.make("option", { value: String(i + 1), textContent: `layer ${i + 1}` })),
    );
    byId("unit-layer").addEventListener("change", () => select(Number(byId("unit-layer").value), 0));
    byId("unit-number").addEventListener("change", () => select(selected.layer, Number(byId("unit-number").value)));
    byId("unit").addEventListener("toggle", show);
    return { selected, select, show };
  }

  return { make };
})();
