/* Charts of lines as SVG markup, in the geometry of pipeline/report/charts.py. An axis is {low, high, format}, a line a list of points
   [x, y], and all text in the markup is numbers and words of the page's own. */
export const chart = (() => {
  const [LEFT, RIGHT, TOP, BOTTOM] = [58, 426, 12, 224];
  const NEAR_END = 415; // from there on the label of a tick ends at it
  const ROUNDING = 1e-9; // in ticks: a bound that is this close to a round value counts as round
  const MOST_POINTS = 400; // of a line that grows: from there on, every second point is left out

  const formatNumber = (value) => value.toLocaleString("en", { maximumSignificantDigits: 6 });
  const formatShare = (value) => `${formatNumber(100 * value)} %`;

  // Return the distance of about five ticks: 1, 2 or 5 times a power of ten.
  function stepOf(low, high) {
    const exact = (high - low) / 5;
    const power = 10 ** Math.floor(Math.log10(exact));
    return [1, 2, 5, 10].map((times) => times * power).find((step) => exact <= step * (1 + ROUNDING));
  }

  function ticks({ low, high }) {
    const step = stepOf(low, high);
    const first = Math.ceil(low / step - ROUNDING);
    return Array.from({ length: Math.floor(high / step + ROUNDING) - first + 1 }, (_, i) => (first + i) * step);
  }

  // Return an axis between round numbers that has all values.
  function fit(values, format = formatNumber) {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const step = stepOf(low, high > low ? high : low + (Math.abs(low) || 1));
    const first = Math.floor(low / step + ROUNDING) * step;
    return { low: first, high: Math.max(Math.ceil(high / step - ROUNDING) * step, first + step), format };
  }

  const xAt = ({ low, high }, value) => LEFT + ((value - low) / (high - low)) * (RIGHT - LEFT);
  const yAt = ({ low, high }, value) => BOTTOM - ((value - low) / (high - low)) * (BOTTOM - TOP);
  const valueAt = ({ low, high }, x) => low + ((x - LEFT) / (RIGHT - LEFT)) * (high - low);

  const drawTicks = (x, y) =>
    ticks(y).map((value) => {
      const at = yAt(y, value);
      return `<line class="grid" x1="${LEFT}" x2="${RIGHT}" y1="${at}" y2="${at}"/><text x="52" y="${at + 4}" text-anchor="end">${y.format(value)}</text>`;
    }).join("") +
    ticks(x).map((value) => {
      const at = xAt(x, value);
      const anchor = at > NEAR_END ? "end" : "middle";
      return `<line class="tick" x1="${at}" x2="${at}" y1="${BOTTOM}" y2="229"/><text x="${at}" y="243" text-anchor="${anchor}">${x.format(value)}</text>`;
    }).join("");

  // Classes are the numbers of the lines' colours in page.css.
  const drawLines = (x, y, lines, classes = lines.map((_, i) => i)) =>
    lines.map((points, i) => {
      const path = points.map(([at, value]) => `${xAt(x, at).toFixed(1)} ${yAt(y, value).toFixed(1)}`).join("L");
      return path && `<path class="line line-${classes[i]}" d="M${path}"/>`;
    }).join("");

  const drawDots = (x, y, points, classes = points.map((_, i) => i)) =>
    points.map((point, i) => point && `<circle class="dot-${classes[i]}" cx="${xAt(x, point[0])}" cy="${yAt(y, point[1])}" r="4.5"/>`).join("");

  // Return the line of value i of points [x, value of each line], moved to the ends of the axis where it is beyond them.
  const lineWithin = ({ low, high }, points, i) =>
    points.filter((point) => Number.isFinite(point[i + 1])).map((point) => [point[0], Math.min(Math.max(point[i + 1], low), high)]);

  // Return {element, add, replace, clear}, a figure of lines that grow. Names are those of the lines, and the axis of x has one too; axes
  // that are not given begin at 0.
  function make(caption, names, { x: fixedX, y: fixedY } = {}) {
    const classes = names.map((_, i) => 4 * i);
    const legend = names.map((name, i) => `<li><span class="mark mark-${classes[i]}"></span>${name}</li>`).join("");
    const element = Object.assign(document.createElement("figure"), {
      className: "chart",
      innerHTML: `<figcaption>${caption}</figcaption><svg viewBox="0 0 440 268" role="img"></svg><ul class="legend">${legend}</ul>`,
    });
    let points = []; // [x, value of each line]
    let before = []; // those before the lines were cleared

    // Draw other points, and dots on those at x = marked.
    function replace(all, marked) {
      points = all;
      const both = [...points, ...before];
      const x = fixedX ?? { low: 0, high: Math.max(10, ...both.map(([at]) => at)), format: formatNumber, name: "steps on this page" };
      const y = fixedY ?? fit([0, ...both.flatMap((point) => point.slice(1)).filter(Number.isFinite)]);
      const lines = names.map((_, i) => lineWithin(y, points, i));
      const earlier = names.map((_, i) => lineWithin(y, before, i));
      const dots = lines.map((line) => line.find(([at]) => at === marked));
      const plot = element.querySelector("svg");
      plot.innerHTML =
        drawTicks(x, y) +
        `<text x="${(LEFT + RIGHT) / 2}" y="262" text-anchor="middle">${x.name}</text>` +
        drawLines(x, y, earlier, classes.map((each) => `${each} before`)) +
        drawLines(x, y, lines, classes) +
        drawDots(x, y, dots, classes);
      const told = dots.map((dot, i) => dot && `${names[i]} ${y.format(dot[1])}`).filter(Boolean);
      plot.ariaLabel = told.length ? `${caption}; at ${x.format(marked)}: ${told.join(", ")}` : caption;
    }

    function add(step, values) {
      const all = [...points, [step, ...values]];
      replace(all.length > MOST_POINTS ? all.filter((_, i) => i % 2 === 0 || i === all.length - 1) : all, step);
    }

    // Begin anew; what was there before stays as a faint line, to compare with.
    function clear() {
      if (points.length > 1) before = points;
      replace([], null);
    }

    return { element, add, replace, clear };
  }

  return { formatNumber, formatShare, ticks, fit, valueAt, drawTicks, drawLines, drawDots, xAt, make };
})();
