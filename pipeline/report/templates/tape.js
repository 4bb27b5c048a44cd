import { network } from "./network.js";

/* Gradients by reverse-mode automatic differentiation: the forward pass records every operation on a tape with the
   derivative of that operation alone, and the tape is then run backwards. Only the names of the functions and the shape of
   a layer are shared with the manual rule in training.js. */
export const tape = (() => {
  const logistic = (z) => 1 / (1 + Math.exp(-z));

  // Functions of one number and their derivatives at the same number.
  const operations = {
    sigmoid: [logistic, (z) => Math.exp(-Math.abs(z)) / (1 + Math.exp(-Math.abs(z))) ** 2],
    tanh: [Math.tanh, (z) => 1 / Math.cosh(z) ** 2],
    relu: [(z) => Math.max(z, 0), (z) => (z > 0 ? 1 : 0)],
    softplus: [(z) => Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z))), logistic],
    exp: [Math.exp, Math.exp],
    log: [Math.log, (x) => 1 / x],
    square: [(x) => x * x, (x) => 2 * x],
  };

  // A variable holds numbers and, after `rewind`, the derivative of the result by each.
  const variable = (values) => ({ values, gradient: new Float64Array(values.length) });

  // Return the operations; each computes a variable from others and records how to pass its gradient on to them.
  function begin() {
    const recorded = [];

    function record(values, passOn) {
      const result = variable(values);
      recorded.push(() => passOn(result.gradient));
      return result;
    }

    // A function of each number x[i], with its derivative there.
    const map = (x, value, derivative) =>
      record(x.values.map(value), (g) => g.forEach((each, i) => (x.gradient[i] += each * derivative(x.values[i], i))));

    const apply = (name, x) => map(x, ...operations[name]);
    const add = (x, c) => map(x, (value, i) => value + c[i], () => 1); // x + c, with constants c
    const multiply = (x, c) => map(x, (value, i) => value * c[i], (_, i) => c[i]); // x c, element by element

    // w x + b, where w has a row of numbers for each number of b
    function affine(w, b, x) {
      const width = x.values.length;
      const values = b.values.map((sum, j) => {
        for (let k = 0, at = j * width; k < width; k++, at++) sum += w.values[at] * x.values[k];
        return sum;
      });
      return record(values, (g) =>
        g.forEach((each, j) => {
          b.gradient[j] += each;
          for (let k = 0, at = j * width; k < width; k++, at++) {
            w.gradient[at] += each * x.values[k];
            x.gradient[k] += each * w.values[at];
          }
        }),
      );
    }

    const sum = (x) =>
      record(Float64Array.of(x.values.reduce((total, value) => total + value, 0)), ([g]) =>
        x.gradient.forEach((_, i) => (x.gradient[i] += g)),
      );

    // x - s, with one number s
    const subtract = (x, s) =>
      record(x.values.map((value) => value - s.values[0]), (g) =>
        g.forEach((each, i) => {
          x.gradient[i] += each;
          s.gradient[0] -= each;
        }),
      );

    // Add to each variable's gradient the derivative of the result, times a factor.
    function rewind(result, factor) {
      result.gradient[0] = factor;
      while (recorded.length) recorded.pop()();
    }

    return { apply, affine, add, multiply, sum, subtract, rewind };
  }

  // log softmax(z) = z - log(sum(exp(z))); subtracting a constant first changes nothing but avoids infinity.
  function logSoftmax(on, z) {
    const largest = z.values[network.largest(z.values)];
    const shifted = on.add(z, z.values.map(() => -largest));
    return on.subtract(shifted, on.apply("log", on.sum(on.apply("exp", shifted))));
  }

  function quadratic(on, a, y) {
    const squares = on.apply("square", on.add(a, y.map((value) => -value)));
    return on.sum(on.multiply(squares, y.map(() => 0.5)));
  }

  const losses = {
    "sigmoid quadratic": (on, z, y) => quadratic(on, on.apply("sigmoid", z), y),
    "softmax quadratic": (on, z, y) => quadratic(on, on.apply("exp", logSoftmax(on, z)), y),
    // for a = sigmoid(z), log a is -softplus(-z), and log(1 - a) is -softplus(z)
    "sigmoid cross-entropy": (on, z, y) => on.sum(on.apply("softplus", on.multiply(z, y.map((value) => 1 - 2 * value)))),
    "softmax cross-entropy": (on, z, y) => on.sum(on.multiply(logSoftmax(on, z), y.map((value) => -value))),
  };

  // Return the mean loss of a batch of examples {x, y} and its gradients, in the structure of the layers.
  function differentiate(config, layers, batch) {
    const on = begin();
    const parameters = layers.map(({ weights, biases }) => ({ w: variable(weights), b: variable(biases) }));
    let loss = 0;
    for (const { x, y } of batch) {
      let a = variable(x);
      let z;
      parameters.forEach(({ w, b }, i) => {
        z = on.affine(w, b, a);
        if (i < layers.length - 1) a = on.apply(config.activation, z);
      });
      const lossOfExample = losses[`${config.output} ${config.loss}`](on, z, y);
      loss += lossOfExample.values[0] / batch.length;
      on.rewind(lossOfExample, 1 / batch.length);
    }
    const gradients = parameters.map(({ w, b }, i) => ({ ...layers[i], weights: w.gradient, biases: b.gradient }));
    return { loss, gradients };
  }

  return { differentiate };
})();
