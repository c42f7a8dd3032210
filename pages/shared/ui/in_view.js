// Scrolls to the place on the page where it is drawn, once for each thing that is shown there.

export default function ({ parentElement, data }) {
  if (window.loraLabInView === data) return;
  window.loraLabInView = data;
  const place = parentElement.host ?? parentElement;
  place.style.scrollMarginTop = "4.5rem"; // of the bar at the top
  // What lies above is drawn at the same time, and may move the place a moment later.
  for (const wait of [0, 400]) setTimeout(() => place.scrollIntoView(), wait);
}
