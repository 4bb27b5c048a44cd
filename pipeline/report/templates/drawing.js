/* A canvas to draw on, and the conversion of a drawing to an image like those of the data set, in the same way as
   pipeline/sources/picture_conversion.py does for `backbeam predict`. A picture is {height, width, values} in row-major order, light
   ink on black; a style is {background, darkest, brightest, resize} of the data set's images. */
export const drawing = (() => {
  const INK_PART = 20 / 28; // the longer side of the ink, as a fraction of the image, as in MNIST
  const MIN_CONTRAST = 32;
  const FAINTEST_INK = 0.25; // as a fraction of the strongest

  // Round half to even, as Python does.
  function roundHalfEven(value) {
    const below = Math.floor(value);
    if (value - below !== 0.5) return Math.round(value);
    return below % 2 === 0 ? below : below + 1;
  }

  const highest = (values) => values.reduce((most, value) => Math.max(most, value), 0);
  const between = (value, low, high) => Math.min(Math.max(value, low), high);

  function transpose({ height, width, values }) {
    const transposed = Float64Array.from(values, (_, at) => values[(at % height) * width + Math.floor(at / height)]);
    return { height: width, width: height, values: transposed };
  }

  // Cut off the rows above and below the ink.
  function cropRows({ height, width, values }, faintest) {
    const rowOf = (row) => values.subarray(row * width, (row + 1) * width);
    const inked = Array.from({ length: height }, (_, row) => row).filter((row) => rowOf(row).some((value) => value >= faintest));
    const [top, end] = [inked[0], inked.at(-1) + 1];
    return { height: end - top, width, values: values.subarray(top * width, end * width) };
  }

  // Crop to the smallest rectangle that contains all ink.
  function crop(picture) {
    const faintest = FAINTEST_INK * highest(picture.values);
    return transpose(cropRows(transpose(cropRows(picture, faintest)), faintest));
  }

  function hamming(x) {
    if (x === 0) return 1;
    if (Math.abs(x) >= 1) return 0;
    return (Math.sin(Math.PI * x) / (Math.PI * x)) * (0.54 + 0.46 * Math.cos(Math.PI * x));
  }

  const triangle = (x) => Math.max(0, 1 - Math.abs(x));

  // For each new position, the first old position and the weights of a filter, as in Pillow's resize.
  function filterParts(from, to, filter) {
    const step = from / to;
    const support = Math.max(step, 1);
    return Array.from({ length: to }, (_, position) => {
      const centre = (position + 0.5) * step;
      const first = Math.max(0, Math.trunc(centre - support + 0.5));
      const end = Math.min(from, Math.trunc(centre + support + 0.5));
      const parts = Array.from({ length: end - first }, (_, i) => filter((i + first - centre + 0.5) / support));
      const whole = parts.reduce((total, part) => total + part, 0);
      return { first, parts: parts.map((part) => part / whole) };
    });
  }

  function resizeRows(picture, width, filter) {
    const filters = filterParts(picture.width, width, filter);
    const values = new Float64Array(picture.height * width);
    for (let row = 0; row < picture.height; row++) {
      filters.forEach(({ first, parts }, column) => {
        let value = 0;
        parts.forEach((part, i) => (value += part * picture.values[row * picture.width + first + i]));
        values[row * width + column] = value;
      });
    }
    return { height: picture.height, width, values };
  }

  function resize(picture, rows, columns, filter) {
    return transpose(resizeRows(transpose(resizeRows(picture, columns, filter)), rows, filter));
  }

  // Scale to INK_PART of height x width, with the aspect ratio kept and the strongest value 255.
  function scale(ink, height, width) {
    const factor = INK_PART * Math.min(height / ink.height, width / ink.width);
    const rows = Math.max(1, roundHalfEven(factor * ink.height));
    const columns = Math.max(1, roundHalfEven(factor * ink.width));
    const scaled = resize(ink, rows, columns, hamming);
    const strongest = highest(scaled.values);
    const whole = scaled.values.map((value) => between(roundHalfEven((value * 255) / strongest), 0, 255));
    return { ...scaled, values: whole };
  }

  // Place on a black image of height x width, with the centre of mass as near to the middle as the edges allow.
  function place(ink, height, width) {
    const rowOf = (at) => Math.floor(at / ink.width);
    const columnOf = (at) => at % ink.width;
    const mass = ink.values.reduce((sum, value) => sum + value, 0);
    const centreOf = (positionOf) => ink.values.reduce((sum, value, at) => sum + value * positionOf(at), 0) / mass;
    const top = between(roundHalfEven(height / 2 - centreOf(rowOf)), 0, height - ink.height);
    const left = between(roundHalfEven(width / 2 - centreOf(columnOf)), 0, width - ink.width);
    const canvas = new Uint8Array(height * width);
    ink.values.forEach((value, at) => (canvas[(top + rowOf(at)) * width + left + columnOf(at)] = value));
    return canvas;
  }

  // Return ink in the range of values of the data set, and dark if its background is light.
  function applyStyle(ink, { background, darkest, brightest }) {
    const range = Math.max(1, brightest - darkest);
    const begin = background === "light" ? brightest : darkest;
    const sign = background === "light" ? -1 : 1;
    return ink.map((value) => between(begin + sign * roundHalfEven(value * (range / 255)), 0, 255));
  }

  // Return uint8 pixels of height x width, or null if nothing is drawn.
  function prepare(picture, height, width, style) {
    if (highest(picture.values) < MIN_CONTRAST) return null;
    // The canvas has the aspect ratio of the images, so that each way of resizing scales it as a whole.
    if (style.resize) return applyStyle(resize(picture, height, width, triangle).values.map(roundHalfEven), style);
    return applyStyle(place(scale(crop(picture), height, width), height, width), style);
  }

  // Return the picture on a canvas. It is grey, so the red channel is enough.
  function readCanvas(canvas) {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const values = Float64Array.from({ length: data.length / 4 }, (_, at) => data[4 * at]);
    return { height: canvas.height, width: canvas.width, values };
  }

  // Let a mouse, finger or pen draw on a canvas; call strokeEnded after each stroke.
  function makePad(canvas, height, width, strokeEnded) {
    const factor = Math.max(2, Math.round(280 / Math.max(height, width)));
    Object.assign(canvas, { height: height * factor, width: width * factor });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const lineWidth = 0.075 * factor * Math.min(height, width);
    let before = null; // the end of the line so far

    const clear = () => context.fillRect(0, 0, canvas.width, canvas.height); // with the initial style, black

    function drawTo({ clientX, clientY }) {
      const box = canvas.getBoundingClientRect();
      const point = [((clientX - box.left) / box.width) * canvas.width, ((clientY - box.top) / box.height) * canvas.height];
      Object.assign(context, { strokeStyle: "#fff", lineCap: "round", lineJoin: "round", lineWidth });
      context.beginPath();
      context.moveTo(...(before ?? point));
      context.lineTo(...point);
      context.stroke();
      before = point;
    }

    canvas.addEventListener("pointerdown", (event) => {
      if (!event.isPrimary) return;
      canvas.setPointerCapture(event.pointerId);
      drawTo(event);
      event.preventDefault();
    });
    canvas.addEventListener("pointermove", (event) => event.isPrimary && before && drawTo(event));
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, ({ isPrimary }) => {
        if (!isPrimary || !before) return;
        before = null;
        strokeEnded();
      });
    }
    clear();
    return { clear };
  }

  return { prepare, readCanvas, makePad };
})();
