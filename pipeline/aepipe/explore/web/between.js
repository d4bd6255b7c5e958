// Between two images: a straight line through the latent space.

const STEPS = 7;
const ends = { a: { code: null }, b: { code: null }, alpha: 0, strip: [], used: false };
const steps = [];

const drawStrip = latest(async (outdated) => {
  const images = [];
  for (let i = 0; i < STEPS && !outdated(); i++) {
    images.push(await decode(between(ends.a.code, ends.b.code, i / (STEPS - 1))));
    paint(steps[i].firstChild, images[i]);
  }
  if (images.length === STEPS) ends.strip = images;
});

/** Move the point to this part of the way from A to B. */
function setAlpha(alpha) {
  ends.alpha = alpha;
  document.getElementById("alpha-value").textContent = alpha.toFixed(2);
  steps.forEach((tile, i) => tile.classList.toggle("current", Math.abs(alpha - i / (STEPS - 1)) < 0.5 / (STEPS - 1)));
  return setPoint(between(ends.a.code, ends.b.code, alpha));
}

/** Put a code and its image at one end. */
function setEnd(which, code, pixels) {
  ends[which] = { code: Float32Array.from(code) };
  paint(document.getElementById(`end-${which}`), pixels);
  drawMap();
  return ends.a.code && ends.b.code ? drawStrip() : null;
}

async function setUpBetween() {
  const use = () => (ends.used = true); // from now on the map shows the line
  for (const name of ["click", "input"]) document.getElementById("between-section").addEventListener(name, use, true);
  const alpha = document.getElementById("alpha");
  for (let i = 0; i < STEPS; i++) {
    const tile = document.createElement("button");
    tile.type = "button";
    tile.className = "tile";
    tile.setAttribute("aria-label", `Step ${i + 1} of ${STEPS}: move the point there`);
    tile.append(newImageCanvas());
    tile.addEventListener("click", () => {
      alpha.value = i / (STEPS - 1);
      setAlpha(i / (STEPS - 1));
    });
    document.getElementById("strip").append(tile);
    steps.push(tile);
  }
  for (const which of ["a", "b"]) {
    document.getElementById(`${which}-from-image`).addEventListener("click", () => {
      const { clean } = image;
      track(encode(clean).then((code) => setEnd(which, code, clean)));
    });
    document.getElementById(`${which}-from-point`).addEventListener("click", () => setEnd(which, shown.code, shown.image));
  }
  alpha.addEventListener("input", () => setAlpha(Number(alpha.value)));
  document.getElementById("save-strip").addEventListener("click", () => savePng("between", ends.strip));
  const second = tray[Math.min(1, tray.length - 1)];
  await setEnd("a", await encode(tray[0].pixels), tray[0].pixels);
  await setEnd("b", await encode(second.pixels), second.pixels);
}
