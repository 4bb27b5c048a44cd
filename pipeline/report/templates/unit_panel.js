import { network } from "./network.js";
import { page } from "./page.js";
import { pictures } from "./pictures.js";
import { stages } from "./stages.js";
import { training } from "./training.js";

/* One unit in full: its weights, the examples that make it fire, the gradients of its weights by the examples of the next
   batch, their mean, and what a step changes. */
export const unitPanel = (() => {
  const MOST_EXAMPLES = 8; // on either end of the order of values
  const ARTICLES_RATE = 0.5;
  const { byId, on, say, fill } = page;
  const { panel: figure, make: element, written } = pictures;

  const rowOf = ({ weights, inputs }, j) => weights.slice(j * inputs, (j + 1) * inputs);
  const sumOf = (values) => values.reduce((sum, value) => sum + value, 0);

  // Say how the article's rule and the mean of the gradients are related, for the weight with the largest sum and the bias.
  function sayRule(l, j, perExample) {
    const size = perExample.length;
    const sums = perExample[0].weights.map((_, k) => sumOf(perExample.map(({ weights }) => weights[k])));
    const k = network.largest(sums.map(Math.abs));
    const bias = sumOf(perExample.map((each) => each.bias)) / size;
    const numbers = [sums[k], sums[k] / size, ARTICLES_RATE * sums[k]].map(written);
    const [times, name] = [ARTICLES_RATE * size, `${stages.lower(l)}[${j}`];
    fill("unit-rule", `w${name}, ${k}]`, size, ...numbers, times, `b${name}]`, written(ARTICLES_RATE * bias), times);
  }

  // Draw a row of weights: of layer 1 as an image, of others as bars.
  function drawRow({ model: { height, width }, layer }, caption, row, most = pictures.largestOf(row)) {
    return figure(caption, layer === 1 ? pictures.signed(row, height, width, "small-image", caption, most) : pictures.bars(row, caption));
  }

  const inRow = (caption, elements) => figure(caption, element("div", { className: "row" }, ...elements));
  const drawExample = ({ model }, example, said) => pictures.grey(example.x, model.height, model.width, said);

  function meanOfClass(values, label) {
    const own = values.filter(({ example }) => example.target === label);
    return own.reduce((sum, { value }) => sum + value / own.length, 0);
  }

  function showFiring(panel) {
    const { model, layer, unit } = panel;
    const { classNames, functions, layers } = model;
    const valueOf = ({ x }) => network.forward(functions, layers, x).a[layer][unit];
    const values = model.examples.train.map((example) => ({ example, value: valueOf(example) }));
    values.sort((one, other) => other.value - one.value);
    const list = (shown) =>
      shown.map(({ example, value }) =>
        figure(written(value), drawExample(panel, example, `${classNames[example.target]}: ${written(value)}`)),
      );
    const means = Float64Array.from(classNames, (_, label) => meanOfClass(values, label));
    byId("unit-firing").replaceChildren(
      inRow("fires most for these train examples", list(values.slice(0, MOST_EXAMPLES))),
      inRow("and least for these", list(values.slice(-MOST_EXAMPLES))),
      pictures.outputs("mean value for the train examples of each class", { [`a${stages.lower(layer)}`]: means }, classNames),
    );
  }

  // Return the gradients of the unit's weights and bias by each example.
  const gradientsOf = ({ model, layer, unit }, batch) =>
    batch.map((example) => {
      const gradient = network.propagate(model.functions, model.layers, example).gradients[layer - 1];
      return { example, weights: rowOf(gradient, unit), bias: gradient.biases[unit] };
    });

  function showGradients(panel) {
    const { model, layer, unit } = panel;
    const batch = panel.nextBatch();
    const perExample = gradientsOf(panel, batch);
    const { gradients } = training.rules.manual(model.config, model.layers, batch);
    const after = network.descend({ ...model.config, ...model.settings }, model.layers, gradients);
    const [mean, before, moved] = [gradients, model.layers, after].map((layers) => rowOf(layers[layer - 1], unit));
    const change = moved.map((value, k) => value - before[k]);
    const most = Math.max(...perExample.map(({ weights }) => pictures.largestOf(weights)));
    const own = perExample.map(({ example, weights }) => {
      const name = model.classNames[example.target];
      return element("div", {}, drawExample(panel, example, `example of ${name}`), drawRow(panel, name, weights, most));
    });
    byId("unit-gradients").replaceChildren(
      inRow(`∇w${stages.lower(layer)} of unit ${unit} by each of the next ${batch.length} examples; full colour is ${written(most)}`, own),
      inRow("their mean, and what the step changes", [
        drawRow(panel, "mean", mean, most),
        drawRow(panel, `change, ${pictures.rangeOf(change)}`, change),
      ]),
    );
    sayRule(layer, unit, perExample);
  }

  function show(panel) {
    const { model, layer, unit } = panel;
    say("unit-name", `unit ${unit} of layer ${layer}`);
    if (!byId("unit").open) return;
    const own = model.layers[layer - 1];
    const row = rowOf(own, unit);
    const caption = `weights of the unit, ${pictures.rangeOf(row)}; its bias is ${written(own.biases[unit])}`;
    byId("unit-weights").replaceChildren(drawRow(panel, caption, row));
    showFiring(panel);
    showGradients(panel);
  }

  function select(panel, layer, unit) {
    const last = panel.model.layers[layer - 1].outputs - 1;
    Object.assign(panel, { layer, unit: Math.min(Math.max(0, Math.trunc(unit) || 0), last) });
    byId("unit-layer").value = layer;
    Object.assign(byId("unit-number"), { max: last, value: panel.unit });
    show(panel);
  }

  function make(model, nextBatch) {
    const panel = { model, nextBatch, layer: 1, unit: 0 };
    byId("unit-layer").replaceChildren(...model.layers.map((_, i) => element("option", { value: i + 1 }, `layer ${i + 1}`)));
    on("unit-layer", "change", ({ target }) => select(panel, Number(target.value), 0));
    on("unit-number", "change", ({ target }) => select(panel, panel.layer, target.value));
    on("unit", "toggle", () => show(panel));
    return { select: (layer, unit) => select(panel, layer, unit), show: () => show(panel) };
  }

  return { make };
})();
