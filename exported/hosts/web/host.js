// Uses an exported bundle in the browser, by onnxruntime-web: open index.html?bundle=FOLDER/, or call run() from a script.
// Arrays are float32: images [N, C, H, W] in 0..1, codes [N, latent], standard normal noise [N, k]. `interpolate` makes 12 images,
// from the first of two to the second; `sample` uses the first density; `time` gives the milliseconds of each of 100 decodes.
import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs";
const STEPS = 12, TIMES = 100;
const bundle = new URL(new URLSearchParams(location.search).get("bundle") ?? "../../mnist-d8/", location);
const manifest = await (await fetch(new URL("manifest.json", bundle))).json();
const precise = manifest.graphs.filter((g) => g.precision === "fp32" && (g.io ?? "float") === "float");
const graph = (role) => precise.find((g) => g.role === role && (role !== "sample" || g.density === manifest.densities[0]));

async function opened(role) {
  const session = await ort.InferenceSession.create(new URL(graph(role).file, bundle).href);
  return async (values) => (await session.run({ [session.inputNames[0]]: values }))[session.outputNames[0]];
}

function between({ dims: [count, latent], data }) {
  if (count !== 2) throw Error(`interpolate takes 2 images, not ${count}`);
  const alpha = (i) => Math.floor(i / latent) / (STEPS - 1);
  const mixed = (_, i) => (1 - alpha(i)) * data[i % latent] + alpha(i) * data[latent + (i % latent)];
  return new ort.Tensor("float32", Float32Array.from({ length: STEPS * latent }, mixed), [STEPS, latent]);
}

export async function run(task, data, dims) {
  if (manifest.format > 1) throw Error(`the bundle has format ${manifest.format}, this page reads format 1`);
  const first = { encode: "encoder", reconstruct: "encoder", interpolate: "encoder", sample: "sample", decode: "", time: "" }[task];
  if (first === undefined) throw Error(`there is no task ${task}`);
  let values = new ort.Tensor("float32", data, dims);
  if (first) values = await (await opened(first))(values);
  if (task === "interpolate") values = between(values);
  if (task === "encode") return values;
  const decode = await opened("decoder"), images = await decode(values), stamps = [performance.now()];
  while (task === "time" && stamps.length <= TIMES) await decode(values), stamps.push(performance.now());
  return task === "time" ? { data: Float32Array.from(stamps.slice(1), (end, i) => end - stamps[i]), dims: [TIMES] } : images;
}

function show(task, { data, dims: [count, channels, height, width] }) {
  const color = (_, i) => {
    const x = (i >> 2) % (count * width), y = Math.floor((i >> 2) / (count * width)), c = Math.min(i % 4, channels - 1);
    return i % 4 === 3 ? 255 : 255 * data[((Math.floor(x / width) * channels + c) * height + y) * width + (x % width)];
  };
  const pixels = new ImageData(Uint8ClampedArray.from({ length: 4 * count * width * height }, color), count * width);
  Object.assign(document.getElementById(task), { width: count * width, height }).getContext("2d").putImageData(pixels, 0, 0);
}
const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
const say = (text) => (document.querySelector("output").value = text);
async function again() {
  const noise = [STEPS, graph("sample").inputs.noise.shape[1]];
  const { data, dims } = await run("sample", Float32Array.from({ length: noise[0] * noise[1] }, normal), noise);
  show("sample", { data, dims });
  show("reconstruct", await run("reconstruct", data, dims));
  show("interpolate", await run("interpolate", data.slice(0, (2 * data.length) / STEPS), [2, ...dims.slice(1)]));
  say(`${manifest.name}: ${manifest.latent} numbers an image`);
}
document.querySelector("button").onclick = again;
again().catch((error) => say(error.message));
