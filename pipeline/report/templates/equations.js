/* The equations of the inspector in MathML, in the notation of the article. */
export const equations = (() => {
  const NAMES = { sigmoid: "σ", tanh: "tanh", relu: "relu", softmax: "softmax" };

  function element(name, ...children) {
    const node = document.createElementNS("http://www.w3.org/1998/Math/MathML", name);
    node.append(...children);
    return node;
  }

  const mi = (text) => element("mi", text);
  const mn = (text) => element("mn", String(text));
  const mo = (text) => element("mo", text);
  const row = (...parts) => element("mrow", ...parts);
  const sub = (name, l) => element("msub", mi(name), mn(l));
  const transposed = (name, l) => element("msubsup", mi(name), mn(l), mi("T"));
  const nabla = (name, l) => row(mo("∇"), sub(name, l));
  const inside = (...parts) => row(mo("("), ...parts, mo(")"));
  const slope = (name, l) => row(mi(`${NAMES[name]}′`), inside(sub("z", l)));
  const math = (...parts) => element("math", row(...parts));
  const difference = (last) => row(sub("a", last), mo("−"), mi("y"));

  const input = () => math(sub("a", 0), mo("="), mi("x"), mo("/"), mn(255));
  const weighted = (l) =>
    math(sub("z", l), mo("="), sub("a", l - 1), mo("·"), sub("w", l), mo("+"), sub("b", l));
  const value = (l, name) => math(sub("a", l), mo("="), mi(NAMES[name]), inside(sub("z", l)));

  function loss(name, output, last) {
    if (name === "quadratic") {
      const squared = element("msup", row(mo("|"), difference(last), mo("|")), mn(2));
      return math(mi("C"), mo("="), element("mfrac", mn(1), mn(2)), squared);
    }
    const yes = row(mi("y"), mi("log"), sub("a", last));
    const no = row(inside(mn(1), mo("−"), mi("y")), mi("log"), inside(mn(1), mo("−"), sub("a", last)));
    const each = output === "softmax" ? inside(yes) : inside(yes, mo("+"), no);
    return math(mi("C"), mo("="), mo("−"), mo("∑"), each);
  }

  // With cross-entropy, a − y is dC/dz and not dC/da, because the derivative of the output function cancels.
  const nameOfDifference = (config) => (config.loss === "cross-entropy" ? [mi("d")] : [mo("∇"), mi("a")]);
  const differenceOf = (config, last) => math(...nameOfDifference(config), mo("="), difference(last));

  function outputDelta(config, last) {
    const left = [nabla("z", last), mo("=")];
    const d = () => row(...nameOfDifference(config));
    if (config.loss === "cross-entropy") return math(...left, d());
    if (config.output === "sigmoid") return math(...left, d(), mo("⊙"), slope("sigmoid", last));
    const along = row(mo("∑"), sub("a", last), mo("⊙"), d());
    return math(...left, sub("a", last), mo("⊙"), inside(d(), mo("−"), along));
  }

  const hiddenDelta = (l, activation) => [
    math(nabla("a", l), mo("="), nabla("z", l + 1), mo("·"), transposed("w", l + 1)),
    math(nabla("z", l), mo("="), nabla("a", l), mo("⊙"), slope(activation, l)),
  ];

  const gradients = (l) => [
    math(nabla("b", l), mo("="), nabla("z", l)),
    math(nabla("w", l), mo("="), transposed("a", l - 1), mo("·"), nabla("z", l)),
  ];

  function descent(config, l) {
    const shrunk = config.weight_decay
      ? inside(nabla("w", l), mo("+"), mn(config.weight_decay), sub("w", l))
      : nabla("w", l);
    return [
      math(sub("w", l), mo("←"), sub("w", l), mo("−"), mn(config.weights_rate), shrunk),
      math(sub("b", l), mo("←"), sub("b", l), mo("−"), mn(config.biases_rate), nabla("b", l)),
    ];
  }

  return { input, weighted, value, loss, differenceOf, outputDelta, hiddenDelta, gradients, descent };
})();
