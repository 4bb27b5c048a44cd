/* The elements of the inspector, named by the ends of their ids. */
export const page = (() => {
  const byId = (name) => document.getElementById(`inspector-${name}`);
  const say = (name, text) => (byId(name).textContent = text);
  const on = (name, kind, act) => byId(name).addEventListener(kind, act);

  // Put values, in their order, into the <b> elements of a sentence of the page.
  const fill = (name, ...values) => byId(name).querySelectorAll("b").forEach((each, i) => (each.textContent = values[i]));

  return { byId, say, on, fill };
})();
