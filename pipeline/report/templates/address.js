/* The state of the inspector in the fragment of the page's address, such as #example=test:42&stage=7&train=20x10x5x0.5xmanual:
   the example, the stage counted from 1, `from=trained` or `from=100`, a step of the run, if training did not begin with the run's start, and the steps, as
   count, batch size, rate of the weights, rate of the biases and rule, once for each change of these settings. An address without
   a stage is a link to an example, which leaves the parameters as they are: its steps are null. */
export const address = (() => {
  const MOST_STEPS = 1000; // that a page takes again when it is opened
  const STEPS = /^([1-9]\d*)x([1-9]|10)x(\d[-.e\d]*)x(\d[-.e\d]*)x(manual|autodiff)$/;
  const total = (steps) => steps.reduce((sum, { count }) => sum + count, 0);

  function parseSteps(text) {
    const [, ...parts] = text.match(STEPS) ?? [];
    const [count, batch_size, weights_rate, biases_rate] = parts.map(Number);
    return { count, settings: { batch_size, weights_rate, biases_rate, rule: parts[4] } };
  }

  // Return the steps of a training, which may be none; null if they are not understood or too many.
  function parseTraining(text) {
    const steps = text === null ? [] : text.split(",").map(parseSteps);
    const isRate = (rate) => Number.isFinite(rate) && rate > 0;
    const isSound = ({ settings }) => isRate(settings.weights_rate) && isRate(settings.biases_rate);
    return steps.every(isSound) && total(steps) <= MOST_STEPS ? steps : null;
  }

  // Return {example, stage, from, steps}, or null if the fragment names no example. What is not understood is left out.
  function parse(fragment) {
    const given = new URLSearchParams(fragment.replace(/^#/, ""));
    if (!given.has("example")) return null;
    const name = given.get("example");
    return {
      example: name.includes(":") ? name : `test:${name}`,
      stage: Math.max(1, Math.trunc(Number(given.get("stage"))) || 1),
      from: /^(trained|\d+)$/.test(given.get("from")) ? given.get("from") : "start",
      steps: given.has("stage") ? parseTraining(given.get("train")) : null,
    };
  }

  // After more than MOST_STEPS the state has no address, only its example.
  function format({ example, stage, from, steps }) {
    if (total(steps) > MOST_STEPS) return `#example=${example}`;
    const parts = [`example=${example}`, `stage=${stage}`];
    if (from !== "start") parts.push(`from=${from}`);
    const told = steps.map(({ count, settings: s }) => [count, s.batch_size, s.weights_rate, s.biases_rate, s.rule].join("x"));
    if (told.length) parts.push(`train=${told.join(",")}`);
    return `#${parts.join("&")}`;
  }

  return { parse, format };
})();
