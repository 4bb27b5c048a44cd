import { chart } from "./chart.js";
import { network } from "./network.js";
import { page } from "./page.js";
import { sentences } from "./sentences.js";
import { training } from "./training.js";

/* What the learning rates do: the loss of the next batch after one step with fractions and multiples of them. */
export const ratePanel = (() => {
  const TIMES = [0, 0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 8];
  const { byId, on, say } = page;

  // Return [times, loss] for steps with `times` the rates.
  function lossesByRate({ config, layers, settings }, batch, allTimes) {
    const { gradients } = training.rules.manual(config, layers, batch);
    const ratesOf = (times) => ({ weights_rate: times * settings.weights_rate, biases_rate: times * settings.biases_rate });
    const stepped = (times) => network.descend({ ...config, ...ratesOf(times) }, layers, gradients);
    return allTimes.map((times) => [times, training.evaluate(config, stepped(times), batch).loss]);
  }

  function make(model, nextBatch, playUntil) {
    const x = { low: 0, high: TIMES.at(-1), format: (times) => `${times} ×`, name: "rate; 1 × is what the sliders say" };
    const losses = chart.make("Mean loss of the next train examples after one step", ["loss"], { x });
    byId("by-rate").replaceChildren(losses.element);

    let end = ""; // why training until twice the rates go too far has ended, until something changes

    function show() {
      const points = lossesByRate(model, nextBatch(), TIMES);
      losses.replace(points, 1);
      say("rate-said", sentences.describeRates(points, model.settings.batch_size));
      say("far-said", end);
      end = "";
    }

    // Return a function that is true where training is to end; it is called before every step.
    function makeIsThere() {
      let [count, still] = [0, 0];
      return () => {
        const losses = lossesByRate(model, nextBatch(), [0, 1, 2]).map(([, loss]) => loss);
        end = sentences.describeEnd(losses, count, still);
        count += 1;
        still = losses[0] === losses[1] ? still + 1 : 0;
        return end !== "";
      };
    }

    on("far", "click", () => playUntil(makeIsThere()));
    return { show };
  }

  return { make };
})();
