// The chosen image, an example or the user's own: its code and its reconstruction, without noise or with noise.

const image = { name: "", clean: null, input: null, code: null, reconstruction: null, noiseSeed: 0, sigma: 0 };
const tray = []; // the images to choose from: {name, pixels, button}

const figure = Object.fromEntries(["clean", "noisy", "restored"].map((id) => [id, document.getElementById(id)]));

const showImage = latest(async () => {
  const clean = image.clean;
  const input = image.sigma ? withNoise(clean, image.sigma, image.noiseSeed) : clean;
  const code = await encode(input);
  const reconstruction = await decode(code);
  Object.assign(image, { input, code, reconstruction });
  paint(figure.clean, clean);
  paint(figure.noisy, input);
  paint(figure.restored, reconstruction);
  describeImage(meanSquaredError(clean, reconstruction), meanSquaredError(clean, input));
  setPoint(code);
});

/** The image with Gaussian noise of this standard deviation, clipped to 0..1. */
function withNoise(pixels, sigma, seed) {
  const normal = normals(seed);
  return pixels.map((value) => Math.min(1, Math.max(0, value + sigma * normal())));
}

function describeImage(error, before) {
  const noisy = image.sigma > 0;
  document.getElementById("noisy-figure").hidden = !noisy;
  document.getElementById("restored-caption").textContent = noisy ? "restored" : "reconstruction";
  const number = (value) => value.toPrecision(3);
  document.getElementById("error").textContent = noisy
    ? `Mean squared error per pixel: ${number(before)} with noise, ${number(error)} restored`
    : `Mean squared error per pixel: ${number(error)}`;
  const some = [...image.code.slice(0, 16)].map((value) => signed(value)).join("  ");
  const more = bundle.latent > 16 ? `  and ${bundle.latent - 16} more` : "";
  document.getElementById("code").textContent = some + more;
}

/** Make an image of the tray the chosen one. */
function chooseImage(entry) {
  image.clean = entry.pixels;
  image.name = entry.name;
  for (const { button } of tray) button.setAttribute("aria-pressed", String(button === entry.button));
  return showImage();
}

/** Put an image into the tray: an example at the end, the user's own in front. */
function addToTray(name, pixels, first = false) {
  const button = document.createElement("button");
  const canvas = newImageCanvas();
  const entry = { name, pixels, button };
  button.type = "button";
  button.className = "tile";
  button.title = name;
  button.setAttribute("aria-label", name);
  button.setAttribute("aria-pressed", "false");
  button.append(canvas);
  button.addEventListener("click", () => chooseImage(entry));
  paint(canvas, pixels);
  const element = document.getElementById("tray");
  if (first) element.prepend(button);
  else element.append(button);
  tray.push(entry);
  return entry;
}

/** Exchange light and dark: a model of white ink on black does not understand a photograph of ink on white paper. */
function invertImage() {
  return chooseImage(addToTray(`${image.name}, inverted`, image.clean.map((value) => 1 - value), true));
}

/** Fill the tray with the images that came with the page or, if there are none, with a few decoded training codes. */
async function readExamples() {
  const note = document.getElementById("tray-note");
  if (!bundle.examples) {
    note.textContent = "These are training codes, decoded.";
    const step = Math.max(1, Math.floor(bundle.count / 16));
    for (let i = 0; i < bundle.count && tray.length < 16; i += step) {
      const label = labelOf(i) && ` (${labelOf(i)})`;
      addToTray(`training code ${i + 1}${label}`, await decode(Float32Array.from(codeOf(i))));
    }
    return;
  }
  const { kind, count, name } = bundle.examples;
  const bytes = await unpack(bundle.examples.pixels);
  const values = kind === "uint8" ? Float32Array.from(bytes, (byte) => byte / 255) : new Float32Array(bytes.buffer);
  note.textContent = `From ${name}.`;
  for (let i = 0; i < count; i++) addToTray(`image ${i + 1}`, values.slice(i * pixelCount, (i + 1) * pixelCount));
}

/** Put image files into the tray and choose the last one that can be read. */
async function takeFiles(files) {
  const problem = document.getElementById("file-problem");
  problem.textContent = "";
  for (const file of files) {
    const pixels = await fitToModel(file).catch(() => null);
    if (pixels) await chooseImage(addToTray(file.name, pixels, true));
    else problem.textContent = `${file.name} is not an image that this browser can read.`;
  }
}

function setUpImage() {
  if (channels !== 1 && channels !== 3) document.getElementById("own").hidden = true;
  else {
    document.getElementById("invert").addEventListener("click", invertImage);
    setUpChoosing(takeFiles);
    setUpDropping(takeFiles);
    setUpDrawing();
  }
  const noise = document.getElementById("noise");
  noise.value = bundle.task === "denoise" ? (bundle.sigma ?? 0.3) : 0;
  const read = () => {
    image.sigma = Number(noise.value);
    document.getElementById("noise-value").textContent = image.sigma.toFixed(2);
    document.getElementById("renoise").disabled = !image.sigma;
  };
  noise.addEventListener("input", () => (read(), showImage()));
  read();
  document.getElementById("renoise").addEventListener("click", () => (image.noiseSeed++, showImage()));
  document.getElementById("noise-note").textContent =
    bundle.task !== "denoise"
      ? "This model was not trained against noise; what it removes it removes because it can draw only what it knows."
      : bundle.corruption === "gaussian" || !bundle.corruption
        ? ""
        : `This model was trained against “${bundle.corruption}”; the noise here is Gaussian.`;
  document.getElementById("save-image").addEventListener("click", () => {
    const images = image.sigma ? [image.clean, image.input, image.reconstruction] : [image.clean, image.reconstruction];
    savePng("image", images);
  });
}
