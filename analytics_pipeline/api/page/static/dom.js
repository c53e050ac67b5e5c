// Making elements. Text is always set as text: nothing that comes from data is ever read as HTML.

export function $(id) {
  return document.getElementById(id);
}

/** Make an element: `element("td", { class: "number" }, "12")`; children are elements or texts, null is left out. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

/** A table with a caption; `columns` are headings, with `number: true` for those that are aligned right. */
export function table(caption, columns, rows, attributes = {}) {
  const kind = (column) => (column.number ? "number" : null);
  return element(
    "table",
    attributes,
    element("caption", { class: "hidden" }, caption),
    element("thead", {}, element("tr", {}, columns.map((column) => element("th", { scope: "col", class: kind(column) }, column.name)))),
    element(
      "tbody",
      {},
      rows.map((row) =>
        element(
          "tr",
          {},
          row.map((cell, index) =>
            index === 0
              ? element("th", { scope: "row" }, cell)
              : element("td", { class: kind(columns[index]) }, cell),
          ),
        ),
      ),
    ),
  );
}
