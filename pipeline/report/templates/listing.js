/* The table of runs on the index page: sorted by any column, filtered by words. */
export const listing = (() => {
  // Whether every word of the query is somewhere in the text.
  function matches(text, query) {
    const words = query.toLowerCase().split(/\s+/);
    return words.every((word) => text.toLowerCase().includes(word));
  }

  function compare(a, b) {
    const difference = Number(a) - Number(b);
    return Number.isNaN(difference) ? a.localeCompare(b) : difference;
  }

  // Return the places of texts in order, by number where all are numbers; empty ones stay last in either direction.
  function order(values, descending) {
    const places = [...values.keys()];
    const sign = descending ? -1 : 1;
    return places.sort((i, j) => (values[i] === "") - (values[j] === "") || sign * compare(values[i], values[j]));
  }

  function sortBy(heading, rows) {
    const column = heading.cellIndex;
    const descending = heading.getAttribute("aria-sort") === "ascending";
    heading.parentElement.querySelectorAll("th").forEach((each) => each.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const values = rows.map((row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim());
    rows[0].parentElement.append(...order(values, descending).map((place) => rows[place]));
  }

  function filter(rows, query) {
    rows.forEach((row) => (row.hidden = !matches(row.textContent, query)));
    const shown = rows.filter((row) => !row.hidden).length;
    document.getElementById("listing-count").textContent = `${shown} of ${rows.length} runs`;
  }

  function begin() {
    const table = document.getElementById("listing-table");
    if (!table) return;
    const rows = [...table.tBodies[0].rows];
    const words = document.getElementById("listing-words");
    table.querySelectorAll("thead th button").forEach((button) => {
      button.disabled = false;
      button.addEventListener("click", () => sortBy(button.parentElement, rows));
    });
    words.addEventListener("input", () => filter(rows, words.value));
    document.getElementById("listing-filter").hidden = false;
    filter(rows, words.value);
  }

  if (typeof document !== "undefined") begin(); // not in the tests by Node.js

  return { matches, order };
})();
