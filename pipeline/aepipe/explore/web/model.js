// The model of a latent space: images of one size, [C, H, W] in 0..1, and codes that are vectors.

const [channels, height, width] = bundle.shape;
const pixelCount = channels * height * width;
const decodeTimes = []; // milliseconds of the last single decodes

async function unpackFloats(text) {
  return new Float32Array((await unpack(text)).buffer);
}

async function startRuntime() {
  if (typeof ort === "undefined") throw new Error(NO_RUNTIME);
  const [module, wasm] = await Promise.all(["module", "wasm"].map(runtimeFile));
  await startEngine(bundle.graphs, module, wasm);
}

async function encode(image) {
  return (await run("encoder", image, [1, channels, height, width])).data;
}

/** Decode one code; resolves to the image, numbers in 0..1 [C, H, W]. */
async function decode(code) {
  await session("decoder");
  await lastRun;
  const start = performance.now();
  const image = (await run("decoder", code, [1, bundle.latent])).data;
  decodeTimes.push(performance.now() - start);
  if (decodeTimes.length > 60) decodeTimes.shift();
  return image;
}

function medianDecodeTime() {
  const sorted = decodeTimes.slice().sort((a, b) => a - b);
  return sorted.length ? sorted[sorted.length >> 1] : NaN;
}

/** Codes [n, latent] that a density makes of noise [n, features], with labels [n] if it is told them. */
async function fromNoise(density, noise, count, labels = null) {
  return (await run(`sample/${density}`, noise, [count, bundle.densities[density].features], labels)).data;
}
