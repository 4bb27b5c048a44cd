import { chart } from "./chart.js";
import { network } from "./network.js";
import { page } from "./page.js";
import { pictures } from "./pictures.js";
import { sentences } from "./sentences.js";

/* What a stage says and shows of an example. The stages, with their equations and reasons, are the items of the list that stages.html
   makes; a stage is {kind, layer, title, item}, and what is shown is {model, example, pass, y, next, after} of page_model.js. */
export const stages = (() => {
  const lower = (l) => String(l).replace(/\d/g, (digit) => "₀₁₂₃₄₅₆₇₈₉"[digit]);
  const saidOf = (name, values) => `${name} has ${pictures.counted(values.length)} values ${pictures.rangeOf(values)}.`;

  // Places as in explain.js, of the number at an index.
  const unitOf = (layer) => (unit) => ({ kind: "unit", layer, unit });
  const edgeOf = (layer, inputs) => (index) => ({ kind: "edge", layer, unit: Math.floor(index / inputs), from: index % inputs });
  const pixelOf = (from) => ({ kind: "pixel", from });

  const list = () =>
    Array.from(page.byId("steps").children, (item) => ({ ...item.dataset, layer: Number(item.dataset.layer), item }));

  // Show vectors with a value for each class, {name: values}.
  const showClasses = ({ model, example }, caption, vectors) =>
    pictures.outputs(caption, vectors, model.classNames, example.target, unitOf(model.layers.length));

  // Show vectors with a value for each unit of a layer, {name: values}, of which the last is said.
  function showLayer(shown, layer, vectors) {
    const entries = Object.entries(vectors);
    const [name, values] = entries.at(-1);
    const figures =
      layer === shown.model.layers.length
        ? [showClasses(shown, `${name}, class by class`, vectors)]
        : entries.map((entry) => pictures.vector(...entry, unitOf(layer)));
    return { said: saidOf(name, values), figures };
  }

  // Return the function of a layer's units as {symbol, value, slope}; null if a unit's value depends on the other units too.
  function functionOf({ config, functions: { hidden, output }, layers }, layer) {
    const isOutput = layer === layers.length;
    const name = isOutput ? config.output : config.activation;
    if (name === "softmax") return null;
    const symbol = name === "sigmoid" ? "σ" : name;
    return isOutput ? { symbol, value: (z) => output.value([z])[0], slope: output.slope } : { symbol, ...hidden };
  }

  const nameOf = ({ layers, classNames }, layer, unit) => (layer === layers.length ? `Output ${classNames[unit]}` : `Unit ${unit}`);

  // Draw the function of a layer at the weighted input of a unit, with its tangent there if a slope is given.
  function drawFunction({ pass }, layer, unit, { symbol, value: valueOf }, slope) {
    const [z, a] = [pass.z[layer][unit], pass.a[layer][unit]];
    const end = Math.max(6, Math.ceil(Math.abs(z)) + 2);
    const ends = Array.from({ length: 81 }, (_, i) => (i / 40 - 1) * end);
    const points = [...ends, z].sort((x, y) => x - y).map((x) => [x, valueOf(x), Math.abs(x - z) < 2 ? a + slope * (x - z) : NaN]);
    const x = { low: -end, high: end, format: chart.formatNumber, name: `z${lower(layer)}` };
    const y = chart.fit(points.map(([, value]) => value));
    const place = `${symbol} at z${lower(layer)}[${unit}] = ${pictures.written(z)}`;
    const drawn =
      slope === undefined
        ? chart.make(`${place} is ${pictures.written(a)}`, [symbol], { x, y })
        : chart.make(`The slope of ${place} is ${pictures.written(slope)}`, [symbol, "its tangent"], { x, y });
    drawn.replace(points, z);
    return drawn.element;
  }

  const besideChart = (figures, drawn) => [pictures.make("div", { className: "pair" }, pictures.make("div", {}, ...figures), drawn)];

  const sayAnswer = (value, name) => `The largest output is ${pictures.written(value)}: the answer is ${name}.`;

  // Return the loss of the example after a step with twice the rates.
  function lossAfterTwice({ model, pass, example }) {
    const { config, functions, layers, settings } = model;
    const [weights_rate, biases_rate] = [2 * settings.weights_rate, 2 * settings.biases_rate];
    const next = network.descend({ ...config, weights_rate, biases_rate }, layers, pass.gradients);
    return functions.output.loss(network.forward(functions, next, example.x).z.at(-1), example.y);
  }

  const describers = {
    input: ({ model: { height, width, classNames }, example, pass }) => ({
      said:
        `${example.title}. ${Number.isFinite(pass.loss) ? `The network as it is now answers ${classNames[network.largest(pass.a.at(-1))]}. ` : ""}` +
        `Its ${pictures.counted(height * width)} pixels, divided by 255, are a₀.`,
      figures: [pictures.image("a₀", pass.a[0], height, width, pixelOf)],
    }),

    weighted: (shown, { layer }) => showLayer(shown, layer, { [`z${lower(layer)}`]: shown.pass.z[layer] }),

    value(shown, { layer }) {
      const { layers, classNames } = shown.model;
      const values = shown.pass.a[layer];
      const { said, figures } = showLayer(shown, layer, { [`a${lower(layer)}`]: values });
      const most = network.largest(values);
      const own = functionOf(shown.model, layer);
      return {
        said: layer < layers.length || !Number.isFinite(shown.pass.loss) ? said : sayAnswer(values[most], classNames[most]),
        figures: own ? besideChart(figures, drawFunction(shown, layer, most, own)) : figures,
      };
    },

    // Show the derivative by the value times the slope, where there is one, and the slope itself on the function.
    delta(shown, { layer }) {
      const { model, pass } = shown;
      const errors = pass.delta[layer];
      const error = { [`∇z${lower(layer)}`]: errors };
      const own = functionOf(model, layer);
      if (!own?.slope) return showLayer(shown, layer, error);
      const back = layer === model.layers.length ? pass.difference : pass.back[layer];
      const slopes = pass.a[layer].map(own.slope);
      const unitAt = (unit) => ({ name: nameOf(model, layer, unit), back: back[unit], slope: slopes[unit], error: errors[unit] });
      const [unit, strongest] = [back, errors].map((values) => network.largest(values.map(Math.abs)));
      const { figures } = showLayer(shown, layer, { [`∇a${lower(layer)}`]: back, "times the slope": slopes, ...error });
      return {
        said: sentences.describeProduct(lower(layer), unitAt(unit), unitAt(strongest)),
        figures: besideChart(figures, drawFunction(shown, layer, unit, own, slopes[unit])),
      };
    },

    difference(shown, { layer }) {
      const { model, example, pass, y } = shown;
      const name = `a${lower(layer)}`;
      return {
        said: `The target y is 1 for ${model.classNames[example.target]}, else 0. The loss C is ${pictures.written(pass.loss)}.`,
        figures: [showClasses(shown, `${name} minus y`, { [name]: pass.a[layer], y, difference: pass.difference })],
      };
    },

    gradient({ model: { height, width }, pass }, { layer }) {
      const { weights, biases, inputs, outputs } = pass.gradients[layer - 1];
      const name = `∇w${lower(layer)}`;
      const places = edgeOf(layer, inputs);
      const drawn =
        layer === 1
          ? pictures.tiles(name, weights, outputs, height, width, places)
          : pictures.matrix(name, weights, outputs, inputs, places);
      return { said: saidOf(name, weights), figures: [drawn, pictures.vector(`∇b${lower(layer)}`, biases, unitOf(layer))] };
    },

    descent(shown, { layer }) {
      const { model, pass, after } = shown;
      const { weights_rate, biases_rate } = model.settings;
      const slopeOf = functionOf(model, layer)?.slope;
      const columns = { before: pass.a[layer], after: after.a[layer] };
      const outputs = Array.from(pass.difference, (difference, unit) => ({
        name: nameOf(model, layer, unit),
        difference,
        before: columns.before[unit],
        after: columns.after[unit],
        slope: slopeOf?.(columns.before[unit]),
      }));
      return {
        said:
          `${sentences.describeStep([weights_rate, biases_rate], pass.loss, after.loss, lossAfterTwice(shown))} ` +
          sentences.describeMoves(outputs),
        figures: [showClasses(shown, `a${lower(layer)} before and after the step`, columns)],
      };
    },
  };

  const describe = (shown, stage) => describers[stage.kind](shown, stage);

  return { lower, list, describe };
})();
