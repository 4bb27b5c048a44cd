import { address } from "./address.js";
import { checkPanel } from "./check_panel.js";
import { diagram } from "./diagram.js";
import { drawing } from "./drawing.js";
import { explain } from "./explain.js";
import { network } from "./network.js";
import { pictures } from "./pictures.js";
import { stages } from "./stages.js";
import { start } from "./start.js";
import { trainingPanel } from "./training_panel.js";
import { unitPanel } from "./unit_panel.js";

/* The inspector: the user selects or draws an example, steps through its forward and backward pass, and trains. */
export const inspector = (() => {
  const SECONDS_A_STAGE = 2;
  const MILLISECONDS_A_VIEW = 200; // while it trains, or five times what showing the stage took
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
    const state = { stages: [], place: 0, timer: null, example: null, shown: null };
    const picture = diagram.make(byId("diagram"), model, explainPoint);

    function explainPoint() {
      const place = picture.view.point;
      if (!place) return;
      const { title, lines } = explain.at(state.shown, place, diagram.isBack(state.stages[state.place]));
      const list = pictures.make("ul", {}, ...lines.map((line) => pictures.make("li", { textContent: line })));
      byId("explained").replaceChildren(pictures.make("strong", { textContent: title }), list);
    }

    // isMoving: the products of the stage flow through the picture.
    function show(isMoving = false) {
      const stage = state.stages[state.place];
      byId("title").textContent = stage.title;
      byId("equation").replaceChildren(...stage.formulas());
      byId("article").textContent = stage.article;
      byId("code").textContent = stage.code;
      byId("why").textContent = stage.why;
      byId("said").textContent = stage.said;
      byId("pictures").replaceChildren(...stage.show());
      picture.show(state.shown, stage, isMoving);
      explainPoint();
      byId("count").textContent = `stage ${state.place + 1} of ${state.stages.length}`;
      byId("progress").max = state.stages.length;
      byId("progress").value = state.place + 1;
      byId("back").disabled = state.place === 0;
      byId("next").disabled = state.place === state.stages.length - 1;
      viewer.changed?.();
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
      show(steps !== 0);
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
      go(0);
    }


    const viewer = { state, picture, inspect, show, go, play, stop, changed: null };
    return viewer;
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

  // Let the user draw, see the drawing as the network does, and add it to the train examples.
  function addPad(model, choose, train) {
    const target = byId("target");
    const drawn = { pixels: null, example: null };
    target.replaceChildren(
      ...model.classNames.map((name, label) => pictures.make("option", { value: String(label), textContent: name })),
    );
    const use = () => {
      byId("add").disabled = drawn.pixels === null;
      byId("prepared").replaceChildren();
      if (drawn.pixels === null) return;
      const label = Number(target.value);
      const x = network.scale(drawn.pixels);
      const answer = network.largest(network.forward(model.functions, model.trained, x).a.at(-1));
      byId("drawn").textContent = `The trained network answers ${model.classNames[answer]}.`;
      byId("prepared").replaceChildren(pictures.image("as the network gets it", x, model.height, model.width));
      const title = `Your drawing, meant to be ${model.classNames[label]}`;
      drawn.example = { name: null, title, pixels: drawn.pixels, x, y: network.oneHot(label, model.classNames.length), target: label, right: answer === label };
      choose(drawn.example);
    };
    byId("pad").classList.toggle("light", model.style.background === "light");
    const pad = drawing.makePad(byId("pad"), model.height, model.width, () => {
      drawn.pixels = drawing.prepare(drawing.readCanvas(byId("pad")), model.height, model.width, model.style);
      use();
    });
    byId("clear").addEventListener("click", () => {
      pad.clear();
      drawn.pixels = null;
      use();
      byId("drawn").textContent = "";
    });
    byId("add").addEventListener("click", () => {
      byId("add").disabled = true; // once: a further stroke makes another example
      byId("drawn").textContent = `It is one of the train examples now, as ${model.classNames[drawn.example.target]}, and in the next batch.`;
      train(drawn.example);
    });
    target.addEventListener("change", use);
  }

  const STEPS_OF_KEYS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };

  // Left and right work without focus too, while the stage is on the screen; other keys only in the stage.
  function stepsOf(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest("input, select, textarea, .scroll, .strip")) return 0;
    if (byId("stage").contains(event.target)) return STEPS_OF_KEYS[event.key] ?? 0;
    const { top, bottom } = byId("stage").getBoundingClientRect();
    const isSeen = top < innerHeight && bottom > 0;
    return event.target === document.body && isSeen && event.key.startsWith("Arrow") ? (STEPS_OF_KEYS[event.key] ?? 0) : 0;
  }

  function listen(viewer) {
    const go = (steps) => (viewer.stop(), viewer.go(steps));
    byId("back").addEventListener("click", () => go(-1));
    byId("next").addEventListener("click", () => go(1));
    byId("play").addEventListener("click", viewer.play);
    byId("pictures").addEventListener("point", ({ detail }) => viewer.picture.point(detail));
    document.addEventListener("keydown", (event) => {
      const steps = stepsOf(event);
      if (!steps) return;
      go(steps);
      event.preventDefault();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => viewer.show());
  }

  // Keep the state in the address, and take it from there.
  function useAddress(viewer, panel, examples, radioOf) {
    const state = { written: null };

    function write() {
      if (panel.playing !== null || !viewer.state.example?.name || panel.hasDrawing) return;
      const { place, example } = viewer.state;
      state.written = address.format({ example: example.name, stage: place + 1, from: byId("origin").value, steps: panel.history });
      history.replaceState(null, "", state.written);
    }

    function read() {
      const given = address.parse(decodeURIComponent(location.hash));
      const example = given && examples.find(({ name }) => name === given.example);
      if (!example || location.hash === state.written) return;
      if (new URLSearchParams(location.hash.slice(1)).has("stage")) panel.repeat(given.from, given.steps);
      radioOf(example).checked = true;
      radioOf(example).parentElement.scrollIntoView({ inline: "center", block: "nearest" });
      viewer.stop();
      viewer.inspect(example);
      viewer.go(given.stage - 1 - viewer.state.place);
      document.getElementById("inspector").scrollIntoView();
    }

    window.addEventListener("hashchange", read);
    read();
    return write;
  }

  function begin() {
    const embedded = byId("data");
    if (embedded === null) return null;
    const model = modelFrom(JSON.parse(embedded.textContent));
    const viewer = makeViewer(model);
    const { train, test } = model.examples;
    const views = { panels: [], next: 0 };
    const panel = trainingPanel.make(model, (isPlaying) => {
      const begun = performance.now();
      if (isPlaying && begun < views.next) return;
      viewer.inspect();
      views.panels.forEach((each) => each.show());
      views.next = performance.now() + Math.max(MILLISECONDS_A_VIEW, 5 * (performance.now() - begun));
    });
    const nextBatch = () => panel.trainer.nextBatch(model.settings.batch_size);
    const check = checkPanel.make(model, nextBatch);
    const unit = unitPanel.make(model, nextBatch);
    views.panels = [check, unit];
    for (const kind of ["click", "keydown"]) {
      byId("diagram").addEventListener(kind, (event) => {
        const { point } = viewer.picture.view;
        if (point?.kind === "unit" && (kind === "click" || event.key === "Enter")) unit.select(point.layer, point.unit);
      });
    }
    addSpecimens("test", test, model, viewer.inspect);
    addSpecimens("train-examples", train, model, viewer.inspect);
    const radioOf = ({ name }) => document.querySelector(`#inspector-specimens input[value="${name}"]`);
    const showDrawing = (example) => {
      document.querySelectorAll("#inspector-specimens input:checked").forEach((radio) => (radio.checked = false));
      viewer.inspect(example);
    };
    addPad(model, showDrawing, (example) => panel.add(example));
    listen(viewer);
    const first = test.find((example) => !example.right) ?? test[0]; // begin with a mistake, if there is one
    radioOf(first).checked = true;
    byId("root").hidden = false;
    viewer.state.example = first;
    panel.reset();
    viewer.changed = useAddress(viewer, panel, [...test, ...train], radioOf);
    return { model, viewer, panel, check, unit };
  }

  return { started: begin() };
})();
