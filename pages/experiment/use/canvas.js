// A black square on which mouse, pen or finger draw in white. After each stroke Python gets it, reduced to a small image.

const INK = 22; // width of a stroke, about two of the 28 pixels that a network sees

/** The canvas at side × side pixels, one byte each, as base64. */
function reduced(canvas, side) {
  const small = Object.assign(document.createElement("canvas"), { width: side, height: side });
  const pen = small.getContext("2d");
  pen.drawImage(canvas, 0, 0, side, side);
  const { data } = pen.getImageData(0, 0, side, side);
  return btoa(Array.from({ length: side * side }, (_, pixel) => String.fromCharCode(data[4 * pixel])).join(""));
}

export default function ({ data, parentElement, setStateValue }) {
  const canvas = parentElement.querySelector("canvas");
  canvas.setAttribute("aria-label", data.alt);
  canvas.send = () => setStateValue("drawing", reduced(canvas, data.side));
  if (canvas.dataset.ready) return;
  canvas.dataset.ready = "true";
  const pen = canvas.getContext("2d");
  const clear = () => {
    pen.fillStyle = "black";
    pen.fillRect(0, 0, canvas.width, canvas.height);
  };
  clear();
  Object.assign(pen, { strokeStyle: "white", lineWidth: INK, lineCap: "round", lineJoin: "round" });
  const draw = (event) => {
    const box = canvas.getBoundingClientRect();
    pen.lineTo(
      ((event.clientX - box.left) * canvas.width) / box.width,
      ((event.clientY - box.top) * canvas.height) / box.height,
    );
    pen.stroke();
  };
  canvas.onpointerdown = (event) => {
    canvas.setPointerCapture(event.pointerId);
    pen.beginPath();
    draw(event);
    draw(event); // a dot, if the pointer does not move
  };
  canvas.onpointermove = (event) => {
    if (canvas.hasPointerCapture(event.pointerId)) draw(event);
  };
  canvas.onpointerup = () => canvas.send();
  canvas.onpointercancel = () => canvas.send();
  parentElement.querySelector("button").onclick = () => {
    clear();
    canvas.send();
  };
}
