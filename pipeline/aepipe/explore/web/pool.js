// The workers: one from the start, more for pictures of many tiles.

const MOST_WORKERS = Math.max(1, Math.min(4, (navigator.hardwareConcurrency || 2) - 1));
const pool = []; // promises of workers that are ready
let engineFiles = null;

async function startPool() {
  const [library, module, wasm] = await Promise.all(["library", "module", "wasm"].map(runtimeFile)).catch((error) => {
    throw new Error(`${NO_RUNTIME} (${error.message})`);
  });
  const script = await unpack(document.getElementById("worker").textContent);
  engineFiles = { source: URL.createObjectURL(new Blob([library, "\n", script], { type: "text/javascript" })), module, wasm };
  await wanted(1);
}

/** See that there are so many workers, or as many as there may be; resolves when the first is ready. */
function wanted(count) {
  while (pool.length < Math.min(count, MOST_WORKERS)) pool.push(newWorker());
  return pool[0];
}

async function newWorker() {
  const { source, module, wasm } = engineFiles;
  const worker = new Worker(source);
  await ask(worker, { graphs: bundle.graphs, channels: bundle.shape[0], module, wasm });
  return worker;
}

/** Send a message to a worker that is free; resolves to its answer. */
function ask(worker, message, transferred = []) {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => (data.error ? reject(new Error(data.error)) : resolve(data));
    worker.onerror = (event) => reject(new Error(event.message || "a worker could not be started"));
    worker.postMessage(message, transferred);
  });
}

/**
 * Do `work(worker, tile)` for all tiles, by all workers at once, until it is `outdated`; rejects with the first error. `sorted`
 * sorts those that wait, whenever one is taken.
 */
async function eachTile(tiles, sorted, work, outdated) {
  const waiting = tiles.slice();
  wanted(tiles.length);
  const serve = async (starting) => {
    const worker = await starting.catch(() => null); // one more that cannot be started is not missed
    while (worker && waiting.length && !outdated()) await work(worker, sorted(waiting).shift());
  };
  const stop = (error) => ((waiting.length = 0), Promise.reject(error));
  const ended = await Promise.allSettled(pool.map((starting) => serve(starting).catch(stop)));
  const failed = ended.find(({ status }) => status === "rejected");
  if (failed) throw failed.reason;
}
