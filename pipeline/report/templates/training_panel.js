import { chart } from "./chart.js";
import { pictures } from "./pictures.js";
import { training } from "./training.js";

/* The controls that train the network on the page's examples, and the charts of its loss and its right answers. */
export const trainingPanel = (() => {
  const FRAME_BUDGET = 10; // milliseconds of a frame for steps, of the 16 that 60 frames a second leave
  const MOST_BATCH = 10;
  const MILLISECONDS_A_MEASURE = 50; // while it plays, or five times what measuring took, so that a large network trains too
  const PACES = { slow: 500, frame: 0, fast: 0 }; // milliseconds between two steps
  const byId = (name) => document.getElementById(`inspector-${name}`);

  // model gets `layers` and `settings`; changed(isPlaying) is called after each of their changes.
  function make(model, changed) {
    const { config, examples } = model;
    const loss = chart.make("Mean loss of the page's examples", ["train", "test"]);
    const right = chart.make("Right answers, in percent", ["train", "test"], { ...chart.grown, y: [0, 100], format: String });
    const panel = { trainer: null, playing: null, lastStep: 0, nextMeasure: 0, history: [], hasDrawing: false };
    byId("charts").replaceChildren(loss.element, right.element);

    function measure() {
      const begun = performance.now();
      const found = [examples.train, examples.sampled].map((each) => training.evaluate(config, model.layers, each));
      const { numSteps } = panel.trainer;
      loss.add(numSteps, found.map((each) => each.loss));
      right.add(numSteps, found.map((each, i) => (100 * each.right) / [examples.train, examples.sampled][i].length));
      const told = found.map((each, i) => {
        const of = [examples.train, examples.sampled][i];
        return `${each.right} of ${of.length} ${["train", "test"][i]} examples are right, their mean loss is ${pictures.written(each.loss)}`;
      });
      const ended = performance.now();
      panel.nextMeasure = ended + Math.max(MILLISECONDS_A_MEASURE, 5 * (ended - begun));
      byId("trained").textContent = `Step ${pictures.counted(numSteps)}: ${told.join("; ")}.`;
    }

    function reset() {
      stop();
      model.layers = byId("origin").value === "start" ? model.start : model.trained;
      panel.trainer = training.makeTrainer(config, model.layers, examples.train);
      panel.history = [];
      loss.clear();
      right.clear();
      measure();
      changed(false);
    }

    // Train on an example of the user's too, with the next step.
    function add(example) {
      examples.train.push(example);
      panel.trainer.waiting.unshift(example);
      panel.hasDrawing = true;
      measure();
      changed(panel.playing !== null);
    }

    function stepOnce() {
      panel.trainer.step(model.settings);
      model.layers = panel.trainer.layers;
      const settings = JSON.stringify(model.settings);
      const last = panel.history.at(-1);
      if (last && JSON.stringify(last.settings) === settings) last.count += 1;
      else panel.history.push({ count: 1, settings: JSON.parse(settings) });
    }

    function step(count) {
      for (let done = 0; done < count; done++) {
        stepOnce();
        measure();
      }
      changed(false);
    }

    // A frame takes as many steps as the pace and the time allow.
    function playFrame(now) {
      const pace = byId("pace").value;
      if (now - panel.lastStep >= PACES[pace]) {
        panel.lastStep = now;
        const begun = performance.now();
        do stepOnce();
        while (pace === "fast" && performance.now() - begun < FRAME_BUDGET);
        if (begun > panel.nextMeasure) measure();
        changed(true);
      }
      panel.playing = requestAnimationFrame(playFrame);
    }

    function setPlaying(frame) {
      panel.playing = frame;
      byId("train").textContent = frame === null ? "Train" : "Pause";
      byId("train").setAttribute("aria-pressed", String(frame !== null));
    }

    function stop() {
      if (panel.playing === null) return;
      cancelAnimationFrame(panel.playing);
      setPlaying(null);
      measure();
      changed(false);
    }

    // Begin anew, and take steps with the settings that they were taken with, as in address.js.
    function repeat(from, steps) {
      if (model.start !== null) byId("origin").value = from;
      reset();
      for (const { count, settings } of steps) {
        for (const name of ["weights_rate", "biases_rate"]) byId(name).value = String(Math.log2(settings[name] / config[name]));
        for (const name of ["batch_size", "rule"]) byId(name).value = String(settings[name]);
        readSettings();
        Object.assign(model.settings, settings);
        step(count);
      }
    }

    function readSettings() {
      for (const name of ["weights_rate", "biases_rate"]) {
        model.settings[name] = config[name] * 2 ** Number(byId(name).value);
        byId(`${name}-value`).textContent = pictures.written(model.settings[name]);
        byId(name).setAttribute("aria-valuetext", pictures.written(model.settings[name]));
      }
      model.settings.batch_size = Number(byId("batch_size").value);
      byId("batch_size-value").textContent = byId("batch_size").value;
      model.settings.rule = byId("rule").value;
    }

    function listen() {
      byId("step").addEventListener("click", () => (stop(), step(1)));
      byId("ten").addEventListener("click", () => (stop(), step(10)));
      byId("train").addEventListener("click", () =>
        panel.playing === null ? setPlaying(requestAnimationFrame(playFrame)) : stop(),
      );
      byId("reset").addEventListener("click", reset);
      byId("origin").addEventListener("change", reset);
      for (const name of ["weights_rate", "biases_rate", "batch_size", "rule"]) {
        byId(name).addEventListener(name === "rule" ? "change" : "input", () => {
          readSettings();
          changed(panel.playing !== null);
        });
      }
    }

    byId("batch_size").value = String(Math.min(config.batch_size, MOST_BATCH));
    byId("rule").value = config.step === "autodiff" ? "autodiff" : "manual";
    if (model.start === null) byId("origin").querySelector("[value=start]").remove();
    readSettings();
    listen();
    return Object.assign(panel, { step, add, repeat, reset, stop });
  }

  return { make };
})();
