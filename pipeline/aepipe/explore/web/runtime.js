// Runs the graphs by ONNX Runtime's WebAssembly, from the page or the network: one session per graph, one run at a time.

const bundle = JSON.parse(document.getElementById("bundle").textContent);
const [channels, height, width] = bundle.shape;
const pixelCount = channels * height * width;
const sessions = new Map();
const decodeTimes = []; // milliseconds of the last single decodes
let lastRun = Promise.resolve();

/** The bytes that a text holds as base64 of gzip. */
async function unpack(text) {
  const binary = atob(text.trim());
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function unpackFloats(text) {
  return new Float32Array((await unpack(text)).buffer);
}

/** Name what the browser lacks to run this page; "" if it lacks nothing. */
function missing() {
  if (typeof WebAssembly !== "object") return "WebAssembly";
  if (typeof DecompressionStream !== "function") return "DecompressionStream";
  return "";
}

async function startRuntime() {
  if (typeof ort === "undefined") throw new Error("ONNX Runtime could not be loaded: this page needs a network");
  const [module, wasm] = await Promise.all(["module", "wasm"].map(runtimeFile));
  ort.env.logLevel = "error";
  ort.env.wasm.numThreads = 1; // threads need HTTP headers, which a page from the disk does not have
  ort.env.wasm.wasmBinary = wasm.buffer;
  ort.env.wasm.wasmPaths = { mjs: URL.createObjectURL(new Blob([module], { type: "text/javascript" })) };
  await Promise.all([session("encoder"), session("decoder")]);
}

/** The bytes of a file of the runtime: from the page, or from the network, in which case the browser checks the hash. */
async function runtimeFile(name) {
  if (!bundle.cdn) {
    const element = document.getElementById(name);
    const bytes = await unpack(element.textContent);
    element.remove();
    return bytes;
  }
  const { url, integrity } = bundle.cdn[name];
  const response = await fetch(url, { integrity });
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

function session(graph) {
  if (!sessions.has(graph)) {
    sessions.set(graph, unpack(bundle.graphs[graph]).then((bytes) => ort.InferenceSession.create(bytes)));
  }
  return sessions.get(graph);
}

/** Run a graph with one output on `values` of shape `dims`, and on labels if it takes them; resolves to the numbers of the output. */
function run(graph, values, dims, labels = null) {
  const result = lastRun.then(async () => {
    const opened = await session(graph);
    const named = opened.inputNames.find((name) => name !== "label");
    const inputs = { [named]: new ort.Tensor("float32", values, dims) };
    if (labels) inputs.label = new ort.Tensor("int64", BigInt64Array.from(labels, BigInt), [labels.length]);
    const outputs = await opened.run(inputs);
    return outputs[opened.outputNames[0]].data;
  });
  lastRun = result.catch(() => {});
  return result;
}

const encode = (image) => run("encoder", image, [1, channels, height, width]);

/** Decode one code; resolves to the image, numbers in 0..1 [C, H, W]. */
async function decode(code) {
  await session("decoder");
  await lastRun;
  const start = performance.now();
  const image = await run("decoder", code, [1, bundle.latent]);
  decodeTimes.push(performance.now() - start);
  if (decodeTimes.length > 60) decodeTimes.shift();
  return image;
}

function medianDecodeTime() {
  const sorted = decodeTimes.slice().sort((a, b) => a - b);
  return sorted.length ? sorted[sorted.length >> 1] : NaN;
}

/** Codes [n, latent] that a density makes of noise [n, features], with labels [n] if it is told them. */
const fromNoise = (density, noise, count, labels = null) =>
  run(`sample/${density}`, noise, [count, bundle.densities[density].features], labels);

// From here on: work that may be requested faster than it can be done.

const nextFrame = () => new Promise((done) => requestAnimationFrame(done));
const running = new Set();

/** Count a promise as running work until it is settled, and show its error if it fails. */
function track(promise) {
  const tracked = promise.catch(fail).finally(() => running.delete(tracked));
  running.add(tracked);
  return tracked;
}

/**
 * Returns a function that runs `work`. If it is called while `work` runs, once or often, `work` runs once more afterwards.
 * `work` is given a function that says whether this run is outdated already.
 */
function latest(work) {
  let wanted = false;
  let current = null;
  async function loop() {
    while (wanted) {
      wanted = false;
      await work(() => wanted);
      await nextFrame();
    }
  }
  return () => {
    wanted = true;
    current ??= track(loop().finally(() => (current = null)));
    return current;
  };
}

/** Resolves when nothing is being computed any more. */
async function settled() {
  while (running.size) await Promise.all(running);
}

/** Show what went wrong; the page stays as it is. */
function fail(error) {
  const box = document.getElementById("alert");
  box.textContent = `Something went wrong: ${error && error.message ? error.message : error}`;
  box.hidden = false;
}
