// Uses an exported bundle in Node.js: node host.js BUNDLE encode|decode|reconstruct|interpolate|sample|score|time IN OUT.npy
//                                     node host.js BUNDLE --check
// IN is a picture (.png), samples [N, C, *sides] in the units of the training data (.npy), or float32: codes [N, *latent] to
// decode and to time, standard normal noise [N, k] to sample. OUT is float32. `interpolate` writes 12 samples, from one to another;
// `sample` and `score` use the first density, and `sample` all labels in turn if it is told one; `score` writes [N, 2]: error and
// log-density, NaN where the density does not give it; `time` writes the milliseconds of each of 100 decodes. `--check` compares
// every stage with the test vectors of the bundle.
import fs from "node:fs";
import path from "node:path";
import { PNG } from "pngjs";
import { Bundle, writeNpy } from "./bundle.js";
process.env.ORT_DISABLE_TELEMETRY ??= "1"; // read when ONNX Runtime is loaded: it sends nothing to its makers
const { default: ort } = await import("onnxruntime-node");

const host = (folder) => ({
  read: async (file) => fs.readFileSync(path.join(folder, file)),
  decode: async (bytes, name) => {
    if (bytes.toString("latin1", 1, 4) !== "PNG") throw Error(`${name} is not a PNG file, which is what this program reads`);
    return PNG.sync.read(bytes);
  },
  async open(file) {
    const session = await ort.InferenceSession.create(path.join(folder, file));
    return async ({ dims, data, labels }) => {
      const given = [new ort.Tensor("float32", data, dims), new ort.Tensor("int64", labels, [labels.length])];
      const inputs = Object.fromEntries(session.inputNames.map((name, i) => [name, given[i]]));
      return (await session.run(inputs))[session.outputNames[0]];
    };
  },
});

async function main([folder, task, source, target, ...more]) {
  if (more.length || !(task === "--check" ? !source : target)) throw Error("node host.js BUNDLE TASK IN OUT.npy, or --check");
  if (!fs.existsSync(path.join(folder, "manifest.json"))) throw Error(`${folder} is no bundle: it has no manifest.json`);
  const bundle = new Bundle(JSON.parse(fs.readFileSync(path.join(folder, "manifest.json"), "utf8")), host(folder));
  if (task === "--check") {
    const stages = await bundle.check();
    stages.forEach(({ line }) => console.log(line));
    process.exitCode = stages.every(({ agrees }) => agrees) ? 0 : 1;
    return;
  }
  const values = await bundle.input(task, source, fs.readFileSync(source));
  fs.writeFileSync(target, writeNpy(await bundle.run(task, values)));
}

await main(process.argv.slice(2)).catch((error) => (console.error(error.message), (process.exitCode = 1)));
