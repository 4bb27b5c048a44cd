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

  // Draw a row of weights: of layer 1 as an image, of others as bars.
  function drawRow({ model, layer }, caption, row, most = pictures.largestOf(row)) {
    return layer === 1
      ? pictures.panel(caption, pictures.signed(row, model.height, model.width, "small-image", caption, most))
      : pictures.panel(caption, pictures.bars(row, caption));
  }

  const inRow = (caption, elements) => pictures.panel(caption, pictures.make("div", { className: "row" }, ...elements));
  const drawExample = ({ model }, example, said) => pictures.grey(example.x, model.height, model.width, said);

  function meanOfClass(values, label) {
    const own = values.filter(({ example }) => example.target === label);
    return own.reduce((sum, { value }) => sum + value / own.length, 0);
  }

  function showFiring(panel) {
    const { model, layer, unit } = panel;
    const values = model.examples.train.map((example) => ({
      example,
      value: network.forward(model.functions, model.layers, example.x).a[layer][unit],
    }));
    values.sort((one, other) => other.value - one.value);
    const list = (shown) =>
      shown.map(({ example, value }) => {
        const written = pictures.written(value);
        return pictures.panel(written, drawExample(panel, example, `${model.classNames[example.target]}: ${written}`));
      });
    const means = Float64Array.from(model.classNames, (_, label) => meanOfClass(values, label));
    byId("unit-firing").replaceChildren(
      inRow("fires most for these train examples", list(values.slice(0, MOST_EXAMPLES))),
      inRow("and least for these", list(values.slice(-MOST_EXAMPLES))),
      pictures.outputs("mean value for the train examples of each class", { [`a${stages.lower(layer)}`]: means }, model.classNames),
    );
  }

  // Return the gradients of the unit's weights and bias by each example.
  const gradientsOf = ({ model, layer, unit }, batch) =>
    batch.map((example) => {
      const gradient = network.propagate(model.functions, model.layers, example.x, example.y).gradients[layer];
      return { example, weights: rowOf(gradient, unit), bias: gradient.biases[unit] };
    });

  function showGradients(panel) {
    const { model, layer, unit } = panel;
    const batch = panel.nextBatch();
    const perExample = gradientsOf(panel, batch);
    const { gradients } = training.rules.manual(model.config, model.layers, batch);
    const after = network.descend({ ...model.config, ...model.settings }, model.layers, gradients);
    const [mean, before, moved] = [gradients, model.layers, after].map((layers) => rowOf(layers[layer - 1], unit));
    const most = Math.max(...perExample.map(({ weights }) => pictures.largestOf(weights)));
    const own = perExample.map(({ example, weights }) => {
      const name = model.classNames[example.target];
      return pictures.make("div", {}, drawExample(panel, example, `example of ${name}`), drawRow(panel, name, weights, most));
    });
    const caption = `∇w${stages.lower(layer)} of unit ${unit} by each of the next ${batch.length} examples; full colour is ${pictures.written(most)}`;
    const change = moved.map((value, k) => value - before[k]);
    byId("unit-gradients").replaceChildren(
      inRow(caption, own),
      inRow("their mean, and what the step changes", [
        drawRow(panel, "mean", mean, most),
        drawRow(panel, `change, ${pictures.rangeOf(change)}`, change),
      ]),
    );
    byId("unit-rule").textContent = sayRule(layer, unit, perExample);
  }

  function show(panel) {
    const { model, layer, unit } = panel;
    byId("unit-name").textContent = `unit ${unit} of layer ${layer}`;
    if (!byId("unit").open) return;
    const row = rowOf(model.layers[layer - 1], unit);
    const bias = pictures.written(model.layers[layer - 1].biases[unit]);
    byId("unit-weights").replaceChildren(drawRow(panel, `weights of the unit, ${pictures.rangeOf(row)}; its bias is ${bias}`, row));
    showFiring(panel);
    showGradients(panel);
  }

  function select(panel, layer, unit) {
    const last = panel.model.layers[layer - 1].outputs - 1;
    Object.assign(panel, { layer, unit: Math.min(Math.max(0, Math.trunc(unit) || 0), last) });
    byId("unit-layer").value = String(layer);
    Object.assign(byId("unit-number"), { max: String(last), value: String(panel.unit) });
    show(panel);
  }

  function make(model, nextBatch) {
    const panel = { model, nextBatch, layer: 1, unit: 0 };
    const options = model.layers.map((_, i) => pictures.make("option", { value: String(i + 1), textContent: `layer ${i + 1}` }));
    byId("unit-layer").replaceChildren(...options);
    byId("unit-layer").addEventListener("change", () => select(panel, Number(byId("unit-layer").value), 0));
    byId("unit-number").addEventListener("change", () => select(panel, panel.layer, Number(byId("unit-number").value)));
    byId("unit").addEventListener("toggle", () => show(panel));
    return { select: (layer, unit) => select(panel, layer, unit), show: () => show(panel) };
  }

  return { make };
})();
