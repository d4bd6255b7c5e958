// An exported bundle at work in Node.js.
//
//   node host.js BUNDLE encode|decode|reconstruct|interpolate|sample IN.npy OUT.npy
//
// Arrays are float32: images [N, C, H, W] in 0..1, codes [N, latent], noise [N, k] standard normal. `interpolate` takes two
// images and writes the 12 between them, both included; `sample` takes noise and uses the first density of the bundle.
import fs from "node:fs";
import path from "node:path";
import ort from "onnxruntime-node";

const STEPS = 12;
function fail(message) {
  console.error(message);
  process.exit(1);
}

function readNpy(file) {
  const bytes = fs.readFileSync(file);
  const start = bytes[6] === 1 ? 10 : 12; // version 1 counts the header in two bytes, the later ones in four
  const end = start + (start === 10 ? bytes.readUInt16LE(8) : bytes.readUInt32LE(8));
  const header = bytes.toString("latin1", start, end);
  if (!header.includes("'<f4'") || !header.includes("'fortran_order': False")) fail(`${file} is not float32, in C order`);
  const dims = header.match(/'shape': \(([\d, ]*)\)/)[1].split(",").filter((size) => size.trim()).map(Number);
  const data = new Float32Array(new Uint8Array(bytes.subarray(end)).buffer); // copied: the header may leave it unaligned
  return new ort.Tensor("float32", data, dims);
}

function writeNpy(file, { dims, data }) {
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${dims.join(", ")},), }`;
  const header = Buffer.from(text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11) + "\n", "latin1");
  const start = Buffer.from([0x93, ...Buffer.from("NUMPY"), 1, 0, header.length & 255, header.length >> 8]);
  fs.writeFileSync(file, Buffer.concat([start, header, Buffer.from(data.buffer, data.byteOffset, data.byteLength)]));
}

function between({ dims: [count, latent], data }) {
  if (count !== 2) fail(`interpolate takes 2 images, not ${count}`);
  const codes = Float32Array.from({ length: STEPS * latent }, (_, i) => {
    const alpha = Math.floor(i / latent) / (STEPS - 1);
    return (1 - alpha) * data[i % latent] + alpha * data[latent + (i % latent)];
  });
  return new ort.Tensor("float32", codes, [STEPS, latent]);
}

if (process.argv.length !== 6) fail("node host.js BUNDLE encode|decode|reconstruct|interpolate|sample IN.npy OUT.npy");
const [bundle, task, source, target] = process.argv.slice(2);
const manifest = JSON.parse(fs.readFileSync(path.join(bundle, "manifest.json"), "utf8"));
if (manifest.format > 1) fail(`${bundle} has format ${manifest.format}, this program reads format 1`);

async function run(values, role, density) {
  const wanted = (g) => g.role === role && g.precision === "fp32" && g.density === density;
  const session = await ort.InferenceSession.create(path.join(bundle, manifest.graphs.find(wanted).file));
  return (await session.run({ [session.inputNames[0]]: values }))[session.outputNames[0]];
}

let codes = readNpy(source);
if (["encode", "reconstruct", "interpolate"].includes(task)) codes = await run(codes, "encoder");
else if (task === "sample") codes = await run(codes, "sample", manifest.densities[0]);
else if (task !== "decode") fail(`there is no task ${task}`);
if (task === "interpolate") codes = between(codes);
writeNpy(target, task === "encode" ? codes : await run(codes, "decoder"));
