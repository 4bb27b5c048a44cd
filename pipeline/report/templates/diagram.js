import { layout } from "./layout.js";
import { pictures } from "./pictures.js";
import { stages } from "./stages.js";

/* The network as a picture: the input as an image, units as nodes, weights as edges. In a forward stage products flow along the
   edges to the right, in a backward stage to the left. Red is positive and blue is negative, as everywhere on the page.
   A view holds what is drawn: {context, model, units, size, placed, shown, stage, edges, point, begun, frame}. */
export const diagram = (() => {
  const MILLISECONDS = 900; // of the flow of a stage
  const MOST_DOTS = 80;
  const FORWARD = ["input", "weighted", "value", "difference"];

  const isBack = (stage) => !FORWARD.includes(stage.kind);
  const hasError = (stage, layer) => isBack(stage) && (stage.layer <= layer || stage.kind === "descent");
  const isSum = (stage, layer) => stage.kind === "weighted" && stage.layer === layer;

  // Return the number that an edge is drawn for, and the product that flows along it.
  function valuesOf({ model, pass, next }, stage, { layer, unit, from }) {
    const at = unit * model.layers[layer - 1].inputs + from;
    const w = model.layers[layer - 1].weights[at];
    const gradient = pass.gradients[layer - 1].weights[at];
    if (stage.kind === "gradient") return { drawn: gradient, flow: gradient };
    if (stage.kind === "descent") return { drawn: next[layer - 1].weights[at] - w, flow: 0 };
    return { drawn: w, flow: w * (isBack(stage) ? pass.delta[layer][unit] : pass.a[layer - 1][from]) };
  }

  // Return whether a stage is about the edges to a layer; the error of a layer comes back along those to the next layer.
  function isActive(stage, layer) {
    if (stage.kind === "delta") return layer === stage.layer + 1;
    return stage.kind === "descent" || (["weighted", "gradient"].includes(stage.kind) && layer === stage.layer);
  }

  // Return the values of the units of a layer at a stage; null if the stage is before them.
  function unitValues({ pass }, stage, layer) {
    if (hasError(stage, layer)) return pass.delta[layer];
    if (isSum(stage, layer)) return pass.z[layer];
    return isBack(stage) || stage.layer >= layer ? pass.a[layer] : null;
  }

  const isEdge = ({ layer, unit, from }, point) => layer === point.layer && unit === point.unit && from === point.from;
  const endsAt = ({ layer, unit, from }, point) =>
    (layer === point.layer && unit === point.unit) || (layer === point.layer + 1 && from === point.unit);

  const isPointed = (edge, point) => ({ edge: isEdge, unit: endsAt })[point?.kind]?.(edge, point) ?? false;

  const coloured = ({ red, blue }, value, opacity) => `rgba(${value > 0 ? red : blue}, ${opacity.toFixed(3)})`;

  const readColours = () => Object.fromEntries(["red", "blue", "raised", "ink", "faint"].map((name) => [name, pictures.colour(name)]));

  function fillCircle(context, x, y, radius, colour) {
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fillStyle = colour;
    context.fill();
  }

  // Draw the input; over it the weights of the unit of layer 1 that is pointed at, or their gradients on the way back.
  function drawInput({ context, model, placed, shown, stage, point }, colours) {
    const { x, y, width, height } = placed.image;
    const paint = (canvas) => context.drawImage(canvas, x, y, width, height);
    context.imageSmoothingEnabled = false;
    paint(pictures.grey(shown.pass.a[0], model.height, model.width, ""));
    if (point?.kind === "unit" && point.layer === 1) {
      const { weights, inputs } = isBack(stage) ? shown.pass.gradients[0] : model.layers[0];
      const row = weights.slice(point.unit * inputs, (point.unit + 1) * inputs);
      paint(pictures.signed(row, model.height, model.width, "", "", pictures.largestOf(row)));
    }
    if (point?.kind === "pixel") {
      const cell = width / model.width;
      const [column, row] = [point.from % model.width, Math.floor(point.from / model.width)];
      Object.assign(context, { strokeStyle: `rgb(${colours.red})`, lineWidth: 2 });
      context.strokeRect(x + column * cell, y + row * cell, cell, cell);
    }
  }

  function drawEdges(view, layer, colours) {
    const { context, stage, point } = view;
    const own = view.edges.filter((edge) => edge.layer === layer);
    const most = pictures.largestOf(own.map(({ values }) => values.drawn));
    const visibility = isActive(stage, layer) ? 1 : 0.35;
    for (const edge of own) {
      const strength = Math.abs(edge.values.drawn) / most;
      const pointed = isPointed(edge, point);
      context.strokeStyle = coloured(colours, edge.values.drawn, pointed ? 1 : visibility * (0.06 + 0.8 * strength));
      context.lineWidth = (pointed ? 1.5 : 0.4) + 2.6 * strength;
      context.beginPath();
      context.moveTo(edge.start.x, edge.start.y);
      context.lineTo(edge.end.x, edge.end.y);
      context.stroke();
    }
  }

  // Draw the largest products as dots on their way; for a gradient, value and error meet in the middle of the edge.
  function drawFlow({ context, edges, stage }, colours, done) {
    const ways = { weighted: [done], delta: [1 - done], gradient: [done / 2, 1 - done / 2] }[stage.kind] ?? [];
    const active = edges.filter((edge) => isActive(stage, edge.layer));
    active.sort((one, other) => Math.abs(other.values.flow) - Math.abs(one.values.flow));
    for (const { start, end, values } of active.slice(0, MOST_DOTS)) {
      const radius = 1 + 3.5 * Math.sqrt(Math.abs(values.flow / (active[0].values.flow || 1)));
      for (const way of ways) {
        const [x, y] = [start.x + way * (end.x - start.x), start.y + way * (end.y - start.y)];
        fillCircle(context, x, y, radius, coloured(colours, values.flow, 0.9));
      }
    }
  }

  function drawNodes(view, layer, colours, done) {
    const { context, shown, stage, point } = view;
    const values = unitValues(shown, stage, layer);
    const most = values ? pictures.largestOf(values) : 1;
    const arrived = stage.layer === layer && stage.kind !== "difference" ? done : 1;
    for (const node of view.placed.nodes[layer - 1]) {
      const { unit, x, y, radius } = node;
      fillCircle(context, x, y, radius, colours.raised);
      if (values) fillCircle(context, x, y, radius, coloured(colours, values[unit], (arrived * Math.abs(values[unit])) / most));
      const pointed = point?.kind === "unit" && endsAt({ layer, unit }, point);
      Object.assign(context, { strokeStyle: pointed ? colours.ink : colours.faint, lineWidth: pointed ? 3 : 1 });
      context.stroke();
      if (layer === view.placed.nodes.length) nameOutput(view, node, values, colours);
    }
  }

  function nameOutput({ context, model, shown }, { unit, x, y, radius }, values, colours) {
    const isTarget = unit === shown.example.target;
    const name = model.classNames[unit].slice(0, values ? 6 : 12);
    context.fillStyle = isTarget ? colours.ink : colours.faint;
    context.font = `${isTarget ? "bold " : ""}${Math.min(12, 1.6 * radius + 2)}px sans-serif`;
    context.textAlign = "left";
    context.fillText(`${name}${isTarget ? " ◂" : ""} ${values ? pictures.written(values[unit]) : ""}`, x + radius + 4, y);
  }

  function nameLayers({ context, model, placed, stage }, colours) {
    Object.assign(context, { font: "12px sans-serif", fillStyle: colours.faint, textAlign: "left" });
    context.fillText("a₀, the input", placed.image.x, 10);
    context.textAlign = "center";
    placed.nodes.forEach((nodes, i) => {
      const { outputs } = model.layers[i];
      const symbol = hasError(stage, i + 1) ? "∇z" : isSum(stage, i + 1) ? "z" : "a";
      const some = nodes.length < outputs ? ` (${nodes.length} of ${pictures.counted(outputs)})` : "";
      context.fillText(`${symbol}${stages.lower(i + 1)}${some}`, nodes[0].x, 10);
    });
  }

  // Draw the view, with its flow done from 0 to 1.
  function draw(view, done) {
    const colours = readColours();
    view.context.clearRect(0, 0, view.size.width, view.size.height);
    view.context.textBaseline = "middle";
    drawInput(view, colours);
    view.placed.nodes.forEach((_, i) => drawEdges(view, i + 1, colours));
    if (done < 1) drawFlow(view, colours, done);
    view.placed.nodes.forEach((_, i) => drawNodes(view, i + 1, colours, done));
    nameLayers(view, colours);
  }

  // Lay out for the width that the page gives to the canvas, in pixels of the screen.
  function resize(view, canvas) {
    const width = Math.max(280, canvas.parentElement.clientWidth);
    const height = Math.round(Math.min(440, Math.max(330, 0.62 * width)));
    const ratio = window.devicePixelRatio || 1;
    Object.assign(canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
    view.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    view.size = { width, height };
    view.placed = layout.place(view.units, view.model, width, height);
  }

  // Show a stage of an example; isMoving: let its products flow, unless the user wishes for less motion.
  function show(view, shown, stage, isMoving) {
    const edges = layout.listEdges(view.placed, view.model, shown.pass.a[0]);
    Object.assign(view, { shown, stage, edges: edges.map((edge) => ({ ...edge, values: valuesOf(shown, stage, edge) })) });
    cancelAnimationFrame(view.frame);
    view.frame = null;
    if (!isMoving || matchMedia("(prefers-reduced-motion: reduce)").matches) return draw(view, 1);
    const begun = performance.now();
    const animate = (now) => {
      const done = Math.min(1, Math.max(0, now - begun) / MILLISECONDS);
      draw(view, done);
      view.frame = done < 1 ? requestAnimationFrame(animate) : null;
    };
    view.frame = requestAnimationFrame(animate);
  }

  // Return the place that is some nodes after the one that is pointed at.
  function placeAfter({ placed, point }, steps) {
    const all = placed.nodes.flat();
    const now = all.findIndex(({ layer, unit }) => point?.layer === layer && point?.unit === unit);
    const { layer, unit } = all[Math.min(Math.max(now + steps, 0), all.length - 1)];
    return { kind: "unit", layer, unit };
  }

  function listen(view, canvas, pointAt) {
    for (const kind of ["pointermove", "pointerdown"]) {
      canvas.addEventListener(kind, ({ clientX, clientY }) => {
        const { left, top } = canvas.getBoundingClientRect();
        const place = layout.find(view.placed, view.edges, view.model, clientX - left, clientY - top);
        if (place) pointAt(place);
      });
    }
    canvas.addEventListener("keydown", (event) => {
      const steps = { ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (!steps) return;
      pointAt(placeAfter(view, steps));
      event.preventDefault();
    });
    window.addEventListener("resize", () => {
      resize(view, canvas);
      if (view.shown) show(view, view.shown, view.stage, false);
    });
  }

  // Return the picture on a canvas; pointed() is called when another place is pointed at.
  function make(canvas, model, pointed) {
    const view = { context: canvas.getContext("2d"), model, units: layout.chooseUnits(model.trained), point: null, frame: null, shown: null };
    const point = (place) => {
      if (JSON.stringify(place) === JSON.stringify(view.point)) return;
      view.point = place;
      if (view.frame === null) draw(view, 1);
      pointed(place);
    };
    listen(view, canvas, point);
    return {
      view,
      point,
      show(shown, stage, isMoving) {
        if (!view.placed) resize(view, canvas);
        canvas.ariaLabel = `The network at this stage: ${stage.title}. The up and down arrow keys go through its units.`;
        show(view, shown, stage, isMoving);
      },
    };
  }

  return { isBack, make };
})();
