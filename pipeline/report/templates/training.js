import { network } from "./network.js";
import { start } from "./start.js";
import { tape } from "./tape.js";

/* Training on the examples of the page: the gradients of a batch by the manual rule or by automatic differentiation, and
   one step down. An example is {x, y, target}: its inputs, its one-hot target and its class. */
export const training = (() => {
  // Return the mean loss of a batch and its gradients by the equations of model/gradients.py.
  function propagateBatch(config, layers, batch) {
    const functions = network.build(config);
    const gradients = layers.map(network.zerosLike);
    const size = batch.length;
    const loss = batch.reduce((sum, each) => sum + network.propagate(functions, layers, each, gradients, size).loss / size, 0);
    return { loss, gradients };
  }

  const rules = { manual: propagateBatch, autodiff: tape.differentiate };

  // Return a function that draws numbers from 0 to below 1, the same ones on every page.
  function makeRandom() {
    let numDrawn = 0;
    return () => start.philox([numDrawn++, 0, 0, 0], [0, 0])[0] / 2 ** 32;
  }

  function shuffle(items, random) {
    const shuffled = [...items];
    for (let last = shuffled.length - 1; last > 0; last--) {
      const other = Math.floor(random() * (last + 1));
      [shuffled[last], shuffled[other]] = [shuffled[other], shuffled[last]];
    }
    return shuffled;
  }

  // Return a trainer: each step takes the next examples of an order that is shuffled anew when it is used up.
  function makeTrainer(config, layers, examples) {
    const random = makeRandom();
    const trainer = { layers, numSteps: 0, waiting: [], nextBatch, step };

    function nextBatch(size) {
      while (trainer.waiting.length < size) trainer.waiting.push(...shuffle(examples, random));
      return trainer.waiting.slice(0, size);
    }

    // settings are {rule, batch_size, weights_rate, biases_rate}; returns the loss of the batch before the step
    function step(settings) {
      const batch = nextBatch(settings.batch_size);
      const { loss, gradients } = rules[settings.rule](config, trainer.layers, batch);
      trainer.layers = network.descend({ ...config, ...settings }, trainer.layers, gradients);
      trainer.waiting.splice(0, batch.length);
      trainer.numSteps += 1;
      return loss;
    }

    return trainer;
  }

  const sizeOf = (values) => values.reduce((sum, value) => sum + Math.abs(value), 0);

  // Return the mean loss of examples, how many of them the network answers rightly, and the share of the size of their differences a - y
  // that is left in their errors dC/dz: almost 0 if the outputs are wrong where the slope is almost 0.
  function evaluate(config, layers, examples) {
    const functions = network.build(config);
    let loss = 0;
    let right = 0;
    let differences = 0;
    let errors = 0;
    for (const { x, y, target } of examples) {
      const { a, z } = network.forward(functions, layers, x);
      const output = a[layers.length];
      loss += functions.output.loss(z[layers.length], y) / examples.length;
      if (network.largest(output) === target) right += 1;
      differences += sizeOf(output.map((value, i) => value - y[i]));
      errors += sizeOf(functions.output.delta(output, y));
    }
    return { loss, right, share: errors / differences };
  }

  const lossOf = (config, layers, batch) => evaluate(config, layers, batch).loss;

  // Return layers with one parameter, {layer, name, at}, moved.
  function move(layers, { layer, name, at }, distance) {
    const moved = Float64Array.from(layers[layer][name]);
    moved[at] += distance;
    return layers.map((each, i) => (i === layer ? { ...each, [name]: moved } : each));
  }

  // Return the central difference (C(p + epsilon) - C(p - epsilon)) / (2 epsilon) of the mean loss C.
  function difference(config, layers, batch, parameter, epsilon) {
    const [above, below] = [epsilon, -epsilon].map((distance) => lossOf(config, move(layers, parameter, distance), batch));
    return (above - below) / (2 * epsilon);
  }

  return { rules, makeTrainer, evaluate, difference };
})();
