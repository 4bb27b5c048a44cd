import { pictures } from "./pictures.js";

/* A chart of lines that grow while the network trains. */
export const chart = (() => {
  const [WIDTH, HEIGHT] = [360, 170];
  const [LEFT, RIGHT, TOP, BOTTOM] = [44, 12, 12, 24];
  const MOST_POINTS = 400; // of a line: from there on, every second point is left out

  function svg(name, attributes, ...children) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    Object.entries(attributes).forEach(([key, value]) => node.setAttribute(key, value));
    node.append(...children);
    return node;
  }

  const label = (x, y, anchor, text) => svg("text", { x, y, "text-anchor": anchor }, text);

  // Return {element, add, clear}; names are those of the lines, and highest is the end of the axis if it is fixed.
  function make(caption, names, highest = null) {
    const plot = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
    const marks = names.map((name, i) => pictures.make("li", {}, pictures.make("span", { className: `mark mark-${4 * i}` }), name));
    const element = pictures.make(
      "figure",
      { className: "chart" },
      pictures.make("figcaption", { textContent: caption }),
      plot,
      pictures.make("ul", { className: "legend" }, ...marks),
    );
    let points = []; // [step, value of each line]

    function draw() {
      const end = Math.max(1, points.length ? points.at(-1)[0] : 1);
      const top = highest ?? Math.max(1e-12, ...points.flatMap((point) => point.slice(1)).filter(Number.isFinite));
      const x = (step) => LEFT + (step / end) * (WIDTH - LEFT - RIGHT);
      const y = (value) => HEIGHT - BOTTOM - (Math.min(value, top) / top) * (HEIGHT - TOP - BOTTOM);
      const base = HEIGHT - BOTTOM;
      const lines = names.map((_, i) => {
        const path = points.map((point) => `${x(point[0]).toFixed(1)},${y(point[i + 1]).toFixed(1)}`).join(" ");
        const last = points.at(-1);
        const dot = last ? [svg("circle", { cx: x(last[0]), cy: y(last[i + 1]), r: 3.5, class: `dot-${4 * i}` })] : [];
        return svg("g", {}, svg("polyline", { points: path, class: `line line-${4 * i}${i ? " dashed" : ""}` }), ...dot);
      });
      plot.replaceChildren(
        svg("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: base, y2: base, class: "axis" }),
        svg("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: TOP, y2: TOP, class: "grid" }),
        label(LEFT - 5, TOP + 4, "end", highest === null ? pictures.written(top) : String(highest)),
        label(LEFT - 5, base + 4, "end", "0"),
        label(WIDTH - RIGHT, HEIGHT - 6, "end", `step ${pictures.counted(end)}`),
        ...lines,
      );
      const values = points.length ? names.map((name, i) => `${name} ${pictures.written(points.at(-1)[i + 1])}`) : [];
      plot.setAttribute("aria-label", `${caption}; at the last step: ${values.join(", ")}`);
    }

    function add(step, values) {
      points.push([step, ...values]);
      if (points.length > MOST_POINTS) points = points.filter((_, i) => i % 2 === 0 || i === points.length - 1);
      draw();
    }

    function clear() {
      points = [];
      draw();
    }

    return { element, add, clear };
  }

  return { make };
})();
