import { pictures } from "./pictures.js";
import { stages } from "./stages.js";

/* The exact value of a unit, an edge or a pixel, and the sum that made it, as lines of text. A place is {kind: "unit", layer, unit},
   {kind: "edge", layer, unit, from} or {kind: "pixel", from}; `shown` is that of stages.js. */
export const explain = (() => {
  const MOST_TERMS = 5;
  const { written } = pictures;
  const { lower } = stages;

  // Return the terms with the largest absolute values, and the sum of the others; a term is {name, factors, value}.
  function largestTerms(terms) {
    const sorted = [...terms].sort((one, other) => Math.abs(other.value) - Math.abs(one.value));
    const others = sorted.slice(MOST_TERMS);
    return { largest: sorted.slice(0, MOST_TERMS), count: others.length, rest: others.reduce((sum, { value }) => sum + value, 0) };
  }

  function sayTerms(terms) {
    const { largest, count, rest } = largestTerms(terms);
    const lines = largest.map(({ name, factors, value }) => `${name} = ${factors.map(written).join(" × ")} = ${written(value)}`);
    return count ? [...lines, `the other ${pictures.counted(count)} together: ${written(rest)}`] : lines;
  }

  const weightName = (l, j, k) => `w${lower(l)}[${j}, ${k}]`;

  function forwardTerms({ model, pass }, l, j) {
    const { weights, inputs } = model.layers[l - 1];
    return Array.from(pass.a[l - 1], (a, k) => {
      const w = weights[j * inputs + k];
      return { name: `a${lower(l - 1)}[${k}] · ${weightName(l, j, k)}`, factors: [a, w], value: a * w };
    });
  }

  function backwardTerms({ model, pass }, l, j) {
    const { weights, inputs } = model.layers[l];
    return Array.from(pass.delta[l + 1], (delta, i) => {
      const w = weights[i * inputs + j];
      return { name: `∇z${lower(l + 1)}[${i}] · ${weightName(l + 1, i, j)}`, factors: [delta, w], value: delta * w };
    });
  }

  function titleOf({ model }, l, j) {
    return l === model.layers.length ? `Output ${j} of layer ${l}: class ${model.classNames[j]}` : `Unit ${j} of layer ${l}`;
  }

  function forwardUnit(shown, l, j) {
    const { pass, model } = shown;
    const bias = written(model.layers[l - 1].biases[j]);
    return [
      `z${lower(l)}[${j}] = ${written(pass.z[l][j])}, and its value is a${lower(l)}[${j}] = ${written(pass.a[l][j])}. z${lower(l)}[${j}] is the sum of`,
      ...sayTerms(forwardTerms(shown, l, j)),
      `the bias b${lower(l)}[${j}]: ${bias}`,
    ];
  }

  function outputError({ model, pass, y }, l, j) {
    const [a, d, delta] = [pass.a[l][j], pass.difference[j], pass.delta[l][j]];
    const difference = `a${lower(l)}[${j}] − y[${j}] = ${written(a)} − ${y[j]} = ${written(d)}`;
    if (model.config.loss === "cross-entropy") return [`∇z${lower(l)}[${j}] = ${difference}`];
    if (model.config.output === "softmax") return [difference, `∇z${lower(l)}[${j}] = ${written(delta)}`];
    const slope = a * (1 - a);
    return [difference, `the slope of σ there: a (1 − a) = ${written(slope)}`, `∇z${lower(l)}[${j}] = ${written(d)} × ${written(slope)} = ${written(delta)}`];
  }

  function hiddenError(shown, l, j) {
    const { model, pass } = shown;
    const terms = backwardTerms(shown, l, j);
    const back = terms.reduce((sum, { value }) => sum + value, 0);
    const slope = model.functions.hidden.slope(pass.a[l][j]);
    return [
      `∇z${lower(l)}[${j}] = ∇a${lower(l)}[${j}] × slope = ${written(back)} × ${written(slope)} = ${written(pass.delta[l][j])}. ∇a${lower(l)}[${j}] is the sum of`,
      ...sayTerms(terms),
    ];
  }

  function explainUnit(shown, { layer, unit }, isBack) {
    const error = layer === shown.model.layers.length ? outputError : hiddenError;
    return { title: titleOf(shown, layer, unit), lines: (isBack ? error : forwardUnit)(shown, layer, unit) };
  }

  function explainEdge({ model, pass, next }, { layer: l, unit: j, from: k }) {
    const at = j * model.layers[l - 1].inputs + k;
    const [w, a, delta] = [model.layers[l - 1].weights[at], pass.a[l - 1][k], pass.delta[l][j]];
    const gradient = pass.gradients[l].weights[at];
    const name = weightName(l, j, k);
    return {
      title: `Edge ${name}: from ${l === 1 ? "pixel" : "unit"} ${k} to unit ${j} of layer ${l}`,
      lines: [
        `${name} = ${written(w)}`,
        `forward it adds a${lower(l - 1)}[${k}] · ${name} = ${written(a)} × ${written(w)} = ${written(a * w)} to z${lower(l)}[${j}]`,
        `∇${name} = ∇z${lower(l)}[${j}] · a${lower(l - 1)}[${k}] = ${written(delta)} × ${written(a)} = ${written(gradient)}`,
        `after a step of this example it is ${written(next[l - 1].weights[at])}`,
      ],
    };
  }

  function explainPixel({ model, example, pass }, { from }) {
    const { weights, inputs, outputs } = model.layers[0];
    const terms = Array.from({ length: outputs }, (_, j) => {
      const w = weights[j * inputs + from];
      return { name: `to z₁[${j}]: a₀[${from}] · ${weightName(1, j, from)}`, factors: [pass.a[0][from], w], value: pass.a[0][from] * w };
    });
    const place = `row ${Math.floor(from / model.width)}, column ${from % model.width}`;
    return {
      title: `Pixel ${from}: ${place}`,
      lines: [`a₀[${from}] = ${example.pixels[from]} / 255 = ${written(pass.a[0][from])}. Of what it adds, the largest:`, ...sayTerms(terms).slice(0, MOST_TERMS)],
    };
  }

  // isBack: the error of a unit is explained instead of its value.
  function at(shown, place, isBack) {
    if (place.kind === "pixel") return explainPixel(shown, place);
    return place.kind === "edge" ? explainEdge(shown, place) : explainUnit(shown, place, isBack);
  }

  return { largestTerms, at };
})();
