// What every page needs: its content, the files of the runtime, its start, work that is counted, and errors that are shown.

const bundle = JSON.parse(document.getElementById("bundle").textContent);
const NO_RUNTIME = "ONNX Runtime could not be loaded: this page needs a network";

/** Name what the browser lacks to run this page; "" if it lacks nothing. */
function missing() {
  if (typeof WebAssembly !== "object") return "WebAssembly";
  if (typeof DecompressionStream !== "function") return "DecompressionStream";
  return "";
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

/** Run `setUp`. Where it fails, the page says why it cannot be used here, and the promise rejects with that. */
async function start(setUp) {
  try {
    const lacking = missing();
    if (lacking) throw new Error(`this browser has no ${lacking}. A current Firefox, Chrome, Edge or Safari has it.`);
    await nextFrame();
    await setUp();
  } catch (error) {
    document.body.classList.add("failed");
    const box = document.getElementById("alert");
    box.textContent = `This page cannot run here: ${error.message || error}`;
    box.hidden = false;
    throw error;
  }
}

/** Let the page be used. */
function uncover() {
  document.body.classList.remove("starting");
  document.querySelector("main").inert = false;
  document.getElementById("status").textContent = "Ready";
}

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
