// The page of a model that restores pictures: its start, its words, and the state that programs may read.

const element = (id) => document.getElementById(id);
const denoises = bundle.noise.usual > 0;

/**
 * window.aepipe holds the state of the page, for tests and for anyone who is curious.
 *   ready       resolves when the page can be used, rejects with the reason when it cannot run
 *   settled()   resolves when nothing is being computed
 *   picture     {name, width, height, channels, sigma, seed, input, result, psnr, milliseconds}: input, with its noise, and
 *               result are Float32Array [C, H, W] in 0..1; psnr is {before, after} in dB, null until the result is whole
 *   comparison  {split, pixels}: where the line is, from 0 to 1, and whether pixels are those of the screen
 *   workers     how many there are
 */
window.aepipe = {
  ready: start(setUp),
  settled,
  get picture() {
    const { name, width, height, channels, sigma, seed, result, psnr, milliseconds } = picture;
    const known = { name, width, height, channels, sigma, seed, result, psnr, milliseconds };
    return Object.defineProperty(known, "input", { get: wholeInput, enumerable: true }); // computed where it is asked for
  },
  get comparison() {
    return { ...comparison };
  },
  get workers() {
    return pool.length;
  },
};
window.aepipe.ready.catch(() => {});

async function setUp() {
  await startPool();
  setUpCompare();
  setUpNoise();
  setUpChoosing(takeFiles);
  setUpDropping(takeFiles);
  addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    if (files.length) track(takeFiles(files));
  });
  element("save").addEventListener("click", save);
  uncover();
  if (bundle.example) {
    const { bytes, type, name } = bundle.example;
    await takePicture(new Blob([await unpack(bytes)], { type }), name, false);
  }
}

function setUpNoise() {
  element("sigma").max = bundle.noise.most;
  setSigma(bundle.noise.usual);
  element("sigma").addEventListener("input", () => {
    sigmaIsChosen = true;
    setSigma(Number(element("sigma").value));
    if (picture.bytes) restore();
  });
  element("renoise").addEventListener("click", () => {
    picture.seed++;
    restore();
  });
  element("noise-note").textContent = bundle.noise.note;
}

function setSigma(sigma) {
  picture.sigma = sigma;
  element("sigma").value = sigma;
  element("sigma-value").textContent = sigma.toFixed(2);
  element("sigma").setAttribute("aria-valuetext", sigma ? `standard deviation ${sigma.toFixed(2)}` : "none");
  element("renoise").disabled = !sigma || !picture.bytes;
}

/** Show how far the restoration has come. What is done at once leaves the words of before until there are new ones. */
function showProgress(done, count, milliseconds) {
  const bar = element("progress");
  [bar.max, bar.value, bar.hidden] = [count, done, false];
  element("save").disabled = true;
  element("pixel-size").disabled = false;
  element("renoise").disabled = !picture.sigma;
  const left = done ? Math.ceil(((count - done) * milliseconds) / done / 1000) : 0;
  if (count > 1 || !element("said").textContent) {
    describe(`Restoring: ${done} of ${count} tiles${left > 1 ? `, about ${left} s left` : ""}.`);
  }
}

function hideProgress() {
  element("progress").hidden = true;
}

function showResult() {
  hideProgress();
  element("save").disabled = false;
  describe(psnrInWords(picture.sigma, picture.psnr));
  element("status").textContent = `Done. ${element("said").textContent}`;
}

/** Say what is shown: the picture, where its noise comes from, and how far or how well it is restored. */
function describe(state) {
  const { name, width, height, channels, sigma, own, level, remarks } = picture;
  element("caption").textContent = [`${name}, ${width}×${height} pixels${channels === 1 ? ", grey" : ""}.`, ...remarks].join(" ");
  element("said").textContent = [noiseInWords(sigma, own, level), state].filter(Boolean).join(" ");
  element("before-label").textContent = sigma ? "with noise" : "before";
  element("after-label").textContent = denoises ? "restored" : "after";
}

function noiseInWords(sigma, own, level) {
  if (sigma) {
    const clean = own && denoises && !sigmaIsChosen ? "The picture looks clean, so noise was added to show what the model does." : "";
    return clean || "Noise was added.";
  }
  if (own && !sigmaIsChosen && level > OWN_NOISE) return "The picture has noise of its own and went in as it is.";
  return "The picture went in as it is, without added noise.";
}

function psnrInWords(sigma, { before, after }) {
  const said = (value) => (Number.isFinite(value) ? `${value.toFixed(1)} dB` : "perfect");
  if (sigma) return `PSNR against the picture: ${said(before)} with noise, ${said(after)} restored.`;
  return bundle.task === "denoise" ? "" : `PSNR against the picture: ${said(after)}.`;
}

/** Save the result; its name says what it is of. */
function save() {
  saveCanvas(canvases.after, `${picture.name.replace(/\.\w+$/, "")}-restored`);
}
