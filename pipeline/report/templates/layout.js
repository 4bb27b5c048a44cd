/* Where the nodes and edges of the network's picture are, and which of them is at a point. The input is drawn as an image; of a
   layer with many units some are drawn, and of the edges from the pixels those with the largest products. */
export const layout = (() => {
  const MOST_UNITS = 32; // of a layer
  const EDGES_FROM_PIXELS = 3; // to each unit
  const REACH = 7; // pixels from an edge or a node within which a pointer finds it
  const [MARGIN, TOP] = [10, 26];
  const NAMES_WIDTH = 92; // for the names and values of the outputs

  const byStrength = (values, count) =>
    Array.from(values.keys())
      .sort((i, j) => Math.abs(values[j]) - Math.abs(values[i]))
      .slice(0, count);

  // Return the units of every layer that are drawn, in ascending order: those with the largest weights to the next layer.
  function chooseUnits(layers) {
    return layers.map(({ outputs }, i) => {
      const next = layers[i + 1];
      if (outputs <= MOST_UNITS || !next) return Array.from({ length: Math.min(outputs, MOST_UNITS) }, (_, j) => j);
      const strength = new Float64Array(outputs);
      next.weights.forEach((w, at) => (strength[at % outputs] += Math.abs(w)));
      return byStrength(strength, MOST_UNITS).sort((i, j) => i - j);
    });
  }

  // Return {image, nodes}: the box of the input and for every layer a list of {layer, unit, x, y, radius}.
  function place(units, { height, width }, canvasWidth, canvasHeight) {
    const side = Math.min(0.3 * canvasWidth, canvasHeight - TOP - MARGIN);
    const scale = side / Math.max(height, width);
    const image = { x: MARGIN, y: TOP + (canvasHeight - TOP - height * scale) / 2, width: width * scale, height: height * scale };
    const first = image.x + image.width;
    const gap = (canvasWidth - NAMES_WIDTH - first) / units.length;
    const nodes = units.map((shown, i) => {
      const spacing = (canvasHeight - TOP - MARGIN) / shown.length;
      const radius = Math.min(8, 0.42 * spacing);
      return shown.map((unit, n) => ({ layer: i + 1, unit, x: first + (i + 1) * gap - 8, y: TOP + (n + 0.5) * spacing, radius }));
    });
    return { image, nodes };
  }

  // Return the edges as {layer, unit, from, start, end}; start and end are points.
  function listEdges({ image, nodes }, { layers, width, height }, x) {
    const pixelAt = (k) => ({
      x: image.x + (((k % width) + 0.5) / width) * image.width,
      y: image.y + ((Math.floor(k / width) + 0.5) / height) * image.height,
    });
    return nodes.flatMap((ends, i) =>
      ends.flatMap((end) => {
        if (i > 0) return nodes[i - 1].map((start) => ({ layer: i + 1, unit: end.unit, from: start.unit, start, end }));
        const products = x.map((a, k) => a * layers[0].weights[end.unit * x.length + k]);
        return byStrength(products, EDGES_FROM_PIXELS).map((from) => ({ layer: 1, unit: end.unit, from, start: pixelAt(from), end }));
      }),
    );
  }

  function distanceTo({ start, end }, x, y) {
    const [dx, dy] = [end.x - start.x, end.y - start.y];
    const along = Math.min(1, Math.max(0, ((x - start.x) * dx + (y - start.y) * dy) / (dx * dx + dy * dy)));
    return Math.hypot(x - start.x - along * dx, y - start.y - along * dy);
  }

  // Return the place, as in explain.js, at a point; null if there is none within REACH.
  function find({ image, nodes }, edges, { width, height }, x, y) {
    const node = nodes.flat().find((each) => Math.hypot(each.x - x, each.y - y) <= each.radius + REACH / 2);
    if (node) return { kind: "unit", layer: node.layer, unit: node.unit };
    const [column, row] = [Math.floor(((x - image.x) / image.width) * width), Math.floor(((y - image.y) / image.height) * height)];
    if (column >= 0 && column < width && row >= 0 && row < height) return { kind: "pixel", from: row * width + column };
    const distances = edges.map((edge) => distanceTo(edge, x, y));
    const least = Math.min(...distances);
    if (least > REACH) return null;
    const { layer, unit, from } = edges[distances.indexOf(least)];
    return { kind: "edge", layer, unit, from };
  }

  return { chooseUnits, place, listEdges, find };
})();
