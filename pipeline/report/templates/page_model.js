import { network } from "./network.js";
import { points } from "./points.js";
import { start } from "./start.js";

/* The model and the examples of the page, from the data that pipeline/report/backprop_inspector.py embeds. */
export const pageModel = (() => {
  // Return the model: what the run gave, and `layers` and `settings` as they are now. `start` is null if it cannot be drawn.
  function read(data) {
    const trained = network.decodeLayers(data.parameters, data.layers);
    const drawn = data.start && start.drawLayers(data.start.name, data.layers, data.start.keys);
    const model = {
      config: data.config,
      functions: network.build(data.config),
      classNames: data.class_names,
      style: data.style,
      height: data.height,
      width: data.width,
      trained,
      start: drawn,
      origins: { start: drawn, trained, ...points.decode(data) }, // what training may begin with
      layers: drawn ?? trained,
      settings: {},
    };
    return Object.assign(model, { examples: readExamples(data, model) });
  }

  // Return {train, test, sampled}; sampled are the test examples that were not selected by their answers.
  function readExamples(data, model) {
    const pixels = network.bytesOf(data.images);
    const size = data.height * data.width;
    const all = [...data.train, ...data.test].map((given, i) => {
      const example = makeExample(model, given.name, "", pixels.subarray(i * size, (i + 1) * size), given.label);
      const predicted = given.predicted ?? answer(model, example.x);
      const [label, answered] = [given.label, predicted].map((each) => model.classNames[each]);
      const right = label === answered;
      const title = `${given.name}, an example of ${label}, answered ${right ? "so" : answered} by the trained network`;
      return { ...example, title, right };
    });
    const test = all.slice(data.train.length);
    return { train: all.slice(0, data.train.length), test, sampled: test.filter((_, i) => data.test[i].sampled) };
  }

  // Return the class that the trained network answers.
  const answer = (model, x) => network.largest(network.forward(model.functions, model.trained, x).a.at(-1));

  // The name is null for a drawing.
  function makeExample(model, name, title, pixels, target) {
    return { name, title, pixels, x: network.scale(pixels), y: network.oneHot(target, model.classNames.length), target };
  }

  // Return what stages.js shows: an example as it passes through the network, and after a step of this example alone.
  function propagate(model, example) {
    const { config, functions, layers, settings } = model;
    const pass = network.propagate(functions, layers, example);
    const next = network.descend({ ...config, ...settings }, layers, pass.gradients);
    return { model, example, pass, y: example.y, next, after: network.propagate(functions, next, example) };
  }

  return { read, answer, makeExample, propagate };
})();
