// Uses an exported bundle in Node.js: node host.js BUNDLE encode|decode|reconstruct|interpolate|sample|time IN.npy OUT.npy
// Arrays are float32: images [N, C, H, W] in 0..1, codes [N, latent], standard normal noise [N, k]. `interpolate` writes 12 images,
// from the first of two to the second; `sample` uses the first density; `time` writes the milliseconds of each of 100 decodes.
import fs from "node:fs";
import path from "node:path";
process.env.ORT_DISABLE_TELEMETRY ??= "1"; // read when ONNX Runtime is loaded: it sends nothing to its makers
const { default: ort } = await import("onnxruntime-node");
const STEPS = 12, TIMES = 100;
const fail = (message) => (console.error(message), process.exit(1));

function readNpy(file) {
  const bytes = fs.readFileSync(file);
  const start = bytes[6] === 1 ? 10 : 12; // version 1 gives the header's length in two bytes, later versions in four
  const end = start + (start === 10 ? bytes.readUInt16LE(8) : bytes.readUInt32LE(8));
  const header = bytes.toString("latin1", start, end);
  if (!header.includes("'<f4'") || !header.includes("'fortran_order': False")) fail(`${file} is not float32, in C order`);
  const dims = header.match(/'shape': \(([\d, ]*)\)/)[1].split(",").filter((size) => size.trim()).map(Number);
  return new ort.Tensor("float32", new Float32Array(new Uint8Array(bytes.subarray(end)).buffer), dims); // a copy is aligned
}

function npy({ dims, data }) {
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${dims.join(", ")},), }`;
  const header = Buffer.from(text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11) + "\n", "latin1");
  const start = Buffer.from([0x93, ...Buffer.from("NUMPY"), 1, 0, header.length & 255, header.length >> 8]);
  return Buffer.concat([start, header, Buffer.from(data.buffer, data.byteOffset, data.byteLength)]);
}

function between({ dims: [count, latent], data }) {
  if (count !== 2) fail(`interpolate takes 2 images, not ${count}`);
  const codes = Float32Array.from({ length: STEPS * latent }, (_, i) => {
    const alpha = Math.floor(i / latent) / (STEPS - 1);
    return (1 - alpha) * data[i % latent] + alpha * data[latent + (i % latent)];
  });
  return new ort.Tensor("float32", codes, [STEPS, latent]);
}

const [bundle, task, source, target, ...more] = process.argv.slice(2);
if (!target || more.length) fail("node host.js BUNDLE encode|decode|reconstruct|interpolate|sample|time IN.npy OUT.npy");
if (!["encode", "decode", "reconstruct", "interpolate", "sample", "time"].includes(task)) fail(`there is no task ${task}`);
const manifest = JSON.parse(fs.readFileSync(path.join(bundle, "manifest.json"), "utf8"));
if (manifest.format > 1) fail(`${bundle} has format ${manifest.format}, this program reads format 1`);

async function opened(role) {
  const density = role === "sample" ? manifest.densities[0] : undefined;
  const wanted = (g) => g.role === role && g.density === density && g.precision === "fp32" && (g.io ?? "float") === "float";
  const session = await ort.InferenceSession.create(path.join(bundle, manifest.graphs.find(wanted).file));
  return async (values) => (await session.run({ [session.inputNames[0]]: values }))[session.outputNames[0]];
}

let values = readNpy(source);
if (!["decode", "time"].includes(task)) values = await (await opened(task === "sample" ? "sample" : "encoder"))(values);
if (task === "interpolate") values = between(values);
const decode = task === "encode" ? (codes) => codes : await opened("decoder");
let result = await decode(values);
if (task === "time") {
  const stamps = [performance.now()];
  while (stamps.length <= TIMES) await decode(values), stamps.push(performance.now());
  result = { dims: [TIMES], data: Float32Array.from(stamps.slice(1), (end, i) => end - stamps[i]) };
}
fs.writeFileSync(target, npy(result));
