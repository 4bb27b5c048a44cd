/* Figures of vectors and matrices, with captions. Red is positive, blue is negative. */
export const pictures = (() => {
  const MOST_BARS = 160;
  const MOST_TILES = 64;
  const MOST_NAMED = 30;

  function make(name, properties = {}, ...children) {
    const node = Object.assign(document.createElement(name), properties);
    node.append(...children);
    return node;
  }

  const panel = (caption, ...children) =>
    make("figure", { className: "panel" }, make("figcaption", { textContent: caption }), ...children);

  const strengthOf = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const largestOf = (values) => strengthOf(values) || 1; // never 0, so that it can be divided by
  const colourOf = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).split(",").map(Number);

  function written(value) {
    if (value === 0) return "0";
    const size = Math.abs(value);
    return size >= 1e-3 && size < 1e5 ? value.toPrecision(4) : value.toExponential(2);
  }

  function paint(height, width, className, describedAs, colour) {
    const canvas = make("canvas", { height, width, className });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", describedAs);
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    for (let at = 0; at < height * width; at++) image.data.set(colour(at), 4 * at);
    context.putImageData(image, 0, 0);
    return canvas;
  }

  const counted = (number) => number.toLocaleString("en");

  // Draw values from 0 (black) to 1 (white).
  const grey = (values, height, width, describedAs) =>
    paint(height, width, "image", describedAs, (at) => [values[at] * 255, values[at] * 255, values[at] * 255, 255]);

  function signed(values, height, width, className, describedAs, most) {
    const [red, blue] = [colourOf("--red"), colourOf("--blue")];
    return paint(height, width, className, describedAs, (at) => {
      const strength = Math.min(1, Math.abs(values[at]) / most);
      return [...(values[at] > 0 ? red : blue), 255 * strength];
    });
  }

  function bars(values, describedAs) {
    const [height, width] = [256, 1280];
    const canvas = make("canvas", { height, width, className: "bars" });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", describedAs);
    const context = canvas.getContext("2d");
    const [red, blue] = [colourOf("--red"), colourOf("--blue")];
    const low = values.reduce((least, value) => Math.min(least, value), 0);
    const high = values.reduce((most, value) => Math.max(most, value), 0);
    const unit = height / (high - low || 1);
    const step = width / values.length;
    context.fillStyle = "rgba(128, 128, 128, 0.8)";
    context.fillRect(0, Math.min(high * unit, height - 2), width, 2);
    values.forEach((value, i) => {
      context.fillStyle = `rgb(${value > 0 ? red : blue})`;
      context.fillRect(i * step + step * 0.12, (high - Math.max(value, 0)) * unit, step * 0.76, Math.abs(value) * unit);
    });
    return canvas;
  }

  // Let a picture of columns x rows cells send the event "point", with the place of a cell, when a pointer is on it.
  function pointable(node, columns, rows, placeOf) {
    for (const kind of placeOf ? ["pointermove", "pointerdown"] : []) {
      node.addEventListener(kind, ({ offsetX, offsetY }) => {
        const part = (offset, size, count) => Math.min(count - 1, Math.max(0, Math.floor((offset / size) * count)));
        const index = part(offsetY, node.clientHeight, rows) * columns + part(offsetX, node.clientWidth, columns);
        node.dispatchEvent(new CustomEvent("point", { bubbles: true, detail: placeOf(index) }));
      });
    }
    return node;
  }

  function rangeOf(values) {
    const low = values.reduce((least, value) => Math.min(least, value), Infinity);
    const high = values.reduce((most, value) => Math.max(most, value), -Infinity);
    return `from ${written(low)} to ${written(high)}`;
  }

  // Draw a vector as bars, or as cells if it has more than MOST_BARS values.
  function vector(name, values, placeOf) {
    const caption = `${name}: ${counted(values.length)} ${values.length === 1 ? "value" : "values"} ${rangeOf(values)}`;
    if (values.length <= MOST_BARS) return panel(caption, pointable(bars(values, caption), values.length, 1, placeOf));
    const width = Math.min(values.length, 64);
    const height = Math.ceil(values.length / width);
    const padded = Float64Array.from({ length: height * width }, (_, at) => values[at] ?? 0);
    const cells = signed(padded, height, width, "matrix", caption, largestOf(values));
    return panel(caption, pointable(cells, width, height, placeOf && ((index) => placeOf(Math.min(index, values.length - 1)))));
  }

  function bar(value, most) {
    const strength = Math.abs(value) / most;
    const filled = make("span", { className: value < 0 ? "negative" : "positive" });
    Object.assign(filled.style, { width: `${50 * strength}%`, [value < 0 ? "right" : "left"]: "50%" });
    return make("span", { className: "signed-bar" }, filled);
  }

  // Make a table that scrolls; the cells of the first column are heads. A cell is text or an element.
  function table(caption, heads, rows, className = "") {
    const head = make("tr", {}, ...heads.map((text) => make("th", { scope: "col", textContent: text })));
    const body = rows.map(([first, ...cells]) =>
      make("tr", {}, make("th", { scope: "row" }, first), ...cells.map((cell) => make("td", {}, cell))),
    );
    const box = make("div", { className: "scroll", tabIndex: 0 });
    box.append(make("table", { className }, make("thead", {}, head), make("tbody", {}, ...body)));
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", caption);
    return panel(caption, box);
  }

  // Tabulate vectors with a value for each class; columns are {name: values}.
  function outputs(caption, columns, classNames, target, placeOf) {
    const names = Object.keys(columns);
    if (classNames.length > MOST_NAMED) return panel(caption, ...names.map((name) => vector(name, columns[name], placeOf)));
    const most = Object.fromEntries(names.map((name) => [name, largestOf(columns[name])]));
    const rows = classNames.map((className, label) => [
      className,
      ...names.flatMap((name) => [written(columns[name][label]), bar(columns[name][label], most[name])]),
    ]);
    const underlined = target === undefined ? "" : "; the target is underlined";
    const figure = table(`${caption}${underlined}`, ["class", ...names.flatMap((name) => [name, ""])], rows, "outputs");
    figure.querySelectorAll("tbody tr").forEach((each, label) => pointable(each, 1, 1, placeOf && (() => placeOf(label))));
    const row = figure.querySelectorAll("tbody tr")[target];
    row?.classList.add("target");
    row?.firstChild.append(make("span", { className: "unseen", textContent: ", the target" }));
    return figure;
  }

  // Draw the rows of a matrix as images, of many rows those with the largest absolute values.
  function tiles(name, weights, count, height, width, placeOf) {
    const size = height * width;
    const rowOf = (j) => weights.subarray(j * size, (j + 1) * size);
    const strengths = Array.from({ length: count }, (_, j) => strengthOf(rowOf(j)));
    const order = Array.from({ length: count }, (_, j) => j);
    if (count > MOST_TILES) order.sort((i, j) => strengths[j] - strengths[i]);
    const shown = order.slice(0, MOST_TILES);
    const most = largestOf(weights);
    const images = shown.map((j) =>
      pointable(signed(rowOf(j), height, width, "", `${name} of unit ${j}`, most), width, height, placeOf && ((index) => placeOf(j * size + index))),
    );
    const which = count > MOST_TILES ? `the ${MOST_TILES} strongest of ${count} units` : `of every unit`;
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

  return { make, panel, grey, signed, bars, table, vector, outputs, tiles, matrix, image, strengthOf, largestOf, written, counted, rangeOf };
})();
