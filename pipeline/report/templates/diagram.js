import { layout } from "./layout.js";
import { pictures } from "./pictures.js";
import { stages } from "./stages.js";

/* The network as a picture: the input as an image, units as nodes, weights as edges. In a forward stage products flow along the
   edges to the right, in a backward stage to the left. Red is positive and blue is negative, as everywhere on the page. */
export const diagram = (() => {
  const MILLISECONDS = 900; // of the flow of a stage
  const MOST_DOTS = 80;
  const REACH = 7; // pixels from a place within which a pointer finds it
  const FORWARD = ["input", "weighted", "value", "difference"];

  const samePlace = (one, other) => JSON.stringify(one) === JSON.stringify(other);
  const isBack = (stage) => !FORWARD.includes(stage.kind);

  // Return the number that an edge is drawn for, and its contribution to the sum of the stage.
  function edgeValues({ model, pass, next }, stage, { layer, unit, from }) {
    const at = unit * model.layers[layer - 1].inputs + from;
    const w = model.layers[layer - 1].weights[at];
    if (stage.kind === "gradient") return { drawn: pass.gradients[layer].weights[at], flow: pass.gradients[layer].weights[at] };
    if (stage.kind === "descent") return { drawn: next[layer - 1].weights[at] - w, flow: 0 };
    return { drawn: w, flow: w * (isBack(stage) ? pass.delta[layer][unit] : pass.a[layer - 1][from]) };
  }

  // Return whether the stage is about the edges to a layer: forward into it, back from the layer after that of the stage.
  function isActive(stage, layer, last) {
    if (stage.kind === "descent") return true;
    if (stage.kind === "delta") return stage.layer < last && layer === stage.layer + 1;
    return ["weighted", "gradient"].includes(stage.kind) && layer === stage.layer;
  }

  // Return the values of the units of a layer at a stage; null if the stage is before them.
  function unitValues({ pass }, stage, layer) {
    if (isBack(stage)) return stage.layer <= layer || stage.kind === "descent" ? pass.delta[layer] : pass.a[layer];
    if (stage.kind === "weighted" && stage.layer === layer) return pass.z[layer];
    return stage.layer >= layer ? pass.a[layer] : null;
  }

  function make(canvas, model, pointed) {
    const units = layout.chooseUnits(model.trained);
    const view = { shown: null, stage: null, placed: null, edges: [], point: null, begun: 0, frame: null };
    const context = canvas.getContext("2d");

    // Lay out for the width that the page gives to the canvas, in pixels of the screen.
    function resize() {
      const width = Math.max(280, canvas.parentElement.clientWidth);
      const height = Math.round(Math.min(440, Math.max(330, 0.62 * width)));
      const ratio = window.devicePixelRatio || 1;
      [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      view.size = { width, height };
      view.placed = layout.place(units, model, width, height);
    }

    const coloured = ({ red, blue }, value, opacity) => `rgba(${value > 0 ? red : blue}, ${opacity.toFixed(3)})`;

    function drawImage() {
      const { image } = view.placed;
      const pixels = pictures.grey(view.shown.pass.a[0], model.height, model.width, "");
      context.imageSmoothingEnabled = false;
      context.drawImage(pixels, image.x, image.y, image.width, image.height);
      const { point } = view;
      if (point?.kind === "unit" && point.layer === 1) {
        const { weights, inputs } = isBack(view.stage) ? view.shown.pass.gradients[1] : model.layers[0];
        const row = weights.slice(point.unit * inputs, (point.unit + 1) * inputs);
        context.drawImage(pictures.signed(row, model.height, model.width, "", "", pictures.largestOf(row)), image.x, image.y, image.width, image.height);
      }
      if (point?.kind === "pixel") {
        const cell = image.width / model.width;
        context.strokeRect(image.x + (point.from % model.width) * cell, image.y + Math.floor(point.from / model.width) * cell, cell, cell);
      }
    }

    const touches = (edge, point) =>
      point !== null &&
      (point.kind === "edge"
        ? edge.layer === point.layer && edge.unit === point.unit && edge.from === point.from
        : point.kind === "unit" && ((edge.layer === point.layer && edge.unit === point.unit) || (edge.layer === point.layer + 1 && edge.from === point.unit)));

    function drawEdges(colours) {
      const last = model.layers.length;
      for (let layer = 1; layer <= last; layer++) {
        const own = view.edges.filter((edge) => edge.layer === layer);
        const most = Math.max(1e-30, ...own.map(({ values }) => Math.abs(values.drawn)));
        const active = isActive(view.stage, layer, last);
        for (const edge of own) {
          const strength = Math.abs(edge.values.drawn) / most;
          const touched = touches(edge, view.point);
          const faint = active ? 1 : 0.35;
          context.strokeStyle = coloured(colours, edge.values.drawn, touched ? 1 : faint * (0.06 + 0.8 * strength));
          context.lineWidth = (touched ? 1.5 : 0.4) + 2.6 * strength;
          context.beginPath();
          context.moveTo(edge.start.x, edge.start.y);
          context.lineTo(edge.end.x, edge.end.y);
          context.stroke();
        }
      }
    }

    // Draw the largest contributions as dots on their way; gradients meet in the middle of their edge from both ends.
    function drawFlow(colours, done) {
      const active = view.edges.filter((edge) => isActive(view.stage, edge.layer, model.layers.length) && edge.values.flow !== 0);
      active.sort((one, other) => Math.abs(other.values.flow) - Math.abs(one.values.flow));
      const most = active.length ? Math.abs(active[0].values.flow) : 1;
      const ways = { weighted: [done], delta: [1 - done], gradient: [done / 2, 1 - done / 2] }[view.stage.kind] ?? [];
      for (const { start, end, values } of active.slice(0, MOST_DOTS)) {
        context.fillStyle = coloured(colours, values.flow, 0.9);
        for (const way of ways) {
          context.beginPath();
          const [x, y] = [start.x + way * (end.x - start.x), start.y + way * (end.y - start.y)];
          context.arc(x, y, 1 + 3.5 * Math.sqrt(Math.abs(values.flow) / most), 0, 7);
          context.fill();
        }
      }
    }

    function drawNodes(colours, done) {
      view.placed.nodes.forEach((nodes, i) => {
        const values = unitValues(view.shown, view.stage, i + 1);
        const most = values ? pictures.largestOf(values) : 1;
        const arriving = values && view.stage.layer === i + 1 && view.stage.kind !== "difference" ? done : 1;
        for (const { layer, unit, x, y, radius } of nodes) {
          context.beginPath();
          context.arc(x, y, radius, 0, 7);
          context.fillStyle = colours.paper;
          context.fill();
          if (values) {
            context.fillStyle = coloured(colours, values[unit], (arriving * Math.abs(values[unit])) / most);
            context.fill();
          }
          const pointed = view.point?.kind === "unit" && view.point.layer === layer && view.point.unit === unit;
          context.strokeStyle = pointed ? colours.ink : colours.faint;
          context.lineWidth = pointed ? 3 : 1;
          context.stroke();
          if (layer === model.layers.length) drawOutputName({ unit, x, y, radius }, values, colours);
        }
      });
    }

    function drawOutputName({ unit, x, y, radius }, values, colours) {
      const isTarget = unit === view.shown.example.target;
      const name = String(model.classNames[unit]).slice(0, values ? 6 : 12);
      context.fillStyle = isTarget ? colours.ink : colours.faint;
      context.font = `${isTarget ? "bold " : ""}${Math.min(12, 1.6 * radius + 2)}px sans-serif`;
      context.textAlign = "left";
      context.fillText(`${name}${isTarget ? " ◂" : ""} ${values ? pictures.written(values[unit]) : ""}`, x + radius + 4, y);
    }

    function drawTitles(colours) {
      context.font = "12px sans-serif";
      context.fillStyle = colours.faint;
      context.textAlign = "left";
      context.fillText("a₀, the input", view.placed.image.x, 10);
      context.textAlign = "center";
      view.placed.nodes.forEach((nodes, i) => {
        const l = i + 1;
        const many = nodes.length < model.layers[i].outputs ? ` (${nodes.length} of ${pictures.counted(model.layers[i].outputs)})` : "";
        const symbol = isBack(view.stage) && (view.stage.layer <= l || view.stage.kind === "descent") ? "∇z" : view.stage.kind === "weighted" && view.stage.layer === l ? "z" : "a";
        context.fillText(`${symbol}${stages.lower(l)}${many}`, nodes[0].x, 10);
      });
    }

    function draw(done) {
      const style = getComputedStyle(document.documentElement);
      const read = (name) => style.getPropertyValue(name).trim();
      const colours = { red: read("--red"), blue: read("--blue"), paper: read("--raised"), ink: read("--ink"), faint: read("--faint") };
      context.clearRect(0, 0, view.size.width, view.size.height);
      context.textBaseline = "middle";
      context.strokeStyle = colours.ink;
      context.lineWidth = 2;
      drawImage();
      drawEdges(colours);
      if (done < 1) drawFlow(colours, done);
      drawNodes(colours, done);
      drawTitles(colours);
    }

    function animate(now) {
      const done = Math.min(1, (now - view.begun) / MILLISECONDS);
      draw(done);
      view.frame = done < 1 ? requestAnimationFrame(animate) : null;
    }

    // Show a stage of an example; isMoving: let the stage's products flow, unless the user wishes for less motion.
    function show(shown, stage, isMoving) {
      if (!view.placed) resize();
      Object.assign(view, { shown, stage });
      view.edges = layout.listEdges(view.placed, model, shown.pass.a[0]).map((edge) => ({ ...edge, values: edgeValues(shown, stage, edge) }));
      canvas.setAttribute("aria-label", `The network at this stage: ${stage.title}. The up and down arrow keys go through its units.`);
      cancelAnimationFrame(view.frame);
      if (!isMoving || matchMedia("(prefers-reduced-motion: reduce)").matches) return draw(1);
      view.begun = performance.now();
      view.frame = requestAnimationFrame(animate);
    }

    function point(place) {
      if (samePlace(place, view.point)) return;
      view.point = place;
      if (view.frame === null || view.begun + MILLISECONDS < performance.now()) draw(1);
      pointed(place);
    }

    function findPlace(event) {
      const box = canvas.getBoundingClientRect();
      return layout.find(view.placed, view.edges, model, event.clientX - box.left, event.clientY - box.top, REACH);
    }

    function movePoint(steps) {
      const all = view.placed.nodes.flat();
      const now = all.findIndex(({ layer, unit }) => view.point?.layer === layer && view.point?.unit === unit);
      const { layer, unit } = all[Math.min(Math.max(now + steps, 0), all.length - 1)];
      point({ kind: "unit", layer, unit });
    }

    for (const kind of ["pointermove", "pointerdown"]) {
      canvas.addEventListener(kind, (event) => {
        const place = findPlace(event);
        if (place) point(place);
      });
    }
    canvas.addEventListener("keydown", (event) => {
      const steps = { ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (!steps) return;
      movePoint(steps);
      event.preventDefault();
    });
    window.addEventListener("resize", () => {
      resize();
      if (view.shown) show(view.shown, view.stage, false);
    });
    return { view, show, point };
  }

  return { isBack, make };
})();
