import { checkPanel } from "./check_panel.js";
import { drawing } from "./drawing.js";
import { network } from "./network.js";
import { pictures } from "./pictures.js";
import { stages } from "./stages.js";
import { start } from "./start.js";
import { trainingPanel } from "./training_panel.js";
import { unitPanel } from "./unit_panel.js";

/* The inspector: the user selects or draws an example, steps through its forward and backward pass, and trains. */
export const inspector = (() => {
  const SECONDS_A_STAGE = 2;
  const MILLISECONDS_A_VIEW = 200; // while it trains: the stage is shown anew as often
  const byId = (name) => document.getElementById(`inspector-${name}`);

  // Return the model: what the run gave, and `layers` and `settings` as they are now.
  function modelFrom(data) {
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
      layers: drawn ?? trained,
      settings: {},
    };
    return Object.assign(model, { examples: examplesFrom(data, model) });
  }

  // Return the examples of the page: {train, test, sampled}, of which sampled are test examples that were not selected by their answers.
  function examplesFrom(data, model) {
    const pixels = network.bytesOf(data.images);
    const size = data.height * data.width;
    const all = [...data.train, ...data.test].map((given, i) => exampleOf(model, given, pixels.subarray(i * size, (i + 1) * size)));
    const test = all.slice(data.train.length);
    return { train: all.slice(0, data.train.length), test, sampled: test.filter((_, i) => data.test[i].sampled) };
  }

  function exampleOf(model, given, pixels) {
    const x = network.scale(pixels);
    const answer = given.predicted ?? network.largest(network.forward(model.functions, model.trained, x).a.at(-1));
    const [label, answered] = [model.classNames[given.label], model.classNames[answer]];
    const right = given.label === answer;
    return {
      name: given.name,
      title: `${given.name}, an example of ${label}, ${right ? "answered so" : `answered ${answered}`} by the trained network`,
      pixels,
      x,
      y: network.oneHot(given.label, model.classNames.length),
      target: given.label,
      right,
    };
  }

  // Return an example as it passes through the network, and after a step of this example alone.
  function passOf(model, example) {
    const { config, functions, layers, settings } = model;
    const pass = network.propagate(functions, layers, example.x, example.y);
    const next = network.descend({ ...config, ...settings }, layers, pass.gradients.slice(1));
    return { model, example, pass, y: example.y, next, after: network.propagate(functions, next, example.x, example.y) };
  }

  // Return the viewer: the current stage, and functions that change it.
  function makeViewer(model) {
    const state = { stages: [], place: 0, timer: null, example: null, shown: null, viewed: 0 };

    function show() {
      const stage = state.stages[state.place];
      byId("title").textContent = stage.title;
      byId("equation").replaceChildren(...stage.formulas());
      byId("article").textContent = stage.article;
      byId("code").textContent = stage.code;
      byId("why").textContent = stage.why;
      byId("said").textContent = stage.said;
      byId("pictures").replaceChildren(...stage.show());
      byId("count").textContent = `stage ${state.place + 1} of ${state.stages.length}`;
      byId("progress").max = state.stages.length;
      byId("progress").value = state.place + 1;
      byId("back").disabled = state.place === 0;
      byId("next").disabled = state.place === state.stages.length - 1;
      if (["back", "next"].some((name) => byId(name).disabled && document.activeElement === byId(name))) byId("stage").focus();
    }

    function stop() {
      clearInterval(state.timer);
      state.timer = null;
      byId("play").textContent = "Play";
      byId("play").setAttribute("aria-pressed", "false");
    }

    function go(steps) {
      state.place = Math.min(Math.max(state.place + steps, 0), state.stages.length - 1);
      show();
    }

    function play() {
      if (state.timer !== null) return stop();
      if (state.place === state.stages.length - 1) go(-state.place);
      byId("play").textContent = "Pause";
      byId("play").setAttribute("aria-pressed", "true");
      state.timer = setInterval(() => {
        go(1);
        if (state.place === state.stages.length - 1) stop();
      }, 1000 * SECONDS_A_STAGE);
    }

    // Compute the pass anew, for another example or other parameters; the stage stays.
    function inspect(example = state.example) {
      state.example = example;
      state.shown = passOf(model, example);
      state.stages = stages.listStages(state.shown);
      state.viewed = performance.now();
      go(0);
    }


    return { state, inspect, show, go, play, stop };
  }

  // Add a choice for every example of a split.
  function addSpecimens(name, examples, model, choose) {
    const choices = examples.map((example) => {
      const radio = pictures.make("input", { type: "radio", name: "specimen", value: example.name });
      radio.setAttribute("aria-label", example.title);
      radio.addEventListener("change", () => choose(example));
      const shown = pictures.grey(example.x, model.height, model.width, "");
      shown.setAttribute("aria-hidden", "true");
      const className = `specimen ${example.right ? "right" : "wrong"}`;
      return pictures.make("label", { className, title: example.title }, radio, shown);
    });
    byId(name).replaceChildren(...choices);
  }

  function addPad(model, choose) {
    const target = byId("target");
    target.replaceChildren(
      ...model.classNames.map((name, label) => pictures.make("option", { value: String(label), textContent: name })),
    );
    let pixels = null;
    const use = () => {
      if (pixels === null) return;
      const label = Number(target.value);
      const x = network.scale(pixels);
      const answer = network.largest(network.forward(model.functions, model.trained, x).a.at(-1));
      byId("drawn").textContent = `The trained network answers ${model.classNames[answer]}.`;
      const title = `Your drawing, meant to be ${model.classNames[label]}`;
      choose({ name: null, title, pixels, x, y: network.oneHot(label, model.classNames.length), target: label });
    };
    byId("pad").classList.toggle("light", model.style.background === "light");
    const pad = drawing.makePad(byId("pad"), model.height, model.width, () => {
      pixels = drawing.prepare(drawing.readCanvas(byId("pad")), model.height, model.width, model.style);
      use();
    });
    byId("clear").addEventListener("click", () => {
      pad.clear();
      pixels = null;
      byId("drawn").textContent = "";
    });
    target.addEventListener("change", use);
  }

  function listen(viewer) {
    byId("back").addEventListener("click", () => (viewer.stop(), viewer.go(-1)));
    byId("next").addEventListener("click", () => (viewer.stop(), viewer.go(1)));
    byId("play").addEventListener("click", viewer.play);
    const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    byId("stage").addEventListener("keydown", (event) => {
      if (!(event.key in steps) || event.ctrlKey || event.altKey || event.metaKey) return;
      viewer.stop();
      viewer.go(steps[event.key]);
      event.preventDefault();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", viewer.show);
  }

  function begin() {
    const embedded = byId("data");
    if (embedded === null) return null;
    const model = modelFrom(JSON.parse(embedded.textContent));
    const viewer = makeViewer(model);
    const { train, test } = model.examples;
    const views = { panels: [] };
    const panel = trainingPanel.make(model, (isPlaying) => {
      if (isPlaying && performance.now() - viewer.state.viewed < MILLISECONDS_A_VIEW) return;
      viewer.inspect();
      views.panels.forEach((each) => each.show());
    });
    const nextBatch = () => panel.trainer.nextBatch(model.settings.batch_size);
    const check = checkPanel.make(model, nextBatch);
    const unit = unitPanel.make(model, nextBatch);
    views.panels = [check, unit];
    addSpecimens("test", test, model, viewer.inspect);
    addSpecimens("train-examples", train, model, viewer.inspect);
    const radioOf = ({ name }) => document.querySelector(`#inspector-specimens input[value="${name}"]`);
    addPad(model, (example) => {
      document.querySelectorAll("#inspector-specimens input:checked").forEach((radio) => (radio.checked = false));
      viewer.inspect(example);
    });
    listen(viewer);
    const first = test.find((example) => !example.right) ?? test[0]; // begin with a mistake, if there is one
    radioOf(first).checked = true;
    byId("root").hidden = false;
    viewer.state.example = first;
    panel.reset();
    return { model, viewer, panel, check, unit };
  }

  return { started: begin() };
})();
