/* Figures of vectors and matrices, with captions. Red is positive, blue is negative. A function placeOf gives for the index of a number
   its place, as in explain.js. */
export const pictures = (() => {
  const MOST_BARS = 160;
  const MOST_TILES = 64;
  const MOST_NAMED = 30;
  const ALMOST_0 = 1e-20; // smaller numbers are not written

  function make(name, properties = {}, ...children) {
    const node = Object.assign(document.createElement(name), properties);
    node.append(...children);
    return node;
  }

  const panel = (caption, ...children) => make("figure", { className: "panel" }, make("figcaption", {}, caption), ...children);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const counted = (number) => number.toLocaleString("en");

  function written(value) {
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size < ALMOST_0) return "almost 0";
    return size >= 1e-3 && size < 1e5 ? value.toPrecision(4) : value.toExponential(2);
  }

  // Return the lowest and the highest value; Math.min takes no more arguments than the stack has room for.
  function endsOf(values) {
    let [low, high] = [Infinity, -Infinity];
    for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
    return [low, high];
  }

  const rangeOf = (values) => `from ${endsOf(values).map(written).join(" to ")}`;
  const strengthOf = (values) => Math.max(...endsOf(values).map(Math.abs));
  const largestOf = (values) => strengthOf(values) || 1; // never 0, so that it can be divided by

  const makeCanvas = (height, width, className, ariaLabel) => make("canvas", { height, width, className, role: "img", ariaLabel });

  function paint(height, width, className, describedAs, colourAt) {
    const canvas = makeCanvas(height, width, className, describedAs);
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    for (let at = 0; at < height * width; at++) image.data.set(colourAt(at), 4 * at);
    context.putImageData(image, 0, 0);
    return canvas;
  }

  // Draw values from 0 (black) to 1 (white).
  const grey = (values, height, width, describedAs) =>
    paint(height, width, "image", describedAs, (at) => [values[at] * 255, values[at] * 255, values[at] * 255, 255]);

  function signed(values, height, width, className, describedAs, most) {
    const [red, blue] = [colour("red"), colour("blue")].map((parts) => parts.split(",").map(Number));
    return paint(height, width, className, describedAs, (at) => [
      ...(values[at] > 0 ? red : blue),
      255 * Math.min(1, Math.abs(values[at]) / most),
    ]);
  }

  function bars(values, describedAs) {
    const [height, width] = [256, 1280];
    const canvas = makeCanvas(height, width, "bars", describedAs);
    const context = canvas.getContext("2d");
    const [red, blue] = [`rgb(${colour("red")})`, `rgb(${colour("blue")})`];
    const [low, high] = endsOf([0, ...values]);
    const unit = height / (high - low || 1);
    const step = width / values.length;
    const fill = (style, ...box) => {
      context.fillStyle = style;
      context.fillRect(...box);
    };
    fill("rgba(128, 128, 128, 0.8)", 0, Math.min(high * unit, height - 2), width, 2);
    values.forEach((value, i) => {
      fill(value > 0 ? red : blue, (i + 0.12) * step, (high - Math.max(value, 0)) * unit, step * 0.76, Math.abs(value) * unit);
    });
    return canvas;
  }

  // Let a picture of columns x rows cells send the event "point", with the place of a cell, when a pointer is on it.
  function pointable(node, columns, rows, placeOf) {
    const part = (offset, size, count) => Math.min(count - 1, Math.max(0, Math.floor((offset / size) * count)));
    for (const kind of placeOf ? ["pointermove", "pointerdown"] : []) {
      node.addEventListener(kind, ({ offsetX, offsetY }) => {
        const index = part(offsetY, node.clientHeight, rows) * columns + part(offsetX, node.clientWidth, columns);
        node.dispatchEvent(new CustomEvent("point", { bubbles: true, detail: placeOf(index) }));
      });
    }
    return node;
  }

  // Draw a vector as bars, or as cells if it has more than MOST_BARS values.
  function vector(name, values, placeOf) {
    const count = values.length;
    const caption = `${name}: ${counted(count)} ${count === 1 ? "value" : "values"} ${rangeOf(values)}`;
    if (count <= MOST_BARS) return panel(caption, pointable(bars(values, caption), count, 1, placeOf));
    const width = 64;
    const height = Math.ceil(count / width);
    const padded = Float64Array.from({ length: height * width }, (_, at) => values[at] ?? 0);
    const cells = signed(padded, height, width, "matrix", caption, largestOf(values));
    return panel(caption, pointable(cells, width, height, placeOf && ((index) => placeOf(Math.min(index, count - 1)))));
  }

  function bar(value, most) {
    const filled = make("span", { className: value < 0 ? "negative" : "positive" });
    Object.assign(filled.style, { width: `${(50 * Math.abs(value)) / most}%`, [value < 0 ? "right" : "left"]: "50%" });
    return make("span", { className: "signed-bar" }, filled);
  }

  // Make a table that scrolls; the cells of the first column are heads. A cell is text or an element.
  function table(caption, heads, rows, className = "") {
    const head = make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text)));
    const body = rows.map(([first, ...cells]) =>
      make("tr", {}, make("th", { scope: "row" }, first), ...cells.map((cell) => make("td", {}, cell))),
    );
    const whole = make("table", { className }, make("thead", {}, head), make("tbody", {}, ...body));
    return panel(caption, make("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: caption }, whole));
  }

  // Tabulate vectors with a value for each class; columns are {name: values}.
  function outputs(caption, columns, classNames, target, placeOf) {
    const entries = Object.entries(columns);
    if (classNames.length > MOST_NAMED) return panel(caption, ...entries.map(([name, values]) => vector(name, values, placeOf)));
    const rows = classNames.map((className, label) => [
      className,
      ...entries.flatMap(([, values]) => [written(values[label]), bar(values[label], largestOf(values))]),
    ]);
    const scales = entries.length > 1 ? "; each column has its own scale" : "";
    const underlined = target === undefined ? "" : "; the target is underlined";
    const figure = table(caption + scales + underlined, ["class", ...entries.flatMap(([name]) => [name, ""])], rows, "outputs");
    const shown = figure.querySelectorAll("tbody tr");
    shown.forEach((each, label) => pointable(each, 1, 1, placeOf && (() => placeOf(label))));
    shown[target]?.classList.add("target");
    shown[target]?.firstChild.append(make("span", { className: "unseen" }, ", the target"));
    return figure;
  }

  // Draw the rows of a matrix as images, of many rows those with the largest absolute values.
  function tiles(name, weights, count, height, width, placeOf) {
    const size = height * width;
    const rows = Array.from({ length: count }, (_, j) => {
      const values = weights.subarray(j * size, (j + 1) * size);
      return { j, values, strength: strengthOf(values) };
    });
    if (count > MOST_TILES) rows.sort((one, other) => other.strength - one.strength);
    const most = largestOf(weights);
    const images = rows
      .slice(0, MOST_TILES)
      .map(({ j, values }) =>
        pointable(signed(values, height, width, "", `${name} of unit ${j}`, most), width, height, placeOf && ((index) => placeOf(j * size + index))),
      );
    const which = count > MOST_TILES ? `the ${MOST_TILES} strongest of ${count} units` : "of every unit";
    return panel(`${name} ${which}, as images; full colour is ${written(most)}`, make("div", { className: "tiles" }, ...images));
  }

  // Draw a matrix [outputs, inputs], a pixel for each value.
  function matrix(name, values, rows, columns, placeOf) {
    const most = largestOf(values);
    const caption = `${name}: a row for each of ${rows} outputs, a column for each of ${columns} inputs; full colour is ${written(most)}`;
    return panel(caption, pointable(signed(values, rows, columns, "matrix", caption, most), columns, rows, placeOf));
  }

  const image = (caption, values, height, width, placeOf) =>
    panel(caption, pointable(grey(values, height, width, caption), width, height, placeOf));

  return { make, panel, colour, grey, signed, bars, table, vector, outputs, tiles, matrix, image, strengthOf, largestOf, written, counted, rangeOf };
})();
