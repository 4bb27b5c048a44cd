import { equations } from "./equations.js";
import { network } from "./network.js";
import { pictures } from "./pictures.js";

/* The stages of one example: forward, back, and one step down. A stage is {kind, layer, title, formulas, article, code, why,
   said, show}: `article` is the line in the names of the article, `code` that of model/, `why` says why it follows from the
   stage before; `formulas` and `show` create elements. */
export const stages = (() => {
  const lower = (l) => String(l).replace(/\d/g, (digit) => "₀₁₂₃₄₅₆₇₈₉"[digit]);
  const saidOf = (name, values) => `${name} has ${pictures.counted(values.length)} values ${pictures.rangeOf(values)}.`;

  // Places as in explain.js, of the number at an index.
  const unitOf = (layer) => (unit) => ({ kind: "unit", layer, unit });
  const edgeOf = (layer, inputs) => (index) => ({ kind: "edge", layer, unit: Math.floor(index / inputs), from: index % inputs });
  const pixelOf = (from) => ({ kind: "pixel", from });

  // Return the stages for {model, example, pass, y, after}; after is the pass with the parameters of the next step.
  function listStages(shown) {
    const last = shown.model.layers.length;
    const list = [inputStage(shown)];
    for (let l = 1; l <= last; l++) list.push(weightedStage(shown, l), valueStage(shown, l));
    list.push(differenceStage(shown), outputDeltaStage(shown));
    for (let l = last; l >= 1; l--) {
      if (l < last) list.push(hiddenDeltaStage(shown, l));
      list.push(gradientStage(shown, l));
    }
    return [...list, descentStage(shown)];
  }

  function inputStage({ model, example, pass }) {
    const { height, width } = model;
    return {
      kind: "input",
      layer: 0,
      title: "The input",
      formulas: () => [equations.input()],
      article: "a_0 = x",
      code: "tf.cast(images, dtype) / 255",
      why: "The network computes with numbers from 0 to 1: black is 0, so a black pixel adds nothing to any sum.",
      said: `${example.title}. Its ${pictures.counted(height * width)} pixels, divided by 255, are a₀.`,
      show: () => [pictures.image("a₀", pass.a[0], height, width, pixelOf)],
    };
  }

  function showLayer({ model, example }, l, symbol, values) {
    const name = `${symbol}${lower(l)}`;
    return l === model.layers.length
      ? pictures.outputs(`${name}, class by class`, { [name]: values }, model.classNames, example.target, unitOf(l))
      : pictures.vector(name, values, unitOf(l));
  }

  function weightedStage(shown, l) {
    const z = shown.pass.z[l];
    return {
      kind: "weighted",
      layer: l,
      title: `Layer ${l}: the weighted input`,
      formulas: () => [equations.weighted(l)],
      article: `z_${l} = a_${l - 1} w_${l} + b_${l}`,
      code: "tf.matmul(a, self.weights, transpose_b=True) + self.biases",
      why:
        `Each unit of layer ${l} adds up the values of the layer before, each times the weight of its edge, and its own ` +
        "bias. This is the only place where parameters act on the answer.",
      said: saidOf(`z${lower(l)}`, z),
      show: () => [showLayer(shown, l, "z", z)],
    };
  }

  function valueStage(shown, l) {
    const { config, layers, classNames } = shown.model;
    const last = l === layers.length;
    const a = shown.pass.a[l];
    const answer = network.largest(a);
    return {
      kind: "value",
      layer: l,
      title: last ? `Layer ${l}: the output` : `Layer ${l}: the value`,
      formulas: () => [equations.value(l, last ? config.output : config.activation)],
      article: `a_${l} = sigma(z_${l})`,
      code: last ? "network.output.value(z)" : "network.hidden.value(layer.weigh(passed_on))",
      why: last
        ? "A sum can be any number, and an answer is wanted: the output function turns the sums into one value from 0 to 1 for each class."
        : "A sum of sums is a sum again: without a function that bends, two layers could do no more than one.",
      said: last
        ? `The largest output is ${pictures.written(a[answer])}: the answer is ${classNames[answer]}.`
        : saidOf(`a${lower(l)}`, a),
      show: () => [showLayer(shown, l, "a", a)],
    };
  }

  function differenceStage({ model, example, pass, y }) {
    const { config, layers, classNames } = model;
    const last = layers.length;
    const columns = { [`a${lower(last)}`]: pass.a[last], y, difference: pass.difference };
    return {
      kind: "difference",
      layer: last,
      title: "The difference, and the loss",
      formulas: () => [equations.differenceOf(config, last), equations.loss(config.loss, config.output, last)],
      article: `diff = a_${last} - y`,
      code: "network.output.loss(z, y)",
      why:
        "To improve, training needs one number to make smaller: the loss C. How C changes with each output begins with how far " +
        "that output is from its target, and in which direction.",
      said: `The target y is 1 for ${classNames[example.target]}, else 0. The loss C is ${pictures.written(pass.loss)}.`,
      show: () => [pictures.outputs(`a${lower(last)} minus y`, columns, classNames, example.target, unitOf(last))],
    };
  }

  function outputDeltaStage({ model, example, pass }) {
    const { config, layers, classNames } = model;
    const last = layers.length;
    const name = `∇z${lower(last)}`;
    const cancelled = config.loss === "cross-entropy";
    return {
      kind: "delta",
      layer: last,
      title: `Back to z${lower(last)}: the error of the output layer`,
      formulas: () => [equations.outputDelta(config, last)],
      article: cancelled ? `d_z_${last} = diff` : `d_z_${last} = diff * sigmaprime(z_${last})`,
      code: "network.output.delta(network.output.value(z), y)",
      why: cancelled
        ? `z${lower(last)} acts on C through the output function alone, whose slope is a factor. Here the derivative of the loss ` +
          "divides by that same slope: the two cancel, and a unit that is wrong learns even where its function is flat."
        : `z${lower(last)} acts on C through the output function alone. If z grows by a little, a grows by the slope times as much, ` +
          "so the difference is multiplied with the slope. Where the function is flat (a near 0 or 1), the slope is nearly 0: " +
          "such a unit hardly learns, however wrong it is.",
      said: `${saidOf(name, pass.delta[last])} ${name} is dC/dz${lower(last)}, also called delta.`,
      show: () => [pictures.outputs(`${name}, class by class`, { [name]: pass.delta[last] }, classNames, example.target, unitOf(last))],
    };
  }

  function hiddenDeltaStage({ model, pass }, l) {
    const name = `∇z${lower(l)}`;
    return {
      kind: "delta",
      layer: l,
      title: `Back to z${lower(l)}: the error of layer ${l}`,
      formulas: () => equations.hiddenDelta(l, model.config.activation),
      article: `d_a_${l} = d_z_${l + 1} w_${l + 1}^T;  d_z_${l} = d_a_${l} * sigmaprime(z_${l})`,
      code: "parameters[below].weigh_back(delta) * m[below] * network.hidden.slope(a[below])",
      why:
        `A value of layer ${l} acts on every z${lower(l + 1)}, on each by the weight of the edge between them. So the errors come back ` +
        "along the same edges, times the same weights, and add up; then the slope is a factor again, as every z acts through its value.",
      said: saidOf(name, pass.delta[l]),
      show: () => [pictures.vector(name, pass.delta[l], unitOf(l))],
    };
  }

  function gradientStage({ model, pass }, l) {
    const { height, width } = model;
    const { weights, biases, inputs, outputs } = pass.gradients[l];
    const name = `∇w${lower(l)}`;
    const drawWeights = () =>
      l === 1
        ? pictures.tiles(name, weights, outputs, height, width, edgeOf(l, inputs))
        : pictures.matrix(name, weights, outputs, inputs, edgeOf(l, inputs));
    return {
      kind: "gradient",
      layer: l,
      title: `The gradients of layer ${l}`,
      formulas: () => equations.gradients(l),
      article: `d_b_${l} = d_z_${l};  d_w_${l} = a_${l - 1}^T d_z_${l}`,
      code: "type(self)(tf.matmul(delta, a, transpose_a=True), tf.reduce_sum(delta, axis=0))",
      why:
        `A weight is multiplied with the value at its beginning, so if it grows by a little, z${lower(l)} grows by that value times as much: ` +
        "its derivative is the error at its end times the value at its beginning. Where the value is 0, nothing is learnt. " +
        "A bias is multiplied with 1.",
      said: `${saidOf(name, weights)} ∇b${lower(l)} is ∇z${lower(l)} itself.`,
      show: () => [drawWeights(), pictures.vector(`∇b${lower(l)}`, biases, unitOf(l))],
    };
  }

  function descentStage({ model, example, pass, after }) {
    const { layers, classNames, settings } = model;
    const last = layers.length;
    const config = { ...model.config, ...settings };
    const columns = { before: pass.a[last], after: after.a[last] };
    return {
      kind: "descent",
      layer: last,
      title: "One step down",
      formulas: () => layers.flatMap((_, i) => equations.descent(config, i + 1)),
      article: layers.map((_, i) => `w_${i + 1} = w_${i + 1} - eta d_w_${i + 1}`).join(";  "),
      code: "-factor * config.weights_rate * (g.weights + config.weight_decay * p.weights)",
      why:
        "The gradient says how C grows, so every parameter moves against it, by the learning rate times its gradient. Twice the rate " +
        "is twice the way along the same direction; as the gradient changes on the way, a step too long ends up higher than it began.",
      said:
        `With rates of ${pictures.written(config.weights_rate)} for weights and ${pictures.written(config.biases_rate)} for biases, ` +
        `the loss of this example goes from ${pictures.written(pass.loss)} to ${pictures.written(after.loss)}.`,
      show: () => [pictures.outputs(`a${lower(last)} before and after the step`, columns, classNames, example.target, unitOf(last))],
      losses: [pass.loss, after.loss],
    };
  }

  return { lower, listStages };
})();
