// A heat map of buttons, so that mouse, finger, keyboard and screen reader all reach a tile.
// Streamlit calls the default export at every change of data: tiles change in place, and focus stays.

/** The table with all its places empty. */
function build(host, map) {
  const make = (tag, properties, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const head = make("tr", {}, make("td", {}), ...map.columns.map((name) => make("th", { scope: "col", textContent: name })));
  const rows = map.rows.map((name, row) => {
    const cells = map.columns.map((_, column) => make("td", { id: `${row}-${column}` }));
    return make("tr", {}, make("th", { scope: "row", textContent: name }), ...cells);
  });
  // The first row is at the bottom, as on an axis.
  const body = make("tbody", {}, ...rows.reverse());
  host.querySelector("table").replaceChildren(make("thead", {}, head), body);
}

export default function ({ data, parentElement, setTriggerValue }) {
  const host = parentElement.querySelector(".tile-map");
  const shape = JSON.stringify([data.columns, data.rows]);
  if (host.dataset.shape !== shape) {
    build(host, data);
    host.dataset.shape = shape;
  }
  host.querySelector("table").setAttribute("aria-label", data.alt);
  const taken = new Set(data.tiles.map((tile) => `${tile.row}-${tile.column}`));
  for (const place of host.querySelectorAll("td[id]")) {
    if (!taken.has(place.id)) place.replaceChildren();
  }
  for (const tile of data.tiles) {
    const place = host.querySelector(`[id="${tile.row}-${tile.column}"]`);
    const button = place.firstChild ?? place.appendChild(document.createElement("button"));
    button.textContent = tile.text;
    button.title = tile.label;
    button.setAttribute("aria-label", tile.label);
    button.style.background = tile.colour ?? "";
    button.style.color = tile.ink ?? "";
    button.style.boxShadow = tile.frame ? `0 0 0 3px ${tile.frame}` : "";
    button.onclick = () => setTriggerValue("opened", tile.key);
  }
  const legend = host.querySelector(".legend");
  legend.hidden = !data.high;
  const [low, bar, high] = legend.children;
  low.textContent = data.low;
  bar.style.background = `linear-gradient(to right, ${data.scale.join(", ")})`;
  high.textContent = data.high;
}
