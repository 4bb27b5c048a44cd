import { network } from "./network.js";

/* The parameters at early steps of the run, which the page carries in 16 bits; see pipeline/report/backprop_inspector.py. */
export const points = (() => {
  // Return the value of the 16 bits of a float16: a sign, five bits of the exponent and ten of the fraction. None is infinite.
  function half(bits) {
    const exponent = (bits >> 10) & 31;
    const fraction = (bits & 1023) / 1024;
    const size = exponent === 0 ? fraction * 2 ** -14 : (1 + fraction) * 2 ** (exponent - 15);
    return bits & 0x8000 ? -size : size;
  }

  const decodeLayers = (text, sizes) =>
    network.splitLayers(Float64Array.from(new Uint16Array(network.bytesOf(text).buffer), half), sizes);

  // Return the layers at each step, by the step.
  const decode = (data) => Object.fromEntries(data.points.map(({ step, parameters }) => [step, decodeLayers(parameters, data.layers)]));

  return { half, decode };
})();
