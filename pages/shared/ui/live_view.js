// A bar, charts and a table that fetch their own news. Charts are updated in place: zoom, legend choices and an open
// hover label survive new data.
// Streamlit calls the default export whenever data or theme change, and the function it returned last on unmount.

/** Loads plotly.js once per page, for all charts; after a failure the next call tries again. */
function loadPlotly(address) {
  window.loraLabPlotly ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = address;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => {
      script.remove();
      window.loraLabPlotly = undefined;
      reject(new Error(address));
    };
    document.head.append(script);
  });
  return window.loraLabPlotly;
}

/** Waits until the browser has nothing else to do, at most half a second: an answer has more messages than this one. */
function idle() {
  return new Promise((resolve) => {
    if (window.requestIdleCallback) window.requestIdleCallback(resolve, { timeout: 500 });
    else setTimeout(resolve, 50);
  });
}

/** Returns a Plotly template with the colours and fonts of the page's theme. */
function themed(host) {
  const style = getComputedStyle(host);
  const value = (name) => style.getPropertyValue(name).trim();
  const text = value("--st-text-color");
  const line = value("--st-border-color");
  const background = value("--st-background-color"); // not transparent, because a downloaded PNG may be shown on any background
  const size = 0.857 * parseFloat(value("--st-base-font-size") || "14");
  const axis = {
    gridcolor: line,
    zerolinecolor: line,
    linecolor: line,
    spikecolor: value("--st-gray-text-color"),
    spikethickness: 1,
    automargin: true,
    title: { standoff: 8 },
  };
  const colors = value("--st-chart-categorical-colors");
  return {
    layout: {
      font: { family: value("--st-font"), size, color: text },
      title: {
        font: { size: 1.15 * size, weight: 600 },
        subtitle: { font: { size: 0.85 * size, color: value("--st-gray-text-color") } },
      },
      paper_bgcolor: background,
      plot_bgcolor: background,
      ...(colors && { colorway: colors.split(",").map((color) => color.trim()) }),
      margin: { l: 8, r: 8, t: 8, b: 8 },
      xaxis: axis,
      yaxis: axis,
      legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom" },
      hoverlabel: {
        bgcolor: value("--st-secondary-background-color"),
        bordercolor: line,
        font: { family: value("--st-font"), size, color: text },
      },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: value("--st-gray-text-color"), activecolor: text },
      // On a touch screen, dragging over the chart scrolls the page.
      dragmode: window.matchMedia("(pointer: coarse)").matches ? false : "zoom",
    },
  };
}

class Chart {
  constructor(host, name) {
    this.host = host;
    this.message = host.parentNode.querySelector(".live-chart-message");
    this.drawn = "";
    // Never replaced: Plotly starts over and forgets the zoom when it gets another config object.
    this.config = {
      displaylogo: false,
      modeBarButtons: [["toImage"], ["zoom2d", "pan2d", "resetScale2d"]],
      toImageButtonOptions: { format: "png", filename: name, width: null, height: null, scale: 2 },
    };
    this.listeners = new AbortController();
    // A chart in a closed tab or a hidden page has no size; it is drawn as soon as it has one.
    this.sizes = new ResizeObserver(() => this.draw());
    this.sizes.observe(host);
    document.addEventListener("visibilitychange", () => this.draw(), { signal: this.listeners.signal });
  }

  show(data) {
    this.data = data;
    this.host.style.height = `${data.height}px`;
    this.host.setAttribute("aria-label", data.alt);
    this.draw();
  }

  async draw() {
    if (!this.data || document.hidden || !this.host.clientWidth || this.busy) return;
    const { figure, height, library } = this.data;
    const template = themed(this.host);
    const width = this.host.clientWidth;
    const wanted = `${width} ${height} ${JSON.stringify(template)} ${figure}`;
    if (wanted === this.drawn) return;
    this.busy = true;
    try {
      this.plotly = await loadPlotly(library);
      await idle(); // drawing is slow, and the browser reads the rest of the answer first
      if (!this.data) return; // removed from the page in the meantime
      const { data, layout } = JSON.parse(figure);
      // Plotly removes the elements of old traces by a CSS selector made from their uid.
      for (const trace of data) if (trace.uid) trace.uid = trace.uid.replace(/[^\w-]/g, "_");
      const { paper_bgcolor, plot_bgcolor } = template.layout;
      const settled = { uirevision: "live", ...layout, template, paper_bgcolor, plot_bgcolor, width, height };
      // Plotly cannot update a chart none of whose lines has a point: it is drawn anew, also when the first point comes.
      const empty = data.every((trace) => trace.x?.length === 0);
      if (empty || this.empty) this.plotly.purge(this.host);
      this.empty = empty;
      await this.plotly.react(this.host, data, settled, this.config);
      this.drawn = wanted;
      this.message.hidden = true;
    } catch (error) {
      console.warn(`The chart could not be drawn: ${error?.message ?? error}`);
      this.message.hidden = false;
      setTimeout(() => this.draw(), 3000);
    } finally {
      this.busy = false;
    }
    if (this.message.hidden) this.draw(); // data that arrived in the meantime
  }

  close() {
    this.sizes.disconnect();
    this.listeners.abort();
    this.data = undefined;
    this.plotly?.purge(this.host);
  }
}

/** Replaces the text of an element; what has not changed is not touched, as people may have selected it. */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Gives a parent as many children of a kind as there are texts, with these texts. */
function fill(parent, kind, texts) {
  while (parent.childElementCount > texts.length) parent.lastElementChild.remove();
  while (parent.childElementCount < texts.length) parent.append(document.createElement(kind));
  texts.forEach((text, place) => write(parent.children[place], text));
}

const SOON = 1; // seconds after which what the script drew, one element after the other, is asked for at one moment

const PRESSED = 2000; // milliseconds for which a press may be on its way: another run of the script would take its place
let pressed = -PRESSED;
for (const kind of ["pointerdown", "keydown"]) {
  window.addEventListener(kind, () => (pressed = performance.now()), { capture: true, passive: true });
}

/** Whether the script runs, or is about to, because of what somebody has pressed. */
function isBusy() {
  const app = document.querySelector('[data-testid="stApp"]');
  return app?.dataset.testScriptState === "running" || performance.now() - pressed < PRESSED;
}

/** All views of the page that are not closed. */
const views = new Set();

/** What stands in one element of the page: drawn by the script, and by what the server says since. */
class View {
  constructor(element) {
    this.isBeside = Boolean(element.closest('[data-testid="stSidebar"]'));
    this.bar = element.querySelector(".live-bar");
    this.frame = element.querySelector(".live-charts");
    this.table = element.querySelector(".live-table");
    this.parts = element.querySelector(".live-chart-parts").content;
    this.listeners = new AbortController();
    const { signal } = this.listeners;
    document.addEventListener("visibilitychange", () => document.hidden || this.follows || this.look(), { signal });
    views.add(this);
  }

  /** The script has run: what it drew, and how to look for more. */
  drawn({ now, source, every }, runScript) {
    const again = this.version !== undefined;
    Object.assign(this, { source, every, runScript, version: now.version, asked: undefined });
    this.leads = Boolean(source) && !this.isBeside;
    this.show(now);
    for (const view of views) view.wait(Math.min(view.every, SOON));
    if (again && this.leads) this.look();
  }

  /** Whether it looks when another one does, so that the sidebar says the same as the page. */
  get follows() {
    return !this.leads && [...views].some((view) => view.leads);
  }

  wait(seconds = this.every) {
    clearTimeout(this.timer);
    if (this.source && !this.follows) this.timer = setTimeout(() => this.look(), 1000 * seconds);
  }

  /** Asks for what is to be shown now, with all that follow, and shows it at one moment; none while nobody sees it. */
  async look() {
    if (!this.source || this.looking || document.hidden) return;
    const together = [this, ...views].filter((view, place) => !place || (view.follows && view.source && !view.looking));
    const answers = await Promise.all(together.map((view) => view.ask()));
    together.forEach((view, place) => view.take(answers[place]));
  }

  /** What the server answers; nothing if it does not, or if the script has drawn something else meanwhile. */
  async ask() {
    this.looking = true;
    const { source, version } = this;
    try {
      const answer = await fetch(source, { signal: this.listeners.signal });
      const now = answer.ok ? await answer.json() : undefined;
      return { source, version, now };
    } catch (error) {
      // The server is away: Streamlit's page says so, and runs the script when it is back.
      if (!this.listeners.signal.aborted) console.debug(`A live view found nothing: ${error?.message ?? error}`);
      return {};
    }
  }

  take({ source, version, now }) {
    this.looking = false;
    if (this.listeners.signal.aborted) return;
    if (now && source === this.source && version === this.version) {
      this.show(now);
      this.compare(now.version);
    }
    this.wait();
  }

  /** Has the script run where the page is to change, at a look when it is idle; again later, if a question was lost. */
  compare(version) {
    const patience = 5000;
    if (version === this.version || performance.now() - this.asked < patience || isBusy()) return;
    this.asked = performance.now();
    this.runScript(version);
  }

  show({ words, share, charts, table }) {
    this.bar.hidden = !words;
    const [text, track] = this.bar.children;
    write(text, words);
    track.hidden = share === null;
    track.setAttribute("aria-valuenow", Math.round(100 * share));
    track.setAttribute("aria-label", words);
    track.firstElementChild.style.width = `${100 * share}%`;
    while (this.frame.childElementCount < charts.length) this.frame.append(this.parts.cloneNode(true));
    charts.forEach((one, place) => {
      const host = this.frame.children[place].querySelector(".live-chart");
      host.chart ??= new Chart(host, one.name);
      host.chart.show(one);
    });
    this.table.hidden = !table.rows.length;
    this.table.firstElementChild.setAttribute("aria-label", table.about);
    fill(this.table.querySelector("thead > tr"), "th", table.titles);
    const body = this.table.querySelector("tbody");
    while (body.childElementCount > table.rows.length) body.lastElementChild.remove();
    while (body.childElementCount < table.rows.length) body.append(document.createElement("tr"));
    table.rows.forEach((row, place) => fill(body.children[place], "td", row));
  }

  close() {
    clearTimeout(this.timer);
    this.listeners.abort();
    views.delete(this);
    for (const view of views) view.wait();
    for (const host of this.frame.querySelectorAll(".live-chart")) host.chart?.close();
    this.frame.replaceChildren();
  }
}

export default function ({ data, parentElement, setTriggerValue }) {
  const element = parentElement.querySelector(".live-view").parentElement;
  element.view ??= new View(element);
  element.view.drawn(data, (version) => setTriggerValue("changed", version));
  return () => {
    element.view?.close();
    element.view = undefined;
  };
}
