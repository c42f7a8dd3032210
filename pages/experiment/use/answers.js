// The answers of several networks to one input: a row per network, a column per class, darker where more probable.
// Where that is wider than the page, as on a phone, each class that has a probability stands below its network instead.

const DARKEST = 0.5; // opacity at a probability of 1: text on it can be read on light and on dark pages

function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function head({ heading, classes, rows }) {
  const known = rows.some((row) => row.right !== null);
  const columns = ["Network", "Answer", "Probability", ...(known ? ["Right"] : [])];
  return make(
    "thead",
    {},
    make("tr", {}, make("td", { colSpan: columns.length }), make("th", { scope: "colgroup", colSpan: classes.length, textContent: heading })),
    make(
      "tr",
      {},
      ...columns.map((name) => make("th", { scope: "col", textContent: name })),
      ...classes.map((name) => make("th", { scope: "col", className: "class" }, make("span", { textContent: name }))),
    ),
  );
}

function line(row, classes) {
  const right = row.right === null ? [] : [make("td", { textContent: row.right ? "✓ yes" : "✗ no" })];
  const cells = row.cells.map(({ share, text, label }, place) => {
    const cell = make("td", { className: "class", textContent: text, title: label });
    cell.dataset.name = classes[place];
    cell.style.background = `rgba(66, 120, 200, ${DARKEST * share})`;
    return cell;
  });
  return make(
    "tr",
    {},
    make("th", { scope: "row", textContent: row.network }),
    make("td", { textContent: row.answer }),
    make("td", { textContent: row.probability }),
    ...right,
    ...cells,
  );
}

function fit(host) {
  host.classList.remove("folded");
  host.classList.toggle("folded", host.scrollWidth > host.clientWidth);
}

export default function ({ data, parentElement }) {
  const host = parentElement.querySelector(".answers");
  const table = host.querySelector("table");
  table.classList.toggle("tall", data.classes.some((name) => name.length > 3));
  table.replaceChildren(head(data), make("tbody", {}, ...data.rows.map((row) => line(row, data.classes))));
  table.setAttribute("aria-label", data.alt);
  fit(host);
  if (host.dataset.watched) return;
  host.dataset.watched = "true";
  new ResizeObserver(() => fit(host)).observe(parentElement.host ?? parentElement);
}
