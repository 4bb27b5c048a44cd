import { drawing } from "./drawing.js";
import { page } from "./page.js";
import { pageModel } from "./page_model.js";
import { pictures } from "./pictures.js";

/* The part of the page to draw on: the drawing is shown as the network gets it, inspected, and trained on if the user says so. */
export const drawingPad = (() => {
  const { byId, on, say } = page;

  // Show the drawing as an example of the class that the user chose; without one, show nothing.
  function show(pad) {
    const { model, pixels } = pad;
    byId("add").disabled = pixels === null;
    say("drawn", "");
    byId("prepared").replaceChildren();
    if (pixels === null) return;
    const label = Number(byId("target").value);
    pad.example = pageModel.makeExample(model, null, `Your drawing, meant to be ${model.classNames[label]}`, pixels, label);
    say("drawn", `The trained network answers ${model.classNames[pageModel.answer(model, pad.example.x)]}.`);
    byId("prepared").replaceChildren(pictures.image("as the network gets it", pad.example.x, model.height, model.width));
    pad.choose(pad.example);
  }

  function add({ model, example, train }) {
    byId("add").disabled = true; // once: a further stroke makes another example
    say("drawn", `It is one of the train examples now, as ${model.classNames[example.target]}, and in the next batch.`);
    train(example);
  }

  // choose(example) is called for each stroke, train(example) if the user asks for it.
  function make(model, choose, train) {
    const { height, width, style, classNames } = model;
    const pad = { model, choose, train, pixels: null, example: null };
    const setPixels = (pixels) => {
      pad.pixels = pixels;
      show(pad);
    };
    const canvas = byId("pad");
    const { clear } = drawing.makePad(canvas, height, width, () => {
      setPixels(drawing.prepare(drawing.readCanvas(canvas), height, width, style));
    });
    canvas.classList.toggle("light", style.background === "light");
    byId("target").replaceChildren(...classNames.map((name, value) => pictures.make("option", { value }, name)));
    on("target", "change", () => show(pad));
    on("add", "click", () => add(pad));
    on("clear", "click", () => {
      clear();
      setPixels(null);
    });
  }

  return { make };
})();
