import { network } from "./network.js";
import { page } from "./page.js";
import { pictures } from "./pictures.js";

/* What a stage says and shows of an example. The stages, with their equations and reasons, are the items of the list that stages.html
   makes; a stage is {kind, layer, title, item}, and what is shown is {model, example, pass, y, next, after} of page_model.js. */
export const stages = (() => {
  const lower = (l) => String(l).replace(/\d/g, (digit) => "₀₁₂₃₄₅₆₇₈₉"[digit]);
  const saidOf = (name, values) => `${name} has ${pictures.counted(values.length)} values ${pictures.rangeOf(values)}.`;

  // Places as in explain.js, of the number at an index.
  const unitOf = (layer) => (unit) => ({ kind: "unit", layer, unit });
  const edgeOf = (layer, inputs) => (index) => ({ kind: "edge", layer, unit: Math.floor(index / inputs), from: index % inputs });
  const pixelOf = (from) => ({ kind: "pixel", from });

  const VECTORS = { weighted: ["z", "z"], value: ["a", "a"], delta: ["∇z", "delta"] }; // symbol, and name in the pass

  const list = () =>
    Array.from(page.byId("steps").children, (item) => ({ ...item.dataset, layer: Number(item.dataset.layer), item }));

  // Show vectors with a value for each class, {name: values}.
  const showClasses = ({ model, example }, caption, vectors) =>
    pictures.outputs(caption, vectors, model.classNames, example.target, unitOf(model.layers.length));

  const describers = {
    input: ({ model: { height, width }, example, pass }) => ({
      said: `${example.title}. Its ${pictures.counted(height * width)} pixels, divided by 255, are a₀.`,
      figures: [pictures.image("a₀", pass.a[0], height, width, pixelOf)],
    }),

    vector(shown, { kind, layer }) {
      const { layers, classNames } = shown.model;
      const [symbol, key] = VECTORS[kind];
      const name = `${symbol}${lower(layer)}`;
      const values = shown.pass[key][layer];
      if (layer < layers.length) return { said: saidOf(name, values), figures: [pictures.vector(name, values, unitOf(layer))] };
      const answer = network.largest(values);
      return {
        said: kind === "value" ? `The largest output is ${pictures.written(values[answer])}: the answer is ${classNames[answer]}.` : saidOf(name, values),
        figures: [showClasses(shown, `${name}, class by class`, { [name]: values })],
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
      const [weights, biases, before, then] = [weights_rate, biases_rate, pass.loss, after.loss].map(pictures.written);
      const columns = { before: pass.a[layer], after: after.a[layer] };
      return {
        said: `With rates of ${weights} for weights and ${biases} for biases, the loss of this example goes from ${before} to ${then}.`,
        figures: [showClasses(shown, `a${lower(layer)} before and after the step`, columns)],
      };
    },
  };

  const describe = (shown, stage) => (describers[stage.kind] ?? describers.vector)(shown, stage);

  return { lower, list, describe };
})();
