import { diagram } from "./diagram.js";
import { explain } from "./explain.js";
import { pageModel } from "./page_model.js";
import { pictures } from "./pictures.js";
import { stages } from "./stages.js";

/* The viewer of the stages of an example: {model, picture, changed, stages, place, timer, example, shown}. changed() is called
   when another example or stage is shown. */
export const stageViewer = (() => {
  const SECONDS_A_STAGE = 2;
  const STEPS_OF_KEYS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
  const byId = (name) => document.getElementById(`inspector-${name}`);

  // Explain the place of the picture that is pointed at.
  function explainPoint(viewer) {
    const place = viewer.picture.view.point;
    if (!place) return;
    const { title, lines } = explain.at(viewer.shown, place, diagram.isBack(viewer.stages[viewer.place]));
    const list = pictures.make("ul", {}, ...lines.map((line) => pictures.make("li", { textContent: line })));
    byId("explained").replaceChildren(pictures.make("strong", { textContent: title }), list);
  }

  // isMoving: the products of the stage flow through the picture.
  function show(viewer, isMoving = false) {
    const stage = viewer.stages[viewer.place];
    for (const name of ["title", "article", "code", "why", "said"]) byId(name).textContent = stage[name];
    byId("equation").replaceChildren(...stage.formulas());
    byId("pictures").replaceChildren(...stage.show());
    viewer.picture.show(viewer.shown, stage, isMoving);
    explainPoint(viewer);
    showPlace(viewer);
    viewer.changed();
  }

  function showPlace({ place, stages: { length } }) {
    byId("count").textContent = `stage ${place + 1} of ${length}`;
    Object.assign(byId("progress"), { max: length, value: place + 1 });
    byId("back").disabled = place === 0;
    byId("next").disabled = place === length - 1;
    if (["back", "next"].some((name) => byId(name).disabled && document.activeElement === byId(name))) byId("stage").focus();
  }

  function stop(viewer) {
    clearInterval(viewer.timer);
    viewer.timer = null;
    byId("play").textContent = "Play";
    byId("play").setAttribute("aria-pressed", "false");
  }

  function go(viewer, steps) {
    viewer.place = Math.min(Math.max(viewer.place + steps, 0), viewer.stages.length - 1);
    show(viewer, steps !== 0);
  }

  function play(viewer) {
    if (viewer.timer !== null) return stop(viewer);
    const isLast = () => viewer.place === viewer.stages.length - 1;
    if (isLast()) go(viewer, -Infinity);
    byId("play").textContent = "Pause";
    byId("play").setAttribute("aria-pressed", "true");
    viewer.timer = setInterval(() => {
      go(viewer, 1);
      if (isLast()) stop(viewer);
    }, 1000 * SECONDS_A_STAGE);
  }

  // Compute the pass anew, for another example or other parameters; the stage stays.
  function inspect(viewer, example = viewer.example) {
    const shown = pageModel.propagate(viewer.model, example);
    Object.assign(viewer, { example, shown, stages: stages.listStages(shown) });
    go(viewer, 0);
  }

  // Left and right work without focus too, while the stage is on the screen; other keys only in the stage.
  function stepsOf({ key, target, ctrlKey, altKey, metaKey }) {
    if (ctrlKey || altKey || metaKey || target.closest("input, select, textarea, .scroll, .strip")) return 0;
    const steps = STEPS_OF_KEYS[key] ?? 0;
    if (byId("stage").contains(target)) return steps;
    const { top, bottom } = byId("stage").getBoundingClientRect();
    const isSeen = top < innerHeight && bottom > 0;
    return target === document.body && isSeen && key.startsWith("Arrow") ? steps : 0;
  }

  function listen(viewer) {
    const goByHand = (steps) => {
      stop(viewer);
      go(viewer, steps);
    };
    byId("back").addEventListener("click", () => goByHand(-1));
    byId("next").addEventListener("click", () => goByHand(1));
    byId("play").addEventListener("click", () => play(viewer));
    byId("pictures").addEventListener("point", ({ detail }) => viewer.picture.point(detail));
    document.addEventListener("keydown", (event) => {
      const steps = stepsOf(event);
      if (!steps) return;
      goByHand(steps);
      event.preventDefault();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => show(viewer));
  }

  function make(model) {
    const viewer = { model, stages: [], place: 0, timer: null, example: null, shown: null, changed: () => {} };
    viewer.picture = diagram.make(byId("diagram"), model, () => explainPoint(viewer));
    listen(viewer);
    return Object.assign(viewer, {
      inspect: (example) => inspect(viewer, example),
      go: (steps) => go(viewer, steps),
      stop: () => stop(viewer),
    });
  }

  return { make };
})();
