// One press of Back undoes one press on the page: an address that changes without a new press replaces the one before.
// Streamlit makes an entry of the browser's history for every change, also for what a page writes into its own address.

function install() {
  let pressed = false;
  for (const kind of ["pointerdown", "keydown"]) {
    window.addEventListener(kind, () => { pressed = true; }, { capture: true, passive: true });
  }
  window.addEventListener("popstate", () => { pressed = false; }, { capture: true });
  const push = window.history.pushState;
  window.history.pushState = function (...address) {
    const change = pressed ? push : window.history.replaceState;
    pressed = false;
    change.apply(this, address);
  };
  return true;
}

export default function () {
  window.loraLabBack ??= install();
}
