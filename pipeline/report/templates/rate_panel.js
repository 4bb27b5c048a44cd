import { chart } from "./chart.js";
import { network } from "./network.js";
import { page } from "./page.js";
import { pictures } from "./pictures.js";
import { training } from "./training.js";

/* What the learning rates do: the loss of the next batch after one step with fractions and multiples of them. */
export const ratePanel = (() => {
  const TIMES = [0, 0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 8];
  const { byId, fill } = page;

  // Return [times, loss] for a step with `times` the rates.
  function lossesByRate({ config, layers, settings }, batch) {
    const { gradients } = training.rules.manual(config, layers, batch);
    const ratesOf = (times) => ({ weights_rate: times * settings.weights_rate, biases_rate: times * settings.biases_rate });
    const stepped = (times) => network.descend({ ...config, ...ratesOf(times) }, layers, gradients);
    return TIMES.map((times) => [times, training.evaluate(config, stepped(times), batch).loss]);
  }

  function make(model, nextBatch) {
    const x = { low: 0, high: TIMES.at(-1), format: (times) => `${times} ×` };
    const losses = chart.make("Loss of the next examples after one step, by the rate", ["1 × is what the sliders say"], { x });
    byId("by-rate").replaceChildren(losses.element);

    function show() {
      const points = lossesByRate(model, nextBatch());
      losses.replace(points, 1);
      const told = [0, 1, 2].map((times) => pictures.written(points.find(([each]) => each === times)[1]));
      fill("rate-said", ...told);
    }

    return { show };
  }

  return { make };
})();
