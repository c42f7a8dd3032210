// Plotly charts that are updated in place: zoom, legend choices and an open hover label survive new data.
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

export default function ({ data, parentElement }) {
  const frame = parentElement.querySelector(".live-charts");
  const parts = parentElement.querySelector(".live-chart-parts").content;
  while (frame.childElementCount < data.charts.length) frame.append(parts.cloneNode(true));
  const hosts = [...frame.querySelectorAll(".live-chart")];
  data.charts.forEach((one, place) => {
    hosts[place].chart ??= new Chart(hosts[place], one.name);
    hosts[place].chart.show(one);
  });
  return () => {
    for (const host of hosts) {
      host.chart?.close();
      host.chart = undefined;
    }
  };
}
