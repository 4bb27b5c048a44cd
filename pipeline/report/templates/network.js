/* The forward and backward pass of one example in double precision; the same arithmetic as in model/functions.py,
   network.py and gradients.py. A layer is {weights, biases, inputs, outputs}; weights are [outputs, inputs], row-major. */
export const network = (() => {
  const sigmoid = (z) => 1 / (1 + Math.exp(-z));

  // The slope is the derivative as a function of the value a.
  const activations = {
    sigmoid: { value: sigmoid, slope: (a) => a * (1 - a) },
    tanh: { value: Math.tanh, slope: (a) => 1 - a * a },
    relu: { value: (z) => Math.max(z, 0), slope: (a) => (a > 0 ? 1 : 0) },
  };

  const sum = (values) => values.reduce((total, value) => total + value, 0);
  const minus = (a, y) => a.map((value, i) => value - y[i]);
  const quadratic = (a, y) => sum(minus(a, y).map((d) => d * d)) / 2;

  function logSoftmax(z) {
    const highest = z.reduce((most, value) => Math.max(most, value), -Infinity);
    const logOfSum = Math.log(sum(z.map((value) => Math.exp(value - highest))));
    return z.map((value) => value - highest - logOfSum);
  }

  const softmax = (z) => logSoftmax(z).map(Math.exp);
  const sigmoids = (z) => z.map(sigmoid);

  // value: z -> a; loss: (z, y) -> C; delta: (a, y) -> dC/dz; slope, if delta is the difference times it: a -> da/dz
  const outputs = {
    "sigmoid quadratic": {
      value: sigmoids,
      slope: activations.sigmoid.slope,
      loss: (z, y) => quadratic(sigmoids(z), y),
      delta: (a, y) => a.map((value, i) => (value - y[i]) * value * (1 - value)),
    },
    "softmax quadratic": {
      value: softmax,
      loss: (z, y) => quadratic(softmax(z), y),
      delta(a, y) {
        const d = minus(a, y);
        const along = sum(a.map((value, i) => value * d[i]));
        return a.map((value, i) => value * (d[i] - along));
      },
    },
    "sigmoid cross-entropy": {
      value: sigmoids,
      loss: (z, y) => sum(z.map((v, i) => Math.max(v, 0) - v * y[i] + Math.log1p(Math.exp(-Math.abs(v))))),
      delta: minus,
    },
    "softmax cross-entropy": {
      value: softmax,
      loss: (z, y) => -sum(logSoftmax(z).map((value, i) => value * y[i])),
      delta: minus,
    },
  };

  const build = (config) => ({
    hidden: activations[config.activation],
    output: outputs[`${config.output} ${config.loss}`],
  });

  // The positions of the numbers that are not 0, about a fifth of an image: products with 0 change no sum.
  function findUsed(a) {
    const used = new Uint32Array(a.length);
    let count = 0;
    for (let k = 0; k < a.length; k++) if (a[k] !== 0) used[count++] = k;
    return used.subarray(0, count);
  }

  // z = w a + b
  function weightedInput(layer, a) {
    const used = findUsed(a);
    return layer.biases.map((bias, j) => {
      let z = bias;
      for (let i = 0; i < used.length; i++) z += layer.weights[j * layer.inputs + used[i]] * a[used[i]];
      return z;
    });
  }

  // dC/da = delta w, for the inputs a of the layer
  function inputGradient(layer, delta) {
    const back = new Float64Array(layer.inputs);
    for (let j = 0; j < layer.outputs; j++) {
      for (let k = 0, at = j * layer.inputs; k < layer.inputs; k++, at++) back[k] += delta[j] * layer.weights[at];
    }
    return back;
  }

  const zerosLike = ({ weights, biases, inputs, outputs }) => ({
    weights: new Float64Array(weights.length),
    biases: new Float64Array(biases.length),
    inputs,
    outputs,
  });

  // Add dC/dw = delta a and dC/db = delta to the gradients of a layer.
  function addGradients(gradients, a, delta) {
    const used = findUsed(a);
    for (let j = 0; j < gradients.outputs; j++) {
      gradients.biases[j] += delta[j];
      for (let i = 0; i < used.length; i++) gradients.weights[j * gradients.inputs + used[i]] += delta[j] * a[used[i]];
    }
  }

  // a[0] is x and a[L] the output; z[l] is the weighted input of layer l, so z[0] is null
  function forward(functions, layers, x) {
    const a = [x];
    const z = [null];
    layers.forEach((layer, i) => {
      z.push(weightedInput(layer, a[i]));
      const last = i === layers.length - 1;
      a.push(last ? functions.output.value(z[i + 1]) : z[i + 1].map(functions.hidden.value));
    });
    return { a, z };
  }

  // Return the values and the loss of one example and, for layers l = 1 .. L, delta[l] = dC/dz[l], where C is the loss over the size of
  // the batch. The gradients of layer l are added to gradients[l - 1].
  function propagate(functions, layers, { x, y }, gradients = layers.map(zerosLike), size = 1) {
    const { a, z } = forward(functions, layers, x);
    const last = layers.length;
    const delta = [];
    const back = []; // dC/da
    delta[last] = functions.output.delta(a[last], y).map((value) => value / size);
    for (let l = last; l >= 1; l--) {
      addGradients(gradients[l - 1], a[l - 1], delta[l]);
      if (l === 1) break;
      back[l - 1] = inputGradient(layers[l - 1], delta[l]);
      delta[l - 1] = back[l - 1].map((value, k) => value * functions.hidden.slope(a[l - 1][k]));
    }
    return { a, z, delta, back, gradients, loss: functions.output.loss(z[last], y), difference: minus(a[last], y) };
  }

  // Return the parameters after one step of gradient descent, without momentum; gradients are in the structure of the layers.
  function descend(config, layers, gradients) {
    const { weights_rate, biases_rate, weight_decay } = config;
    return layers.map((layer, i) => ({
      ...layer,
      weights: layer.weights.map((w, at) => w - weights_rate * (gradients[i].weights[at] + weight_decay * w)),
      biases: layer.biases.map((b, j) => b - biases_rate * gradients[i].biases[j]),
    }));
  }

  const bytesOf = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

  // Return the layers of the given sizes from all their parameters, for each layer its weights and then its biases.
  function splitLayers(all, sizes) {
    let at = 0;
    const take = (count) => all.slice(at, (at += count));
    return sizes.slice(1).map((size, i) => {
      const weights = take(size * sizes[i]);
      return { weights, biases: take(size), inputs: sizes[i], outputs: size };
    });
  }

  // Decode parameters from base64 of float32 in the byte order of the machine, little-endian wherever there are browsers.
  const decodeLayers = (text, sizes) => splitLayers(Float64Array.from(new Float32Array(bytesOf(text).buffer)), sizes);

  const scale = (pixels) => Float64Array.from(pixels, (pixel) => pixel / 255);
  const oneHot = (label, count) => Float64Array.from({ length: count }, (_, i) => (i === label ? 1 : 0));
  const largest = (values) => values.reduce((best, value, i) => (value > values[best] ? i : best), 0);

  return { build, forward, zerosLike, propagate, descend, splitLayers, decodeLayers, bytesOf, scale, oneHot, largest };
})();
