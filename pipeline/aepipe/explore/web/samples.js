// New images: a density turns noise into codes, and the decoder turns these into images.

const SAMPLES = pixelCount <= 4096 ? 24 : 12;
const samples = { density: 0, label: null, temperature: 1, seed: 0, noise: null, labels: null, codes: null, images: [] };
const tiles = [];

/** Labels of all samples: the chosen one, or each as often as in training; null for a density that is told none. */
function drawLabels() {
  if (!bundle.densities[samples.density].label) return null;
  if (samples.label !== null) return Array(SAMPLES).fill(samples.label);
  const uniform = uniforms(samples.seed ^ 0x5bd1e995);
  return Array.from({ length: SAMPLES }, () => {
    let left = uniform();
    const found = bundle.shares.findIndex((share) => (left -= share) < 0);
    return found < 0 ? bundle.shares.findLastIndex((share) => share > 0) : found;
  });
}

const drawSamples = latest(async (outdated) => {
  const { features } = bundle.densities[samples.density];
  const normal = normals(samples.seed);
  const noise = Float32Array.from({ length: SAMPLES * features }, normal).map((x) => x * samples.temperature);
  const labels = drawLabels();
  const codes = await fromNoise(samples.density, noise, SAMPLES, labels);
  const images = [];
  let painted = performance.now();
  for (let i = 0; i < SAMPLES && !outdated(); i++) {
    images.push(await decode(codes.slice(i * bundle.latent, (i + 1) * bundle.latent)));
    paint(tiles[i].firstChild, images[i]);
    if (performance.now() - painted > 30) {
      await nextFrame();
      painted = performance.now();
    }
  }
  if (images.length === SAMPLES) Object.assign(samples, { noise, labels, codes, images });
});

function setUpSamples() {
  const ids = ["density", "label", "temperature", "seed"];
  const [density, label, temperature, seed] = ids.map((id) => document.getElementById(id));
  if (!bundle.densities.length) {
    document.getElementById("samples-section").hidden = true;
    return Promise.resolve();
  }
  bundle.densities.forEach(({ name }, index) => density.add(new Option(name, index)));
  label.add(new Option("as in training", ""));
  bundle.shares.forEach((share, index) => share > 0 && label.add(new Option(index, index)));
  for (let i = 0; i < SAMPLES; i++) {
    const tile = document.createElement("button");
    tile.type = "button";
    tile.className = "tile";
    tile.setAttribute("aria-label", `Sample ${i + 1}: move the point there`);
    tile.append(newImageCanvas());
    tile.addEventListener("click", () => setPoint(samples.codes.slice(i * bundle.latent, (i + 1) * bundle.latent)));
    document.getElementById("samples").append(tile);
    tiles.push(tile);
  }
  const read = () => {
    samples.density = Number(density.value);
    samples.label = label.value === "" ? null : Number(label.value);
    label.parentElement.hidden = !bundle.densities[samples.density].label;
    samples.temperature = Number(temperature.value);
    samples.seed = Math.max(0, Math.floor(Number(seed.value)) || 0);
    document.getElementById("temperature-value").textContent = samples.temperature.toFixed(2);
    return drawSamples();
  };
  for (const control of [density, label, temperature, seed]) control.addEventListener("input", read);
  document.getElementById("resample").addEventListener("click", () => {
    seed.value = samples.seed + 1;
    read();
  });
  document.getElementById("save-samples").addEventListener("click", () => {
    if (samples.images.length) savePng(`samples-${samples.seed}`, samples.images, 6);
  });
  return read();
}
