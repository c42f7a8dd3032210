// One Plotly chart that is redrawn in place: zoom, legend choices and an open hover label survive new data.
// Streamlit calls the default export at every change of data or theme, and the function it returned last at unmount.

/** Loads plotly.js once a page, however many charts ask; a failed load may be tried again. */
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

/** The figure's defaults in the colours and type of the page's theme. */
function themed(host) {
  const style = getComputedStyle(host);
  const value = (name) => style.getPropertyValue(name).trim();
  const text = value("--st-text-color");
  const line = value("--st-border-color");
  const background = value("--st-background-color"); // not transparent: a PNG of it is read on other pages
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
      // A finger that drags over the chart means to scroll the page.
      dragmode: window.matchMedia("(pointer: coarse)").matches ? false : "zoom",
    },
  };
}

class Chart {
  constructor(host, name) {
    this.host = host;
    this.message = host.parentNode.querySelector(".live-chart-message");
    this.drawn = "";
    // One object for good: Plotly starts over, and forgets the zoom, when the configuration changes.
    this.config = {
      displaylogo: false,
      modeBarButtons: [["toImage"], ["zoom2d", "pan2d", "resetScale2d"]],
      toImageButtonOptions: { format: "png", filename: name, width: null, height: null, scale: 2 },
    };
    this.listeners = new AbortController();
    // A chart in a closed tab or a hidden page has no size; it is drawn when it gets one.
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
      await new Promise((resolve) => setTimeout(resolve)); // the rest of the page's answer goes before the drawing
      if (!this.data) return; // taken off the page meanwhile
      const { data, layout } = JSON.parse(figure);
      // Plotly looks for what a removed trace leaves behind by a selector made of its uid.
      for (const trace of data) if (trace.uid) trace.uid = trace.uid.replace(/[^\w-]/g, "_");
      const { paper_bgcolor, plot_bgcolor } = template.layout;
      const settled = { uirevision: "live", ...layout, template, paper_bgcolor, plot_bgcolor, width, height };
      await this.plotly.react(this.host, data, settled, this.config);
      this.drawn = wanted;
      this.message.hidden = true;
    } catch (error) {
      console.warn(`The chart could not be drawn: ${error.message}`);
      this.message.hidden = false;
      setTimeout(() => this.draw(), 3000);
    } finally {
      this.busy = false;
    }
    if (this.message.hidden) this.draw(); // what came in meanwhile
  }

  close() {
    this.sizes.disconnect();
    this.listeners.abort();
    this.data = undefined;
    this.plotly?.purge(this.host);
  }
}

export default function ({ data, parentElement }) {
  const host = parentElement.querySelector(".live-chart");
  host.chart ??= new Chart(host, data.name);
  host.chart.show(data);
  return () => {
    host.chart?.close();
    host.chart = undefined;
  };
}
