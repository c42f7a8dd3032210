// Keeps the place on the page where it is drawn in sight, once for each press that has asked for it.

const LONGEST = 60_000; // milliseconds after which what lies above is taken to be complete
const STACKED = 640; // width in pixels up to which Streamlit stacks columns

export default function ({ parentElement, data }) {
  if (window.loraLabInView?.press !== data.press) {
    const asked = { press: data.press, over: data.onlyStacked && window.innerWidth > STACKED };
    const end = () => {
      asked.over = true;
      asked.follow?.disconnect();
    };
    window.loraLabInView = asked;
    setTimeout(end, LONGEST);
    for (const kind of ["wheel", "touchstart", "pointerdown", "keydown"]) {
      window.addEventListener(kind, end, { capture: true, passive: true, once: true });
    }
  }
  const asked = window.loraLabInView;
  asked.follow?.disconnect();
  if (asked.over) return;
  const place = parentElement.host ?? parentElement;
  place.style.scrollMarginTop = "4.5rem"; // of the bar at the top
  // What lies above is drawn at the same time and moves the place, until it is complete or somebody scrolls.
  asked.follow = new ResizeObserver(() => place.scrollIntoView());
  asked.follow.observe(place.closest('[data-testid="stMainBlockContainer"]') ?? document.body);
}
