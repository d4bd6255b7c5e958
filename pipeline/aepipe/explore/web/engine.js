// Runs graphs by ONNX Runtime's WebAssembly: one session per graph, one run at a time. It needs no page: a worker can hold it too.

const sessions = new Map();
let graphTexts = {};
let lastRun = Promise.resolve();

/** The bytes that a text holds as base64 of gzip. */
async function unpack(text) {
  const binary = atob(text.trim());
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Start ONNX Runtime from the bytes of its files, with graphs by name, and open encoder and decoder. */
async function startEngine(graphs, module, wasm) {
  graphTexts = graphs;
  ort.env.logLevel = "error";
  ort.env.wasm.numThreads = 1; // threads need HTTP headers, which a page from the disk does not have
  ort.env.wasm.wasmBinary = wasm.buffer;
  ort.env.wasm.wasmPaths = { mjs: URL.createObjectURL(new Blob([module], { type: "text/javascript" })) };
  await Promise.all([session("encoder"), session("decoder")]);
}

function session(graph) {
  if (!sessions.has(graph)) {
    sessions.set(graph, unpack(graphTexts[graph]).then((bytes) => ort.InferenceSession.create(bytes)));
  }
  return sessions.get(graph);
}

/** Run a graph with one output on numbers of shape `dims`, and on labels if it takes them; resolves to its output, {data, dims}. */
function run(graph, values, dims, labels = null) {
  const result = lastRun.then(async () => {
    const opened = await session(graph);
    const named = opened.inputNames.find((name) => name !== "label");
    const inputs = { [named]: new ort.Tensor("float32", values, dims) };
    if (labels) inputs.label = new ort.Tensor("int64", BigInt64Array.from(labels, BigInt), [labels.length]);
    const outputs = await opened.run(inputs);
    return outputs[opened.outputNames[0]];
  });
  lastRun = result.catch(() => {});
  return result;
}
