/* The inspector: the user selects or draws an example, and steps through its forward and backward pass. */
const inspector = (() => {
  const SECONDS_A_STAGE = 2;
  const lower = (l) => String(l).replace(/\d/g, (digit) => "₀₁₂₃₄₅₆₇₈₉"[digit]);
  const byId = (name) => document.getElementById(`inspector-${name}`);

  // Return the stages of an example as {title, formulas, said, show}; formulas and show create elements.
  function stagesOf(model, example) {
    const { config, layers, classNames, height, width } = model;
    const y = network.oneHot(example.target, classNames.length);
    const pass = network.propagate(model.functions, layers, network.scale(example.pixels), y);
    const stages = [inputStage(model, example, pass)];
    layers.forEach((layer, i) => stages.push(...layerStages(model, example, pass, i + 1)));
    stages.push(differenceStage(model, example, pass, y), outputDeltaStage(model, example, pass));
    for (let l = layers.length; l >= 1; l--) {
      if (l < layers.length) stages.push(hiddenDeltaStage(config, pass, l));
      stages.push(gradientStage(pass, l, height, width));
    }
    stages.push(descentStage(model, example, pass, y));
    return stages;
  }

  function inputStage({ height, width }, example, pass) {
    return {
      title: "The input",
      formulas: () => [equations.input()],
      said: `${example.title}. Its ${pictures.counted(height * width)} pixels, divided by 255, are a₀.`,
      show: () => [pictures.image("a₀", pass.a[0], height, width)],
    };
  }

  function layerStages(model, example, pass, l) {
    const { config, layers, classNames } = model;
    const last = l === layers.length;
    const name = last ? config.output : config.activation;
    const show = (symbol, values) =>
      last
        ? pictures.outputs(`${symbol}${lower(l)}, class by class`, { [`${symbol}${lower(l)}`]: values }, classNames, example.target)
        : pictures.vector(`${symbol}${lower(l)}`, values);
    const answer = network.largest(pass.a[l]);
    const answered = `The largest output is ${pictures.written(pass.a[l][answer])}: the answer is ${classNames[answer]}.`;
    return [
      {
        title: `Layer ${l}: the weighted input`,
        formulas: () => [equations.weighted(l)],
        said: `z${lower(l)} has ${pictures.counted(pass.z[l].length)} values ${pictures.rangeOf(pass.z[l])}.`,
        show: () => [show("z", pass.z[l])],
      },
      {
        title: last ? `Layer ${l}: the output` : `Layer ${l}: the value`,
        formulas: () => [equations.value(l, name)],
        said: last ? answered : `a${lower(l)} has ${pictures.counted(pass.a[l].length)} values ${pictures.rangeOf(pass.a[l])}.`,
        show: () => [show("a", pass.a[l])],
      },
    ];
  }

  function differenceStage({ config, layers, classNames }, example, pass, y) {
    const last = layers.length;
    const columns = { [`a${lower(last)}`]: pass.a[last], y, difference: pass.difference };
    return {
      title: "The difference, and the loss",
      formulas: () => [equations.differenceOf(config, last), equations.loss(config.loss, config.output, last)],
      said: `The target y is 1 for ${classNames[example.target]}, else 0. The loss C is ${pictures.written(pass.loss)}.`,
      show: () => [pictures.outputs(`a${lower(last)} minus y`, columns, classNames, example.target)],
    };
  }

  function outputDeltaStage({ config, layers, classNames }, example, pass) {
    const last = layers.length;
    const delta = pass.delta[last];
    return {
      title: `Back to z${lower(last)}: the error of the output layer`,
      formulas: () => [equations.outputDelta(config, last)],
      said: `∇z${lower(last)} is dC/dz${lower(last)}, also called delta: ${pictures.counted(delta.length)} values ${pictures.rangeOf(delta)}.`,
      show: () => [pictures.outputs(`∇z${lower(last)}, class by class`, { [`∇z${lower(last)}`]: delta }, classNames, example.target)],
    };
  }

  function hiddenDeltaStage(config, pass, l) {
    const delta = pass.delta[l];
    return {
      title: `Back to z${lower(l)}: the error of layer ${l}`,
      formulas: () => equations.hiddenDelta(l, config.activation),
      said: `The error goes back through the weights. ∇z${lower(l)} has ${pictures.counted(delta.length)} values ${pictures.rangeOf(delta)}.`,
      show: () => [pictures.vector(`∇z${lower(l)}`, delta)],
    };
  }

  function gradientStage(pass, l, height, width) {
    const { weights, biases, inputs, outputs } = pass.gradients[l];
    const ofWeights =
      l === 1
        ? () => pictures.tiles("∇w₁", weights, outputs, height, width)
        : () => pictures.matrix(`∇w${lower(l)}`, weights, outputs, inputs);
    return {
      title: `The gradients of layer ${l}`,
      formulas: () => equations.gradients(l),
      said: `∇w${lower(l)} is dC/dw${lower(l)}: ${pictures.counted(weights.length)} values ${pictures.rangeOf(weights)}. ∇b${lower(l)} is ∇z${lower(l)} itself.`,
      show: () => [ofWeights(), pictures.vector(`∇b${lower(l)}`, biases)],
    };
  }

  function descentStage(model, example, pass, y) {
    const { config, layers, classNames } = model;
    const last = layers.length;
    const after = network.propagate(model.functions, network.descend(config, layers, pass.gradients), pass.a[0], y);
    const columns = { before: pass.a[last], after: after.a[last] };
    return {
      title: "One step down",
      formulas: () => layers.flatMap((_, i) => equations.descent(config, i + 1)),
      said:
        `With rates of ${config.weights_rate} for weights and ${config.biases_rate} for biases, the loss of this ` +
        `example goes from ${pictures.written(pass.loss)} to ${pictures.written(after.loss)}.`,
      show: () => [pictures.outputs(`a${lower(last)} before and after the step`, columns, classNames, example.target)],
      losses: [pass.loss, after.loss],
    };
  }

  function modelFrom(data) {
    return {
      config: data.config,
      functions: network.build(data.config),
      layers: network.decodeLayers(data.parameters, data.layers),
      classNames: data.class_names,
      style: data.style,
      height: data.height,
      width: data.width,
    };
  }

  function examplesFrom(data) {
    const pixels = network.bytesOf(data.images);
    const size = data.height * data.width;
    return data.specimens.map((specimen, i) => {
      const [label, predicted] = [data.class_names[specimen.label], data.class_names[specimen.predicted]];
      const right = specimen.label === specimen.predicted;
      return {
        title: `${specimen.name}, an example of ${label}, ${right ? "answered so" : `answered ${predicted}`}`,
        pixels: pixels.subarray(i * size, (i + 1) * size),
        target: specimen.label,
        right,
      };
    });
  }

  // Return the viewer: the current stage, and functions that change it.
  function makeViewer(model) {
    const state = { stages: [], place: 0, timer: null };

    function show() {
      const stage = state.stages[state.place];
      byId("title").textContent = stage.title;
      byId("equation").replaceChildren(...stage.formulas());
      byId("said").textContent = stage.said;
      byId("pictures").replaceChildren(...stage.show());
      byId("count").textContent = `stage ${state.place + 1} of ${state.stages.length}`;
      byId("progress").max = state.stages.length;
      byId("progress").value = state.place + 1;
      byId("back").disabled = state.place === 0;
      byId("next").disabled = state.place === state.stages.length - 1;
      if (["back", "next"].some((name) => byId(name).disabled && document.activeElement === byId(name))) byId("stage").focus();
    }

    function stop() {
      clearInterval(state.timer);
      state.timer = null;
      byId("play").textContent = "Play";
      byId("play").setAttribute("aria-pressed", "false");
    }

    function go(steps) {
      state.place = Math.min(Math.max(state.place + steps, 0), state.stages.length - 1);
      show();
    }

    function play() {
      if (state.timer !== null) return stop();
      if (state.place === state.stages.length - 1) go(-state.place);
      byId("play").textContent = "Pause";
      byId("play").setAttribute("aria-pressed", "true");
      state.timer = setInterval(() => {
        go(1);
        if (state.place === state.stages.length - 1) stop();
      }, 1000 * SECONDS_A_STAGE);
    }

    function inspect(example) {
      state.stages = stagesOf(model, example);
      go(0);
    }

    return { state, inspect, show, go, play, stop };
  }

  function addSpecimens(examples, model, choose) {
    const choices = examples.map((example, i) => {
      const radio = pictures.make("input", { type: "radio", name: "specimen", value: String(i) });
      radio.setAttribute("aria-label", example.title);
      radio.addEventListener("change", () => choose(example));
      const shown = pictures.grey(network.scale(example.pixels), model.height, model.width, "");
      shown.setAttribute("aria-hidden", "true");
      const className = `specimen ${example.right ? "right" : "wrong"}`;
      return pictures.make("label", { className, title: example.title }, radio, shown);
    });
    byId("specimens").replaceChildren(...choices);
    return choices.map((choice) => choice.firstChild);
  }

  function addPad(model, choose) {
    const target = byId("target");
    target.replaceChildren(
      ...model.classNames.map((name, label) => pictures.make("option", { value: String(label), textContent: name })),
    );
    let pixels = null;
    const use = () => {
      if (pixels === null) return;
      const label = Number(target.value);
      const a = network.forward(model.functions, model.layers, network.scale(pixels)).a;
      const answer = model.classNames[network.largest(a[model.layers.length])];
      byId("drawn").textContent = `The network answers ${answer}.`;
      choose({ title: `Your drawing, meant to be ${model.classNames[label]}`, pixels, target: label });
    };
    byId("pad").classList.toggle("light", model.style.background === "light");
    const pad = drawing.makePad(byId("pad"), model.height, model.width, () => {
      pixels = drawing.prepare(drawing.readCanvas(byId("pad")), model.height, model.width, model.style);
      use();
    });
    byId("clear").addEventListener("click", () => {
      pad.clear();
      pixels = null;
      byId("drawn").textContent = "";
    });
    target.addEventListener("change", use);
  }

  function listen(viewer) {
    byId("back").addEventListener("click", () => (viewer.stop(), viewer.go(-1)));
    byId("next").addEventListener("click", () => (viewer.stop(), viewer.go(1)));
    byId("play").addEventListener("click", viewer.play);
    const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    byId("stage").addEventListener("keydown", (event) => {
      if (!(event.key in steps) || event.ctrlKey || event.altKey || event.metaKey) return;
      viewer.stop();
      viewer.go(steps[event.key]);
      event.preventDefault();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", viewer.show);
  }

  function start() {
    const embedded = byId("data");
    if (embedded === null) return null;
    const data = JSON.parse(embedded.textContent);
    const model = modelFrom(data);
    const viewer = makeViewer(model);
    const examples = examplesFrom(data);
    const radios = addSpecimens(examples, model, viewer.inspect);
    addPad(model, (example) => {
      radios.forEach((radio) => (radio.checked = false));
      viewer.inspect(example);
    });
    listen(viewer);
    const first = Math.max(0, examples.findIndex((example) => !example.right)); // begin with a mistake, if there is one
    radios[first].checked = true;
    byId("root").hidden = false;
    viewer.inspect(examples[first]);
    return { model, viewer, examples };
  }

  return { started: start() };
})();
