// The point: one code, which everything on the page can move, and its image, which is decoded while the point moves.

const point = { code: null };
const shown = { code: null, image: null }; // the code of the last decode and its image

const pointCanvas = document.getElementById("now");
const refresh = latest(async () => {
  const code = Float32Array.from(point.code);
  shown.image = await decode(code);
  shown.code = code;
  paint(pointCanvas, shown.image);
});

/** Move the point to a code. */
function setPoint(code) {
  point.code = Float32Array.from(code);
  drawMap();
  showAxes();
  describePoint();
  return refresh();
}

/** Move the point on the map: along the first two axes, or to the nearest dot if it jumps from dot to dot. */
function walkTo(x, y) {
  x = Math.min(map.high[0], Math.max(map.low[0], x));
  y = Math.min(map.high[1], Math.max(map.low[1], y));
  if (document.getElementById("snap").checked) return setPoint(codeOf(nearestOnMap(x, y)));
  return setPoint(moved(point.code, axisCount > 1 ? { 0: x, 1: y } : { 0: x }));
}

const signed = (value) => (value < -0.005 ? "−" : value > 0.005 ? "+" : "") + Math.abs(value).toFixed(2);

let speaking = 0;
/** Say where the point is: in the text at once, and to screen readers when the point has stopped. */
function describePoint() {
  const at = coordinatesOf(point.code);
  const axes = [...at.slice(0, 2)].map((value, k) => `axis ${k + 1}: ${signed(value)} σ`);
  const label = labelOf(nearestTo(point.code));
  const near = latent.labels ? label : "";
  document.getElementById("place").textContent = axes.join("\n");
  document.getElementById("nearest").textContent = near;
  document.getElementById("nearest-line").hidden = !near;
  clearTimeout(speaking);
  speaking = setTimeout(() => {
    const spoken = axes.join(", ").replaceAll("σ", "standard deviations");
    document.getElementById("status").textContent = near ? `${spoken}, nearest training image: ${near}` : spoken;
    const time = medianDecodeTime();
    document.getElementById("speed").textContent = Number.isNaN(time) ? "" : `${time.toFixed(1)} ms a decode`;
  }, 300);
}

function setUpPoint() {
  document.getElementById("to-nearest").addEventListener("click", () => setPoint(codeOf(nearestTo(point.code))));
  document.getElementById("to-mean").addEventListener("click", () => setPoint(latent.mean));
  document.getElementById("save-point").addEventListener("click", () => savePng("point", [shown.image]));
}
