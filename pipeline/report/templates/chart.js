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

  const grown = { x: null, y: null, format: pictures.written, formatX: (step) => `step ${pictures.counted(step)}` };

  // Return {element, add, replace, clear}; names are those of the lines. x and y are the ends of the axes; null begins them at 0 and
  // lets them grow with the points.
  function make(caption, names, { x: fixedX, y: fixedY, format, formatX } = grown) {
    const plot = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
    const marks = names.map((name, i) => pictures.make("li", {}, pictures.make("span", { className: `mark mark-${4 * i}` }), name));
    const legend = names.length > 1 ? [pictures.make("ul", { className: "legend" }, ...marks)] : [];
    const figcaption = pictures.make("figcaption", { textContent: caption });
    const element = pictures.make("figure", { className: "chart" }, figcaption, plot, ...legend);
    let points = []; // [x, value of each line]
    let marked = null;

    function draw() {
      const [first, end] = fixedX ?? [0, Math.max(1, points.at(-1)?.[0] ?? 1)];
      const values = points.flatMap((point) => point.slice(1)).filter(Number.isFinite);
      const [low, high] = fixedY ?? [0, Math.max(1e-12, ...values)];
      const base = HEIGHT - BOTTOM;
      const x = (at) => LEFT + ((at - first) / (end - first)) * (WIDTH - LEFT - RIGHT);
      const y = (value) => base - ((Math.min(Math.max(value, low), high) - low) / (high - low)) * (base - TOP);
      const lines = names.map((_, i) => {
        const path = points.map((point) => `${x(point[0]).toFixed(1)},${y(point[i + 1]).toFixed(1)}`).join(" ");
        const at = marked === null ? points.at(-1) : points.find((point) => point[0] === marked);
        const dot = at ? [svg("circle", { cx: x(at[0]), cy: y(at[i + 1]), r: 4, class: `dot-${4 * i}` })] : [];
        return svg("g", {}, svg("polyline", { points: path, class: `line line-${4 * i}${i ? " dashed" : ""}` }), ...dot);
      });
      plot.replaceChildren(
        svg("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: base, y2: base, class: "axis" }),
        svg("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: TOP, y2: TOP, class: "grid" }),
        label(LEFT - 5, TOP + 4, "end", format(high)),
        label(LEFT - 5, base + 4, "end", format(low)),
        label(LEFT, HEIGHT - 6, "start", formatX(first)),
        label(WIDTH - RIGHT, HEIGHT - 6, "end", formatX(end)),
        ...lines,
      );
      const told = points.length ? names.map((name, i) => `${name} ${format(points.at(-1)[i + 1])}`) : [];
      plot.setAttribute("aria-label", `${caption}; at last: ${told.join(", ")}`);
    }

    function add(step, values) {
      points.push([step, ...values]);
      if (points.length > MOST_POINTS) points = points.filter((_, i) => i % 2 === 0 || i === points.length - 1);
      draw();
    }

    // Replace all points, and put the dot on that at x.
    function replace(all, x) {
      points = all;
      marked = x;
      draw();
    }

    return { element, add, replace, clear: () => replace([], null) };
  }

  return { grown, make };
})();
