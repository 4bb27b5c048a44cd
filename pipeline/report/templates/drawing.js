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

  // Crop to the smallest rectangle that contains all ink.
  function crop(picture) {
    const { width, values } = picture;
    const faintest = FAINTEST_INK * highest(values);
    let [top, left, bottom, right] = [picture.height, width, -1, -1];
    values.forEach((value, at) => {
      if (value < faintest) return;
      const [row, column] = [Math.floor(at / width), at % width];
      [top, left] = [Math.min(top, row), Math.min(left, column)];
      [bottom, right] = [Math.max(bottom, row), Math.max(right, column)];
    });
    const [height, cut] = [bottom - top + 1, right - left + 1];
    const kept = Float64Array.from(
      { length: height * cut },
      (_, at) => values[(top + Math.floor(at / cut)) * width + left + (at % cut)],
    );
    return { height, width: cut, values: kept };
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

  function transpose(picture) {
    const { height, width, values } = picture;
    const transposed = Float64Array.from(values, (_, at) => values[(at % height) * width + Math.floor(at / height)]);
    return { height: width, width: height, values: transposed };
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

  function centreOfMass(masses) {
    const total = masses.reduce((sum, mass) => sum + mass, 0);
    return masses.reduce((sum, mass, at) => sum + mass * at, 0) / total;
  }

  // Place on a black image of height x width, with the centre of mass as near to the middle as the edges allow.
  function place(ink, height, width) {
    const rows = new Float64Array(ink.height);
    const columns = new Float64Array(ink.width);
    ink.values.forEach((value, at) => {
      rows[Math.floor(at / ink.width)] += value;
      columns[at % ink.width] += value;
    });
    const top = between(roundHalfEven(height / 2 - centreOfMass(rows)), 0, height - ink.height);
    const left = between(roundHalfEven(width / 2 - centreOfMass(columns)), 0, width - ink.width);
    const canvas = new Uint8Array(height * width);
    ink.values.forEach((value, at) => {
      canvas[(top + Math.floor(at / ink.width)) * width + left + (at % ink.width)] = value;
    });
    return canvas;
  }

  // Return ink in the range of values of the data set, and dark if its background is light.
  function applyStyle(ink, { background, darkest, brightest }) {
    const range = Math.max(1, brightest - darkest);
    return ink.map((value) => {
      const strength = roundHalfEven(value * (range / 255));
      return between(background === "light" ? brightest - strength : darkest + strength, 0, 255);
    });
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
    [canvas.height, canvas.width] = [height * factor, width * factor];
    const context = canvas.getContext("2d", { willReadFrequently: true });
    let drawingWith = null;
    let before = null;

    function clear() {
      context.fillStyle = "#000";
      context.fillRect(0, 0, canvas.width, canvas.height);
    }

    function positionOf(event) {
      const box = canvas.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * canvas.width;
      return [x, ((event.clientY - box.top) / box.height) * canvas.height];
    }

    function drawTo(point) {
      Object.assign(context, { strokeStyle: "#fff", lineCap: "round", lineJoin: "round" });
      context.lineWidth = 0.075 * Math.min(canvas.width, canvas.height);
      context.beginPath();
      context.moveTo(...before);
      context.lineTo(...point);
      context.stroke();
      before = point;
    }

    canvas.addEventListener("pointerdown", (event) => {
      if (drawingWith !== null) return;
      drawingWith = event.pointerId;
      canvas.setPointerCapture(event.pointerId);
      before = positionOf(event);
      drawTo(before);
      event.preventDefault();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (event.pointerId === drawingWith) drawTo(positionOf(event));
    });
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, (event) => {
        if (event.pointerId !== drawingWith) return;
        drawingWith = null;
        strokeEnded();
      });
    }
    clear();
    return { clear };
  }

  return { prepare, readCanvas, makePad };
})();
