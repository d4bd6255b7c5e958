// The map: the training codes on their first two principal axes, and the point whose image is shown.

const COLOURS = [
  "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6",
  "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
]; // these are Petroff's ten colours, which people with any kind of colour vision can tell apart
const dark = matchMedia("(prefers-color-scheme: dark)");
const SHAPES = ["disc", "square", "triangle", "diamond"];

const map = {
  canvas: document.getElementById("map"),
  dots: document.createElement("canvas"),
  low: [-1, -1], // the borders, in standard deviations
  high: [1, 1],
  highlighted: new Set(), // the classes in front; if it is empty, all are
  size: [0, 0],
};

/** The colour of a class; on a dark page some white is mixed in. */
function colourOf(label) {
  const colour = COLOURS[label % COLOURS.length];
  const parts = [1, 3, 5].map((at) => Math.round(0.72 * parseInt(colour.slice(at, at + 2), 16) + 0.28 * 255));
  return dark.matches ? `rgb(${parts})` : colour;
}

const onMap = (code) => {
  const at = coordinatesOf(code);
  return [at[0], axisCount > 1 ? at[1] : 0];
};

/** Turn standard deviations into pixels of the style sheet, and back. */
const toPixels = ([x, y]) => [
  (map.size[0] * (x - map.low[0])) / (map.high[0] - map.low[0]),
  (map.size[1] * (map.high[1] - y)) / (map.high[1] - map.low[1]),
];
const fromPixels = (x, y) => [
  map.low[0] + ((map.high[0] - map.low[0]) * x) / map.size[0],
  map.high[1] - ((map.high[1] - map.low[1]) * y) / map.size[1],
];

/** Where a training code is drawn; with a single axis, codes are spread over the height so that they can be seen. */
function dotAt(index) {
  const x = latent.coordinates[index * axisCount];
  if (axisCount > 1) return [x, latent.coordinates[index * axisCount + 1]];
  return [x, 1.4 * ((index * 0.618034) % 1) - 0.7];
}

function setUpMap() {
  for (let k = 0; k < Math.min(2, axisCount); k++) {
    for (let i = 0; i < bundle.count; i++) {
      const value = latent.coordinates[i * axisCount + k];
      map.low[k] = Math.min(map.low[k], value);
      map.high[k] = Math.max(map.high[k], value);
    }
    const margin = 0.05 * (map.high[k] - map.low[k]);
    map.low[k] -= margin;
    map.high[k] += margin;
  }
  const redraw = () => {
    drawDots();
    drawMap();
  };
  new ResizeObserver(redraw).observe(map.canvas);
  const drawSwatches = setUpLegend(redraw);
  dark.addEventListener("change", () => {
    drawSwatches();
    redraw();
  });
  listenToPointer();
  if (axisCount === 1) document.getElementById("map-help").append(" The height means nothing: it keeps dots apart.");
  map.canvas.addEventListener("keydown", moveByKey);
}

function listenToPointer() {
  let held = false;
  const move = (event) => {
    const box = map.canvas.getBoundingClientRect();
    walkTo(...fromPixels(event.clientX - box.left, event.clientY - box.top));
  };
  map.canvas.addEventListener("pointerdown", (event) => {
    held = true;
    map.canvas.setPointerCapture(event.pointerId);
    move(event);
  });
  map.canvas.addEventListener("pointermove", (event) => held && move(event));
  for (const name of ["pointerup", "pointercancel"]) map.canvas.addEventListener(name, () => (held = false));
}

function moveByKey(event) {
  const step = event.shiftKey ? 0.02 : 0.1;
  const steps = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
  if (event.key === "Home") return event.preventDefault(), setPoint(latent.mean);
  if (!(event.key in steps) || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  const [x, y] = onMap(point.code);
  walkTo(x + steps[event.key][0], y + steps[event.key][1]);
}

const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function fitCanvas(canvas) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(map.size[0] * ratio));
  canvas.height = Math.max(1, Math.round(map.size[1] * ratio));
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

/** Draw the part of the map that stays the same while the point moves. */
function drawDots() {
  map.size = [map.canvas.clientWidth, map.canvas.clientHeight];
  const context = fitCanvas(map.dots);
  const [x, y] = toPixels([0, 0]);
  context.fillStyle = ink("--rule");
  context.fillRect(Math.round(x), 0, 1, map.size[1]);
  if (axisCount > 1) context.fillRect(0, Math.round(y), map.size[0], 1);
  const radius = Math.max(1.5, Math.min(3.2, 130 / Math.sqrt(bundle.count)));
  const strong = (i) => !map.highlighted.size || map.highlighted.has(latent.labels[i]);
  const plain = ink("--dot");
  const colours = (bundle.labels?.names ?? []).map((_, label) => colourOf(label));
  for (const pass of [false, true]) {
    for (let i = 0; i < bundle.count; i++) {
      if (strong(i) !== pass) continue;
      context.globalAlpha = pass ? 0.75 : 0.07;
      context.fillStyle = latent.labels ? colours[latent.labels[i]] : plain;
      drawShape(context, latent.labels ? latent.labels[i] : 0, ...toPixels(dotAt(i)), radius);
    }
  }
  context.globalAlpha = 1;
  if (latent.labels && bundle.labels.names.length <= 20 && axisCount > 1) nameClasses(context);
}

function drawShape(context, label, x, y, radius) {
  const shape = SHAPES[Math.floor(label / COLOURS.length) % SHAPES.length];
  context.beginPath();
  if (shape === "disc") context.arc(x, y, radius, 0, 2 * Math.PI);
  else if (shape === "square") context.rect(x - 0.9 * radius, y - 0.9 * radius, 1.8 * radius, 1.8 * radius);
  else if (shape === "triangle") {
    context.moveTo(x, y - 1.2 * radius);
    context.lineTo(x + 1.2 * radius, y + radius);
    context.lineTo(x - 1.2 * radius, y + radius);
  } else {
    context.moveTo(x, y - 1.35 * radius);
    context.lineTo(x + 1.35 * radius, y);
    context.lineTo(x, y + 1.35 * radius);
    context.lineTo(x - 1.35 * radius, y);
  }
  context.fill();
}

/** Write the name of each class in the middle of its codes, so that nobody needs to tell the colours apart. */
function nameClasses(context) {
  const middle = (values) => values.sort((a, b) => a - b)[values.length >> 1];
  context.font = `600 15px ${getComputedStyle(document.body).fontFamily}`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineWidth = 4;
  context.lineJoin = "round";
  const placed = [];
  bundle.labels.names.forEach((name, label) => {
    if (name.length > 12 || (map.highlighted.size && !map.highlighted.has(label))) return;
    const members = [...latent.labels.keys()].filter((i) => latent.labels[i] === label);
    let [x, y] = toPixels([0, 1].map((k) => middle(members.map((i) => latent.coordinates[i * axisCount + k]))));
    while (placed.some(([left, top]) => Math.abs(left - x) < 13 && Math.abs(top - y) < 15)) x += 13;
    placed.push([x, y]);
    context.strokeStyle = ink("--paper");
    context.fillStyle = ink("--ink");
    context.strokeText(name, x, y);
    context.fillText(name, x, y);
  });
}

function drawMap() {
  const context = fitCanvas(map.canvas);
  context.drawImage(map.dots, 0, 0, ...map.size);
  const { a, b } = ends;
  if (ends.used && a.code && b.code) {
    const [from, to] = [toPixels(onMap(a.code)), toPixels(onMap(b.code))];
    for (const [colour, thickness] of [["--paper", 4], ["--ink", 1.5]]) {
      context.strokeStyle = ink(colour);
      context.lineWidth = thickness;
      context.beginPath();
      context.moveTo(...from);
      context.lineTo(...to);
      context.stroke();
    }
    drawEnd(context, "A", from);
    drawEnd(context, "B", to);
  }
  if (point.code) drawPoint(context, toPixels(onMap(point.code)));
}

function drawEnd(context, letter, [x, y]) {
  context.fillStyle = ink("--ink");
  context.strokeStyle = ink("--paper");
  context.lineWidth = 2;
  context.beginPath();
  context.arc(x, y, 9, 0, 2 * Math.PI);
  context.fill();
  context.stroke();
  context.fillStyle = ink("--paper");
  context.font = `600 12px ${getComputedStyle(document.body).fontFamily}`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(letter, x, y + 0.5);
}

/** Draw the ring; if the point lies outside the map, the ring is drawn at the border. */
function drawPoint(context, [x, y]) {
  x = Math.min(map.size[0] - 6, Math.max(6, x));
  y = Math.min(map.size[1] - 6, Math.max(6, y));
  for (const [colour, thickness] of [["--paper", 7], ["--ink", 3]]) {
    context.strokeStyle = ink(colour);
    context.lineWidth = thickness;
    context.beginPath();
    context.arc(x, y, 11, 0, 2 * Math.PI);
    context.stroke();
  }
  context.fillStyle = ink("--ink");
  context.beginPath();
  context.arc(x, y, 2, 0, 2 * Math.PI);
  context.fill();
}
