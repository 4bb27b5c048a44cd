/* The parameters that training starts from, drawn as by `initialise` in model/network.py: TensorFlow's stateless random
   operations with the generator Philox-4x32-10 (Salmon et al. 2011), whose normal numbers come from the Box-Muller
   method. Everything is rounded to single precision, as there. */
export const start = (() => {
  const TRUNCATED_AT = 2; // standard deviations
  const GROUP = 4; // numbers that one counter gives
  const BLOCKS_PER_GROUP = 256; // counters that TensorFlow reserves for four truncated numbers, of which some are drawn again

  // Return the high 32 bits of the product of two unsigned 32-bit numbers.
  function multiplyHigh(a, b) {
    const [aHigh, aLow, bHigh, bLow] = [a >>> 16, a & 0xffff, b >>> 16, b & 0xffff];
    const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
    const low = aLow * bHigh + (middle & 0xffff);
    return (aHigh * bHigh + Math.floor(middle / 65536) + Math.floor(low / 65536)) >>> 0;
  }

  // Return four random unsigned 32-bit numbers for a counter of four and a key of two.
  function philox([c0, c1, c2, c3], [k0, k1]) {
    for (let round = 0; round < 10; round++) {
      const [high0, low0] = [multiplyHigh(0xd2511f53, c0), Math.imul(0xd2511f53, c0)];
      const [high1, low1] = [multiplyHigh(0xcd9e8d57, c2), Math.imul(0xcd9e8d57, c2)];
      [c0, c1, c2, c3] = [high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0];
      [k0, k1] = [(k0 + 0x9e3779b9) | 0, (k1 + 0xbb67ae85) | 0];
    }
    return [c0 >>> 0, c1 >>> 0, c2 >>> 0, c3 >>> 0];
  }

  // Return the key and the counter of a stream, given as the low and the high half of its 64 bits.
  function mixSeed([low, high]) {
    const mixed = philox([low, high, 0, 0], [0x3ec8f720, 0x02461e29]);
    return { key: mixed.slice(0, 2), counter: mixed.slice(2) };
  }

  const blockOf = ({ key, counter }, index) => philox([index >>> 0, Math.floor(index / 2 ** 32), ...counter], key);

  // Return a number from 0 to below 1 with 23 random bits.
  const fraction = (bits) => (bits & 0x7fffff) / 2 ** 23;

  // Return two standard normal numbers from two random integers.
  function boxMuller(first, second) {
    const f = Math.fround;
    const radius = f(Math.sqrt(f(-2 * f(Math.log(Math.max(fraction(first), f(1e-7)))))));
    const angle = f(2 * Math.PI * fraction(second));
    return [f(f(Math.sin(angle)) * radius), f(f(Math.cos(angle)) * radius)];
  }

  // Draw numbers by groups of four. Truncated ones beyond TRUNCATED_AT are left out, and the next ones of the group's counters take
  // their places.
  function drawNormal(stream, count, isTruncated) {
    const values = new Float64Array(count);
    for (let at = 0; at < count; at += GROUP) {
      const kept = [];
      for (let block = (at / GROUP) * (isTruncated ? BLOCKS_PER_GROUP : 1); kept.length < GROUP; block++) {
        const [a, b, c, d] = blockOf(stream, block);
        const drawn = [...boxMuller(a, b), ...boxMuller(c, d)];
        kept.push(...drawn.filter((value) => !isTruncated || Math.abs(value) < TRUNCATED_AT));
      }
      values.set(kept.slice(0, Math.min(GROUP, count - at)), at);
    }
    return values;
  }

  // What a weight is made of a drawn number and the count of the layer's inputs; the same number if there is nothing here.
  const weightOf = {
    scaled: (value, inputs) => Math.fround(value / Math.fround(inputs ** 0.5)),
    he: (value, inputs) => Math.fround(value * Math.fround((2 / inputs) ** 0.5)),
  };

  // Return the layers of the given sizes; keys has for each layer the 64-bit keys of its weights and its biases.
  function drawLayers(name, sizes, keys) {
    const weigh = weightOf[name] ?? ((value) => value);
    return sizes.slice(1).map((outputs, i) => {
      const inputs = sizes[i];
      const counts = [inputs * outputs, outputs];
      const [drawn, biases] = keys[i].map((key, n) => drawNormal(mixSeed(key), counts[n], name === "truncated-normal"));
      return { weights: drawn.map((value) => weigh(value, inputs)), biases: name === "he" ? biases.fill(0) : biases, inputs, outputs };
    });
  }

  return { philox, drawLayers };
})();
