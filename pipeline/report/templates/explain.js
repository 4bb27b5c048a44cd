import { pictures } from "./pictures.js";
import { stages } from "./stages.js";

/* The exact value of a unit, an edge or a pixel, and the sum that made it, as lines of text. A place is {kind: "unit", layer, unit},
   {kind: "edge", layer, unit, from} or {kind: "pixel", from}; `shown` is that of stages.js. */
export const explain = (() => {
  const MOST_TERMS = 5;
  const { written } = pictures;

  const nameOf = (symbol, l, ...at) => `${symbol}${stages.lower(l)}[${at.join(", ")}]`;
  const saidProduct = (...factors) => `${factors.map(written).join(" × ")} = ${written(factors.reduce((a, b) => a * b))}`;
  const makeTerm = (name, ...factors) => ({ name, factors, value: factors[0] * factors[1] });
  const sumOf = (terms) => terms.reduce((sum, { value }) => sum + value, 0);

  // Return the terms with the largest absolute values, and the sum of the others; a term is {name, factors, value}.
  function largestTerms(terms) {
    const sorted = [...terms].sort((one, other) => Math.abs(other.value) - Math.abs(one.value));
    const others = sorted.slice(MOST_TERMS);
    return { largest: sorted.slice(0, MOST_TERMS), count: others.length, rest: sumOf(others) };
  }

  function sayTerms(terms) {
    const { largest, count, rest } = largestTerms(terms);
    const lines = largest.map(({ name, factors }) => `${name} = ${saidProduct(...factors)}`);
    return count ? [...lines, `the other ${pictures.counted(count)} together: ${written(rest)}`] : lines;
  }

  function explainValue({ model, pass }, l, j) {
    const { weights, biases, inputs } = model.layers[l - 1];
    const z = nameOf("z", l, j);
    const terms = Array.from(pass.a[l - 1], (a, k) =>
      makeTerm(`${nameOf("a", l - 1, k)} · ${nameOf("w", l, j, k)}`, a, weights[j * inputs + k]),
    );
    return [
      `${z} = ${written(pass.z[l][j])}, and its value is ${nameOf("a", l, j)} = ${written(pass.a[l][j])}. ${z} is the sum of`,
      ...sayTerms(terms),
      `the bias ${nameOf("b", l, j)}: ${written(biases[j])}`,
    ];
  }

  function explainOutputError({ model, pass, y }, l, j) {
    const [a, d] = [pass.a[l][j], pass.difference[j]];
    const error = nameOf("∇z", l, j);
    const difference = `${nameOf("a", l, j)} − y[${j}] = ${written(a)} − ${y[j]} = ${written(d)}`;
    if (model.config.loss === "cross-entropy") return [`${error} = ${difference}`];
    if (model.config.output === "softmax") return [difference, `${error} = ${written(pass.delta[l][j])}`];
    const slope = a * (1 - a);
    return [difference, `the slope of σ there: a (1 − a) = ${written(slope)}`, `${error} = ${saidProduct(d, slope)}`];
  }

  function explainHiddenError({ model, pass }, l, j) {
    const { weights, inputs } = model.layers[l];
    const terms = Array.from(pass.delta[l + 1], (delta, i) =>
      makeTerm(`${nameOf("∇z", l + 1, i)} · ${nameOf("w", l + 1, i, j)}`, delta, weights[i * inputs + j]),
    );
    const slope = model.functions.hidden.slope(pass.a[l][j]);
    const back = nameOf("∇a", l, j);
    return [`${nameOf("∇z", l, j)} = ${back} × slope = ${saidProduct(sumOf(terms), slope)}. ${back} is the sum of`, ...sayTerms(terms)];
  }

  function explainUnit(shown, { layer, unit }, isBack) {
    const { layers, classNames } = shown.model;
    const isOutput = layer === layers.length;
    const explainIt = isBack ? (isOutput ? explainOutputError : explainHiddenError) : explainValue;
    return {
      title: isOutput ? `Output ${unit} of layer ${layer}: class ${classNames[unit]}` : `Unit ${unit} of layer ${layer}`,
      lines: explainIt(shown, layer, unit),
    };
  }

  function explainEdge({ model, pass, next }, { layer: l, unit: j, from: k }) {
    const at = j * model.layers[l - 1].inputs + k;
    const [w, a, delta] = [model.layers[l - 1].weights[at], pass.a[l - 1][k], pass.delta[l][j]];
    const name = nameOf("w", l, j, k);
    const start = nameOf("a", l - 1, k);
    return {
      title: `Edge ${name}: from ${l === 1 ? "pixel" : "unit"} ${k} to unit ${j} of layer ${l}`,
      lines: [
        `${name} = ${written(w)}`,
        `forward it adds ${start} · ${name} = ${saidProduct(a, w)} to ${nameOf("z", l, j)}`,
        `∇${name} = ${nameOf("∇z", l, j)} · ${start} = ${saidProduct(delta, a)}`,
        `after a step of this example it is ${written(next[l - 1].weights[at])}`,
      ],
    };
  }

  function explainPixel({ model, example, pass }, { from }) {
    const { weights, inputs, outputs } = model.layers[0];
    const [a, name] = [pass.a[0][from], nameOf("a", 0, from)];
    const terms = Array.from({ length: outputs }, (_, j) =>
      makeTerm(`to ${nameOf("z", 1, j)}: ${name} · ${nameOf("w", 1, j, from)}`, a, weights[j * inputs + from]),
    );
    return {
      title: `Pixel ${from}: row ${Math.floor(from / model.width)}, column ${from % model.width}`,
      lines: [`${name} = ${example.pixels[from]} / 255 = ${written(a)}. Of what it adds, the largest:`, ...sayTerms(terms).slice(0, MOST_TERMS)],
    };
  }

  // isBack: the error of a unit is explained instead of its value.
  const at = (shown, place, isBack) => ({ unit: explainUnit, edge: explainEdge, pixel: explainPixel })[place.kind](shown, place, isBack);

  return { largestTerms, at };
})();
