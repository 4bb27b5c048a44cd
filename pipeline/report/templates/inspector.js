import { address } from "./address.js";
import { checkPanel } from "./check_panel.js";
import { drawingPad } from "./drawing_pad.js";
import { page } from "./page.js";
import { pageModel } from "./page_model.js";
import { pictures } from "./pictures.js";
import { ratePanel } from "./rate_panel.js";
import { stageViewer } from "./stage_viewer.js";
import { trainingPanel } from "./training_panel.js";
import { unitPanel } from "./unit_panel.js";

/* The inspector: the user selects or draws an example, steps through its forward and backward pass, and trains. */
export const inspector = (() => {
  const MILLISECONDS_A_VIEW = 200; // while it trains, or five times what showing the stage took
  const { byId, on } = page;
  const radios = () => [...byId("specimens").querySelectorAll("input")];

  // Add a choice for every example of a split.
  function addSpecimens(name, examples, { height, width }, choose) {
    const choices = examples.map((example) => {
      const { title, right } = example;
      const onchange = () => choose(example);
      const radio = pictures.make("input", { type: "radio", name: "specimen", value: example.name, ariaLabel: title, onchange });
      const shown = Object.assign(pictures.grey(example.x, height, width, ""), { ariaHidden: "true" });
      return pictures.make("label", { className: `specimen ${right ? "right" : "wrong"}`, title }, radio, shown);
    });
    byId(name).replaceChildren(...choices);
  }

  // Scroll the strip of an example so that it is seen; the page stays where it is.
  function reveal(radio) {
    const { offsetLeft, offsetWidth, parentElement: strip } = radio.parentElement;
    strip.scrollLeft = offsetLeft - (strip.clientWidth - offsetWidth) / 2;
  }

  // Return a function that shows what depends on the parameters; while training plays, it does so now and then.
  function makeUpdate(viewer, panels) {
    let next = 0;
    return (isPlaying) => {
      const begun = performance.now();
      if (isPlaying && begun < next) return;
      byId("root").ariaBusy = isPlaying; // so that a screen reader waits until it pauses
      viewer.inspect();
      panels.forEach((each) => each.show());
      next = performance.now() + Math.max(MILLISECONDS_A_VIEW, 5 * (performance.now() - begun));
    };
  }

  // A click on a unit of the picture, or Enter, shows it in full.
  function selectUnits(viewer, unit) {
    const select = () => {
      const { point } = viewer.picture.view;
      if (point?.kind === "unit") unit.select(point.layer, point.unit);
    };
    on("diagram", "click", select);
    on("diagram", "keydown", ({ key }) => key === "Enter" && select());
  }

  // Keep the state in the address, and take it from there. What was trained on a drawing has no address.
  function useAddress(viewer, panel, examples) {
    let written = null;

    viewer.changed = () => {
      if (panel.playing !== null || panel.hasDrawing || viewer.example.name === null) return;
      const { place, example } = viewer;
      const fragment = address.format({ example: example.name, stage: place + 1, from: byId("origin").value, steps: panel.history });
      if (fragment === written) return; // browsers refuse many changes in a short time
      written = fragment;
      history.replaceState(null, "", written);
    };

    function read() {
      const { hash } = location;
      const given = address.parse(hash);
      const example = given && examples.find(({ name }) => name === given.example);
      if (!example || hash === written) return;
      viewer.stop();
      if (given.steps) panel.repeat(given.from, given.steps);
      const radio = radios().find(({ value }) => value === example.name);
      radio.checked = true;
      reveal(radio);
      viewer.inspect(example);
      viewer.go(given.stage - 1 - viewer.place);
      document.getElementById("inspector").scrollIntoView();
    }

    window.addEventListener("hashchange", read);
    read();
  }

  function begin() {
    const embedded = byId("data");
    if (embedded === null) return null;
    const model = pageModel.read(JSON.parse(embedded.textContent));
    const { train, test } = model.examples;
    const viewer = stageViewer.make(model);
    const panels = [];
    const panel = trainingPanel.make(model, makeUpdate(viewer, panels));
    const nextBatch = () => panel.trainer.nextBatch(model.settings.batch_size);
    const unit = unitPanel.make(model, nextBatch);
    panels.push(ratePanel.make(model, nextBatch, panel.playUntil), checkPanel.make(model, nextBatch), unit);
    addSpecimens("test", test, model, viewer.inspect);
    addSpecimens("train-examples", train, model, viewer.inspect);
    const choose = (example) => {
      radios().forEach((radio) => (radio.checked = false));
      viewer.inspect(example);
    };
    drawingPad.make(model, choose, panel.add);
    selectUnits(viewer, unit);
    const first = Math.max(0, test.findIndex(({ right }) => !right)); // begin with a mistake, if there is one
    viewer.example = test[first];
    radios()[first].checked = true;
    byId("root").hidden = false;
    reveal(radios()[first]);
    panel.reset();
    useAddress(viewer, panel, [...test, ...train]);
    return { model, viewer, panel, unit };
  }

  return { started: begin() };
})();
