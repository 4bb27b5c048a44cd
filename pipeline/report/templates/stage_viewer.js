import { diagram } from "./diagram.js";
import { explain } from "./explain.js";
import { page } from "./page.js";
import { pageModel } from "./page_model.js";
import { pictures } from "./pictures.js";
import { stages } from "./stages.js";

/* The viewer of the stages of an example: {model, picture, changed, stages, place, timer, example, shown}. changed() is called
   when another example or stage is shown. */
export const stageViewer = (() => {
  const SECONDS_A_STAGE = 2;
  const STEPS_OF_KEYS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
  const { byId, on, say } = page;

  // Explain the place of the picture that is pointed at.
  function explainPoint({ picture, shown, stages, place }) {
    const { point } = picture.view;
    if (!point) return;
    const { title, lines } = explain.at(shown, point, diagram.isBack(stages[place]));
    const list = pictures.make("ul", {}, ...lines.map((line) => pictures.make("li", {}, line)));
    byId("explained").replaceChildren(pictures.make("strong", {}, title), list);
  }

  // isMoving: the products of the stage flow through the picture.
  function show(viewer, isMoving = false) {
    const { place, shown } = viewer;
    const { length } = viewer.stages;
    const stage = viewer.stages[place];
    const { said, figures } = stages.describe(shown, stage);
    viewer.stages.forEach(({ item }, i) => (item.hidden = i !== place));
    say("title", stage.title);
    say("said", said);
    byId("lines").replaceChildren(...stage.item.querySelector(".lines").cloneNode(true).childNodes);
    say("count", `stage ${place + 1} of ${length}`);
    byId("pictures").replaceChildren(...figures);
    Object.assign(byId("progress"), { max: length, value: place + 1 });
    byId("back").disabled = place === 0;
    byId("next").disabled = place === length - 1;
    if (document.activeElement.matches(":disabled")) byId("stage").focus(); // or the arrow keys would do nothing
    viewer.picture.show(shown, stage, isMoving);
    explainPoint(viewer);
    viewer.changed();
  }

  function stop(viewer) {
    clearInterval(viewer.timer);
    viewer.timer = null;
    Object.assign(byId("play"), { textContent: "Play", ariaPressed: "false" });
  }

  function go(viewer, steps) {
    viewer.place = Math.min(Math.max(viewer.place + steps, 0), viewer.stages.length - 1);
    show(viewer, steps !== 0);
  }

  function play(viewer) {
    if (viewer.timer !== null) return stop(viewer);
    const isLast = () => viewer.place === viewer.stages.length - 1;
    if (isLast()) go(viewer, -Infinity);
    Object.assign(byId("play"), { textContent: "Pause", ariaPressed: "true" });
    viewer.timer = setInterval(() => {
      go(viewer, 1);
      if (isLast()) stop(viewer);
    }, 1000 * SECONDS_A_STAGE);
  }

  // Compute the pass anew, for another example or other parameters; the stage stays.
  function inspect(viewer, example = viewer.example) {
    Object.assign(viewer, { example, shown: pageModel.propagate(viewer.model, example) });
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
    on("back", "click", () => goByHand(-1));
    on("next", "click", () => goByHand(1));
    on("play", "click", () => play(viewer));
    document.querySelectorAll("[data-stage]").forEach((button) => {
      button.addEventListener("click", () => {
        goByHand(button.dataset.stage - 1 - viewer.place);
        byId("stage").scrollIntoView();
      });
    });
    on("pictures", "point", ({ detail }) => viewer.picture.point(detail));
    document.addEventListener("keydown", (event) => {
      const steps = stepsOf(event);
      if (!steps) return;
      goByHand(steps);
      event.preventDefault();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => show(viewer));
  }

  function make(model) {
    const viewer = { model, stages: stages.list(), place: 0, timer: null, example: null, shown: null, changed: () => {} };
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
