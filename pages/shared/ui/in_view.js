// Scrolls to the place on the page where it is drawn, once for each press that has asked for it.

const SETTLED = 10_000; // milliseconds after which what lies above is taken to be complete
const STACKED = 640; // width in pixels up to which Streamlit stacks columns

export default function ({ parentElement, data }) {
  if (window.loraLabInView === data.press) return;
  window.loraLabInView = data.press;
  if (data.onlyStacked && window.innerWidth > STACKED) return;
  const place = parentElement.host ?? parentElement;
  place.style.scrollMarginTop = "4.5rem"; // of the bar at the top
  // What lies above is drawn at the same time and moves the place, until it is complete or somebody scrolls.
  const follow = new ResizeObserver(() => place.scrollIntoView());
  const end = () => follow.disconnect();
  follow.observe(place.closest('[data-testid="stMainBlockContainer"]') ?? document.body);
  for (const kind of ["wheel", "touchstart", "pointerdown", "keydown"]) {
    window.addEventListener(kind, end, { capture: true, passive: true, once: true });
  }
  setTimeout(end, SETTLED);
}
