import { chart } from "./chart.js";
import { page } from "./page.js";
import { pictures } from "./pictures.js";
import { sentences } from "./sentences.js";
import { training } from "./training.js";

/* The controls that train the network on the page's examples, and the charts of its loss and its right answers. The panel sets
   the model's `layers` and `settings`, and calls changed(isPlaying) after each of their changes. */
export const trainingPanel = (() => {
  const FRAME_BUDGET = 10; // milliseconds of a frame for steps, of the 16 that 60 frames a second leave
  const MOST_BATCH = 10;
  const MILLISECONDS_A_MEASURE = 50; // while it plays, or five times what measuring took, so that a large network trains too
  const MOST_MEASURED = 20; // steps of one call
  const LEAST_SHARE = 0.01; // of the outputs' differences that is left in their errors, below which the page says so
  const PACES = { slow: 500, frame: 0, fast: 0 }; // milliseconds between two steps
  const RATES = ["weights_rate", "biases_rate"];
  const { byId, on, say, fill } = page;

  // Put the loss and the right answers of both splits on the charts and in words.
  function measure(panel) {
    const begun = performance.now();
    const { config, examples, layers } = panel.model;
    const { numSteps } = panel.trainer;
    const found = [examples.train, examples.sampled].map((each) => ({ ...training.evaluate(config, layers, each), count: each.length }));
    const told = found.map(({ loss, right, count }) => [right, count, pictures.written(loss)]);
    panel.loss.add(numSteps, found.map(({ loss }) => loss));
    panel.right.add(numSteps, found.map(({ right, count }) => right / count));
    const shown = sentences.describeNetwork(byId("origin").selectedOptions[0].dataset.name, numSteps);
    const [{ loss, share, right, count }] = found;
    fill("trained", shown, ...told.flat());
    say("brief", `${shown}: train loss ${told[0][2]}`);
    byId("saturated").hidden = !(share < LEAST_SHARE) || right === count;
    byId("diverged").hidden = Number.isFinite(loss);
    const ended = performance.now();
    panel.nextMeasure = ended + Math.max(MILLISECONDS_A_MEASURE, 5 * (ended - begun));
  }

  function reset(panel) {
    const { model } = panel;
    stop(panel);
    model.layers = model.origins[byId("origin").value];
    panel.trainer = training.makeTrainer(model.config, model.layers, model.examples.train);
    panel.history = [];
    panel.loss.clear();
    panel.right.clear();
    measure(panel);
    panel.changed(false);
  }

  // Train on an example of the user's too, with the next step.
  function add(panel, example) {
    panel.model.examples.train.push(example);
    panel.trainer.waiting.unshift(example);
    panel.hasDrawing = true;
    measure(panel);
    panel.changed(panel.playing !== null);
  }

  function stepOnce({ model, trainer, history }) {
    trainer.step(model.settings);
    model.layers = trainer.layers;
    const last = history.at(-1);
    if (last && JSON.stringify(last.settings) === JSON.stringify(model.settings)) last.count += 1;
    else history.push({ count: 1, settings: { ...model.settings } });
  }

  // Take steps, and put the last MOST_MEASURED of them on the charts.
  function step(panel, count) {
    for (let done = 1; done <= count; done++) {
      stepOnce(panel);
      if (count - done < MOST_MEASURED) measure(panel);
    }
    panel.changed(false);
  }

  // A frame takes as many steps as the pace and the time allow, and none where isThere() is true.
  function playFrame(panel, now) {
    const pace = byId("pace").value;
    if (now - panel.lastStep >= PACES[pace]) {
      panel.lastStep = now;
      const begun = performance.now();
      do {
        if (panel.isThere()) return stop(panel);
        stepOnce(panel);
      } while (pace === "fast" && performance.now() - begun < FRAME_BUDGET);
      if (begun > panel.nextMeasure) measure(panel);
      panel.changed(true);
    }
    requestFrame(panel);
  }

  const requestFrame = (panel) => (panel.playing = requestAnimationFrame((now) => playFrame(panel, now)));
  const showPlaying = (textContent, ariaPressed) => Object.assign(byId("train"), { textContent, ariaPressed });
  const never = () => false;

  function play(panel, isThere = never) {
    panel.isThere = isThere;
    requestFrame(panel);
    showPlaying("Pause", "true");
  }

  function stop(panel) {
    if (panel.playing === null) return;
    cancelAnimationFrame(panel.playing);
    panel.playing = null;
    showPlaying("Train", "false");
    measure(panel);
    panel.changed(false);
  }

  // Begin anew, and take steps with the settings that they were taken with, as in address.js.
  function repeat(panel, from, steps) {
    const { model } = panel;
    if (model.origins[from]) byId("origin").value = from;
    reset(panel);
    for (const { count, settings } of steps) {
      for (const name of RATES) byId(name).value = Math.log2(settings[name] / model.config[name]);
      for (const name of ["batch_size", "rule"]) byId(name).value = settings[name];
      Object.assign(model.settings, settings);
      showSettings(model.settings);
      step(panel, count);
    }
  }

  // The sliders of the rates are powers of two of the run's rates.
  function readSettings({ config, settings }) {
    for (const name of RATES) settings[name] = config[name] * 2 ** byId(name).value;
    settings.batch_size = Number(byId("batch_size").value);
    settings.rule = byId("rule").value;
    showSettings(settings);
  }

  // Say the settings in words; a rate from the address may lie between two places of its slider.
  function showSettings(settings) {
    for (const name of RATES) {
      const text = pictures.written(settings[name]);
      document.querySelectorAll(`[data-rate=${name}]`).forEach((each) => (each.textContent = text));
      byId(name).ariaValueText = text;
    }
    say("batch_size-value", settings.batch_size);
    fill("step-said", `${sentences.describeBatch(settings.batch_size)} ${settings.batch_size === 1 ? "goes" : "go"}`);
  }

  function listen(panel) {
    const stepBy = (count) => () => {
      stop(panel);
      step(panel, count);
    };
    on("step", "click", stepBy(1));
    on("ten", "click", stepBy(10));
    on("train", "click", () => (panel.playing === null ? play(panel) : stop(panel)));
    on("reset", "click", () => reset(panel));
    on("origin", "change", () => reset(panel));
    for (const name of [...RATES, "batch_size", "rule"]) {
      on(name, name === "rule" ? "change" : "input", () => {
        readSettings(panel.model);
        panel.changed(panel.playing !== null);
      });
    }
  }

  function make(model, changed) {
    const panel = { model, changed, trainer: null, playing: null, lastStep: 0, nextMeasure: 0, history: [], hasDrawing: false, isThere: never };
    const splits = ["train", "test"];
    panel.loss = chart.make("Mean loss of the page's examples", splits);
    panel.right = chart.make("Right answers", splits, { y: { low: 0, high: 1, format: chart.formatShare } });
    byId("charts").replaceChildren(panel.loss.element, panel.right.element);
    byId("batch_size").value = Math.min(model.config.batch_size, MOST_BATCH);
    if (model.config.step === "autodiff") byId("rule").value = "autodiff";
    if (model.start === null) {
      byId("origin").querySelector("[value=start]").remove();
      byId("origin").value = "trained";
    }
    readSettings(model);
    listen(panel);
    return Object.assign(panel, {
      step: (count) => step(panel, count),
      add: (example) => add(panel, example),
      repeat: (from, steps) => repeat(panel, from, steps),
      reset: () => reset(panel),
      playUntil(isThere) {
        stop(panel);
        play(panel, isThere);
      },
    });
  }

  return { make };
})();
