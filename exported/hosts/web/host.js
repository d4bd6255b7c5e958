// Uses an exported bundle in the browser, by onnxruntime-web: open index.html?bundle=FOLDER/, with &check to compare every stage
// with the bundle's test vectors, or call run() from a script. Arrays are float32: samples [N, C, *sides] in the units of the
// training data, codes [N, *latent], standard normal noise [N, k]. `interpolate` makes 12 samples, from one to another; `sample`
// and `score` use the first density, and `sample` all labels in turn if it is told one; `score` gives [N, 2]: error and
// log-density, NaN where the density does not give it; `time` gives the milliseconds of each of 100 decodes.
import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs";
import { Bundle, writeNpy } from "./bundle.js";
const query = new URLSearchParams(location.search), STEPS = 12;
const place = new URL((query.get("bundle") ?? "../../mnist-d8/").replace(/\/?$/, "/"), location);

async function read(file) {
  const answer = await fetch(new URL(file, place));
  if (!answer.ok) throw Error(`there is no ${file} in ${place.pathname}`);
  return new Uint8Array(await answer.arrayBuffer());
}

async function open(file) {
  const session = await ort.InferenceSession.create(await read(file));
  return async ({ dims, data, labels }) => {
    const given = [new ort.Tensor("float32", data, dims), new ort.Tensor("int64", labels, [labels.length])];
    const inputs = Object.fromEntries(session.inputNames.map((name, i) => [name, given[i]]));
    return (await session.run(inputs))[session.outputNames[0]];
  };
}

/** The pixels of a file, upright, as they are stored. A canvas rounds translucent ones, which does not show over white. */
async function decode(bytes) {
  const image = await createImageBitmap(new Blob([bytes]), { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const canvas = new OffscreenCanvas(image.width, image.height).getContext("2d", { willReadFrequently: true });
  canvas.drawImage(image, 0, 0);
  const { width, height, data } = canvas.getImageData(0, 0, image.width, image.height);
  return { upright: true, width, height, data };
}

/** The bundle, which is read once; each of its graphs is opened once, when it is first needed. */
export const bundle = read("manifest.json").then(
  (bytes) => new Bundle(JSON.parse(new TextDecoder().decode(bytes)), { read, open, decode }),
);

export async function run(task, data, dims) {
  const opened = await bundle;
  return opened.run(task, await opened.input(task, "input.npy", writeNpy({ data, dims })));
}

/** Samples side by side: of volumes the middle slice; signals and rows as lines, one for each channel. */
function show(id, { dims: [count, channels, ...sides], data }, { raw, range }) {
  const flat = sides.length < 2, [height, width] = flat ? [64, 96] : sides.slice(-2), each = data.length / count;
  const [low, high] = range ? (raw?.range ?? range) : [Math.min, Math.max].map((end) => data.reduce((a, b) => end(a, b)));
  const shade = (value) => (value - low) / (high - low || 1);
  const canvas = Object.assign(document.getElementById(id), { width: count * width, height, hidden: false }).getContext("2d");
  const length = sides[0] ?? channels, middle = sides.length === 3 ? Math.floor(sides[0] / 2) * height * width : 0;
  for (let start = 0; flat && start < data.length; start += length) {
    const line = new Path2D(), left = Math.floor(start / each) * width;
    for (let i = 0; i < length; i++) line.lineTo(left + ((i + 0.5) * width) / length, height * (1 - shade(data[start + i])));
    canvas.strokeStyle = "gray";
    canvas.stroke(line);
  }
  if (flat) return;
  const colour = (_, i) => {
    const x = (i >> 2) % (count * width), y = Math.floor((i >> 2) / (count * width)), c = Math.min(i % 4, channels - 1);
    const value = data[Math.floor(x / width) * each + (c * each) / channels + middle + y * width + (x % width)];
    return i % 4 === 3 ? 255 : 255 * shade(value);
  };
  canvas.putImageData(new ImageData(Uint8ClampedArray.from({ length: 4 * count * width * height }, colour), count * width), 0, 0);
}

const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
const say = (text) => (document.querySelector("output").value = text);

async function samples() {
  const { manifest, data } = await bundle, [density] = manifest.densities;
  if (!density) return say(`${manifest.name} has no density to sample from: choose a picture`);
  const noise = [STEPS, (await bundle).entry("sample", density).inputs.noise.shape[1]];
  const made = await run("sample", Float32Array.from({ length: noise[0] * noise[1] }, normal), noise);
  const ends = made.data.slice(0, (2 * made.data.length) / STEPS);
  show("sample", made, data);
  show("reconstruct", await run("reconstruct", made.data, made.dims), data);
  show("interpolate", await run("interpolate", ends, [2, ...made.dims.slice(1)]), data);
  say(`${manifest.name}: codes of ${[manifest.latent.shape ?? manifest.latent].flat().map((side) => side ?? "any").join(" × ")}`);
}

async function restore(file) {
  const opened = await bundle, sample = await opened.sample(file.name, new Uint8Array(await file.arrayBuffer()));
  const [error, log] = (await opened.score(sample)).data;
  show("sample", opened.inUnits(sample), opened.data);
  show("reconstruct", await opened.run("reconstruct", sample), opened.data);
  document.getElementById("interpolate").hidden = true;
  say(`${file.name}: error ${error.toPrecision(3)}${log === log ? `, log-density ${log.toPrecision(4)}` : ""}`);
}

async function check() {
  const stages = await (await bundle).check();
  document.querySelector("pre").textContent = stages.map(({ line }) => line).join("\n");
  say(`${stages.every(({ agrees }) => agrees) ? "every stage agrees" : "not every stage agrees"} with the test vectors`);
}

const showing = (work) => (event) => work(event.target.files?.[0]).catch((error) => say(error.message));
document.querySelector("button").onclick = showing(samples);
document.querySelector("input").onchange = showing(restore);
(query.has("check") ? check() : samples()).catch((error) => say(error.message));
