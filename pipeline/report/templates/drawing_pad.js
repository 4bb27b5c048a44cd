import { drawing } from "./drawing.js";
import { pageModel } from "./page_model.js";
import { pictures } from "./pictures.js";

/* The part of the page to draw on: the drawing is shown as the network gets it, inspected, and trained on if the user says so. */
export const drawingPad = (() => {
  const byId = (name) => document.getElementById(`inspector-${name}`);

  function prepare(model) {
    return drawing.prepare(drawing.readCanvas(byId("pad")), model.height, model.width, model.style);
  }

  // Show the drawing as an example of the class that the user chose; without one, show nothing.
  function show(pad) {
    const { model, pixels } = pad;
    byId("add").disabled = pixels === null;
    byId("drawn").textContent = "";
    byId("prepared").replaceChildren();
    if (pixels === null) return;
    const label = Number(byId("target").value);
    pad.example = pageModel.makeExample(model, null, `Your drawing, meant to be ${model.classNames[label]}`, pixels, label);
    byId("drawn").textContent = `The trained network answers ${model.classNames[pageModel.answer(model, pad.example.x)]}.`;
    byId("prepared").replaceChildren(pictures.image("as the network gets it", pad.example.x, model.height, model.width));
    pad.choose(pad.example);
  }

  function add({ model, example, train }) {
    byId("add").disabled = true; // once: a further stroke makes another example
    byId("drawn").textContent = `It is one of the train examples now, as ${model.classNames[example.target]}, and in the next batch.`;
    train(example);
  }

  // choose(example) is called for each stroke, train(example) if the user asks for it.
  function make(model, choose, train) {
    const pad = { model, choose, train, pixels: null, example: null };
    const options = model.classNames.map((name, label) => pictures.make("option", { value: String(label), textContent: name }));
    byId("target").replaceChildren(...options);
    byId("pad").classList.toggle("light", model.style.background === "light");
    const { clear } = drawing.makePad(byId("pad"), model.height, model.width, () => {
      pad.pixels = prepare(model);
      show(pad);
    });
    byId("clear").addEventListener("click", () => {
      clear();
      pad.pixels = null;
      show(pad);
    });
    byId("add").addEventListener("click", () => add(pad));
    byId("target").addEventListener("change", () => show(pad));
  }

  return { make };
})();
