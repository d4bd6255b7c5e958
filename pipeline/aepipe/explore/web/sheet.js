// The sheet on which users draw their own image.

/** Set up the sheet, for models of small grey images. Its ink is bright on dark or dark on bright, as in the examples. */
function setUpDrawing() {
  const sheet = document.getElementById("sheet");
  const open = document.getElementById("draw");
  if (channels !== 1 || Math.max(width, height) > 64) {
    open.hidden = true;
    return;
  }
  const scale = Math.ceil(224 / Math.max(width, height));
  [sheet.width, sheet.height] = [width * scale, height * scale];
  const context = sheet.getContext("2d", { willReadFrequently: true });
  Object.assign(context, { lineCap: "round", lineJoin: "round", lineWidth: (0.085 * (sheet.width + sheet.height)) / 2 });
  let entry = null;
  let last = null; // where the stroke has come to; null if no stroke is being drawn
  let drawn = false;
  const update = latest(async () => {
    if (!drawn) return;
    const pixels = await fitToModel(sheet);
    entry ??= addToTray("your drawing", pixels, true);
    entry.pixels = pixels;
    paint(entry.button.firstChild, pixels);
    await chooseImage(entry);
  });
  const clear = () => {
    const onBlack = tray.reduce((sum, { pixels }) => sum + pixels.reduce((a, b) => a + b, 0), 0) < 0.5 * tray.length * pixelCount;
    context.fillStyle = onBlack ? "#000" : "#fff";
    context.strokeStyle = onBlack ? "#fff" : "#000";
    context.fillRect(0, 0, sheet.width, sheet.height);
    entry = null; // the next drawing is another image
    drawn = false;
  };
  const stroke = (event) => {
    const at = [(event.offsetX * sheet.width) / sheet.clientWidth, (event.offsetY * sheet.height) / sheet.clientHeight];
    context.beginPath();
    context.moveTo(...(last ?? at));
    context.lineTo(...at);
    context.stroke();
    last = at;
    drawn = true;
    update();
  };
  sheet.addEventListener("pointerdown", (event) => (sheet.setPointerCapture(event.pointerId), stroke(event)));
  sheet.addEventListener("pointermove", (event) => last && stroke(event));
  for (const name of ["pointerup", "pointercancel"]) sheet.addEventListener(name, () => (last = null));
  open.addEventListener("click", () => {
    const panel = document.getElementById("drawing");
    panel.hidden = !panel.hidden;
    open.setAttribute("aria-expanded", String(!panel.hidden));
    if (!panel.hidden) clear();
  });
  document.getElementById("clear").addEventListener("click", clear);
}
