// A worker: it holds the graphs and restores one tile after another, so that the page can be used meanwhile.

let modelChannels = 0;

addEventListener("message", async ({ data }) => {
  try {
    const answer = data.graphs ? await begin(data) : await restored(data);
    postMessage(answer, Object.values(answer).map((array) => array.buffer));
  } catch (error) {
    postMessage({ error: error?.message ?? String(error) });
  }
});

async function begin({ graphs, channels, module, wasm }) {
  modelChannels = channels;
  await startEngine(graphs, module, wasm);
  return {};
}

/** What a tile is with noise, and what the networks make of it, each [C, h, w] in the channels of the picture. */
async function restored({ bytes, tile, picture, noise }) {
  const noisy = inputOf(bytes, tile, picture, noise);
  const own = picture.channels;
  const repeated = own < modelChannels; // a grey picture in a model of colours; its result is the mean of them
  const input = repeated ? new Float32Array(modelChannels * noisy.length) : noisy;
  for (let c = 0; repeated && c < modelChannels; c++) input.set(noisy, c * noisy.length);
  // A model of grey pictures takes each channel of a colour picture by itself.
  const code = await run("encoder", input, [input.length / (modelChannels * tile.w * tile.h), modelChannels, tile.h, tile.w]);
  const { data } = await run("decoder", code.data, code.dims);
  if (!repeated) return { noisy, restored: data };
  const mean = (_, i) => (data[i] + data[i + noisy.length] + data[i + 2 * noisy.length]) / modelChannels;
  return { noisy, restored: noisy.map(mean) };
}
