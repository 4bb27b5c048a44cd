import { chart } from "./chart.js";

/* The learning curves: the values at a step that a pointer or the arrow keys choose, and a closer look at a range of steps. The page
   draws the curves without script too. A figure is {svg, group, drawn, lines, whole, y, said}, with a line for each run; a range is
   {low, high}, in steps. */
export const curve = (() => {
  const MOVES = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10, Home: -Infinity, End: Infinity };
  const ZOOMS = { "+": 0.5, "=": 0.5, "-": 2, Escape: Infinity, 0: Infinity };
  const LEAST_DRAG = 10; // in the units of the drawing, below which a pointer has not chosen a range

  const nearest = (steps, step) =>
    steps.reduce((best, each) => (Math.abs(each - step) < Math.abs(best - step) ? each : best), Infinity);
  const longest = (lists) => lists.reduce((most, each) => (each.length > most.length ? each : most));

  // Return a range of `factor` times the steps about a step, within the whole; of at least so many steps.
  function zoom({ low, high }, whole, step, factor, least) {
    const size = Math.min(Math.max(factor * (high - low), least), whole.high - whole.low);
    const begin = Math.min(Math.max(step - size / 2, whole.low), whole.high - size);
    return { low: begin, high: begin + size };
  }

  const isWhole = ({ range, whole }) => range.low === whole.low && range.high === whole.high;

  // Return the part of a line in a range, to its ends.
  function within({ low, high }, points) {
    const at = (step) => {
      const next = points.findIndex(([each]) => each > step);
      if (next < 1) return [];
      const [[before, from], [after, to]] = points.slice(next - 1);
      return [[step, from + ((to - from) * (step - before)) / (after - before)]];
    };
    return [...at(low), ...points.filter(([step]) => step >= low && step <= high), ...at(high)];
  }

  function draw(state, figure) {
    const { range, dragged, chosen } = state;
    const x = { ...range, format: chart.formatNumber };
    const lines = figure.lines.map((points) => within(range, points));
    const y = isWhole(state) ? figure.y : chart.fit(lines.flat().map(([, value]) => value), figure.y.format);
    const [begin, end] = dragged.map((at) => chart.xAt(x, at)).sort((a, b) => a - b);
    const dots = lines.map((points, i) => points.find(([step]) => step === chosen[i]));
    figure.group.innerHTML =
      (isWhole(state) ? figure.drawn : chart.drawTicks(x, y) + chart.drawLines(x, y, lines)) +
      (end > begin ? `<rect class="chosen" x="${begin}" width="${end - begin}" y="12" height="212"/>` : "") +
      chart.drawDots(x, y, dots);
  }

  // Say the values of every run at the step that is chosen of it; the first step of a run has no loss yet.
  function say({ places, figures, step, chosen }) {
    places.forEach((place, i) => {
      const valuesOf = ({ lines, said, y }) =>
        lines[i].filter(([at]) => at === chosen[i]).map(([, value]) => said.replace("{}", y.format(value)));
      place.textContent = `step ${chart.formatNumber(chosen[i])}: ${figures.flatMap(valuesOf).join(", ")}`;
    });
    const ariaValueText = places.map(({ textContent }) => textContent).join("; ");
    for (const { svg } of figures) Object.assign(svg, { ariaValueNow: step, ariaValueText });
  }

  function show(state, changes) {
    Object.assign(state, changes);
    if (state.step !== null) {
      state.chosen = state.runs.map((steps) => nearest(steps, state.step));
      say(state);
    }
    state.figures.forEach((figure) => draw(state, figure));
  }

  // Go some reports on from the step that is shown; the range follows.
  function move(state, count) {
    const { range, whole, runs, least } = state;
    const steps = longest(runs);
    const now = state.step === null ? -1 : steps.indexOf(nearest(steps, state.step));
    const step = steps[Math.min(Math.max(now + count, 0), steps.length - 1)];
    show(state, { step, range: step < range.low || step > range.high ? zoom(range, whole, step, 1, least) : range });
  }

  function zoomBy(state, factor) {
    const { range, whole, step, least } = state;
    show(state, { range: zoom(range, whole, step ?? (range.low + range.high) / 2, factor, least) });
  }

  function listen(state, { svg }) {
    const stepAt = ({ clientX }) => {
      const { left, width } = svg.getBoundingClientRect();
      const step = chart.valueAt(state.range, ((clientX - left) / width) * svg.viewBox.baseVal.width);
      return Math.min(Math.max(step, state.range.low), state.range.high);
    };
    svg.addEventListener("pointerdown", (event) => {
      if (event.button) return; // another one than the first
      const step = stepAt(event);
      if (event.pointerType === "mouse") svg.setPointerCapture(event.pointerId); // a finger scrolls or taps instead
      show(state, { step, dragged: event.pointerType === "mouse" ? [step, step] : [] });
    });
    svg.addEventListener("pointermove", (event) => {
      const step = stepAt(event);
      show(state, { step, dragged: state.dragged.length ? [state.dragged[0], step] : [] });
    });
    svg.addEventListener("pointerup", () => {
      const [low, high] = [...state.dragged].sort((a, b) => a - b);
      const isChosen = chart.xAt(state.range, high) - chart.xAt(state.range, low) > LEAST_DRAG;
      show(state, { dragged: [], range: isChosen ? zoom({ low, high }, state.whole, (low + high) / 2, 1, state.least) : state.range });
    });
    svg.addEventListener("pointercancel", () => show(state, { dragged: [] }));
    svg.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      if (event.key in MOVES) move(state, MOVES[event.key]);
      else if (event.key in ZOOMS) zoomBy(state, ZOOMS[event.key]);
      else return;
      event.preventDefault();
    });
  }

  // Read a figure; a screen reader gets it as a slider over the steps, whose value is what is said.
  function readFigure(element) {
    const { lines, x, y, said } = JSON.parse(element.dataset.curve);
    const svg = element.querySelector("svg");
    const group = svg.querySelector("g");
    const format = y.percent ? chart.formatShare : chart.formatNumber;
    Object.assign(svg, { role: "slider", tabIndex: 0, ariaValueMin: x.low, ariaValueMax: x.high, ariaValueNow: x.low });
    return { svg, group, drawn: group.innerHTML, lines, whole: x, y: { ...y, format }, said };
  }

  function begin() {
    const figures = Array.from(document.querySelectorAll("[data-curve]"), readFigure);
    if (!figures.some(({ lines }) => lines.flat().length)) return;
    const [{ whole }] = figures; // the steps are the same of all
    const runs = figures[0].lines.map((_, i) => longest(figures.map(({ lines }) => lines[i])).map(([step]) => step));
    const places = [...document.querySelectorAll(".curve-said")];
    const steps = longest(runs);
    const least = 4 * Math.max(1, ...steps.slice(1).map((step, i) => step - steps[i])); // a range has points to show
    const state = { figures, runs, places, whole, least, range: whole, step: null, chosen: [], dragged: [] };
    figures.forEach((figure) => listen(state, figure));
    const controls = document.getElementById("curve-controls");
    controls.hidden = false;
    controls.querySelectorAll("button").forEach((button) => {
      button.addEventListener("click", () => zoomBy(state, Number(button.value)));
    });
  }

  if (typeof document !== "undefined") begin(); // not in the tests by Node.js

  return { nearest, zoom, within };
})();
