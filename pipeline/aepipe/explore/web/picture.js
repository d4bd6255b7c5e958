// The picture: how it comes in, and how it is restored, tile by tile.

const MOST_PIXELS = 12e6; // of more, memory and time would be too much for a page
const OWN_NOISE = 0.025; // a picture with more noise than this is restored as it is

/** bytes: four a pixel; result: [C, H, W], which fills as tiles are done; psnr: before and after, once all are; level: its own noise. */
const picture = { name: "", width: 0, height: 0, channels: 0, bytes: null, result: null, sigma: 0, seed: 0, psnr: null };
let picked = 0; // how many pictures have come so far
let sigmaIsChosen = false; // by the visitor, for every picture to come

const noiseOf = ({ sigma, seed }) => ({ sigma, seed, clip: sigma > 0 && bundle.noise.clip });

const restore = latest(async (outdated) => {
  try {
    await restoreTiles(outdated);
    if (!outdated()) showResult();
  } catch (error) {
    hideProgress();
    throw error;
  }
});

/** Restore the picture as it is now, until that is outdated. */
async function restoreTiles(outdated) {
  const { width, height, channels } = picture;
  const noise = noiseOf(picture);
  const tiles = tilesOf(width, height, bundle);
  const started = performance.now();
  let done = 0;
  let before = 0; // squared differences of what goes in
  picture.psnr = null;
  picture.result.fill(0);
  showProgress(0, tiles.length, 0);
  const restoreTile = async (worker, tile) => {
    const bytes = windowOf(picture, tile);
    const { x, y, w, h } = tile;
    const answer = await ask(worker, { bytes, tile: { x, y, w, h }, picture: { width, height, channels }, noise }, [bytes.buffer]);
    if (outdated()) return;
    before += addTile(tile, answer);
    showProgress(++done, tiles.length, performance.now() - started);
  };
  await eachTile(tiles, nearestFirst, restoreTile, outdated);
  if (outdated()) return;
  const numbers = width * height * channels;
  picture.psnr = { before: decibels(before / numbers), after: decibels(squaredDifferences() / numbers) };
  picture.milliseconds = performance.now() - started;
}

const decibels = (meanSquare) => -10 * Math.log10(meanSquare);

/** Sort tiles by their distance from what is looked at. */
function nearestFirst(tiles) {
  const [x, y] = middleOfView();
  const far = (tile) => Math.hypot(tile.x + tile.w / 2 - x, tile.y + tile.h / 2 - y);
  return tiles.sort((a, b) => far(a) - far(b));
}

/** Add a tile to the result by its weights, and draw it; returns the squared differences between its noisy and clean pixels. */
function addTile({ x, y, w, h, across, down }, { noisy, restored }) {
  const { width, height, channels, bytes, result } = picture;
  const [left, right] = counted(across, x, width);
  const [top, bottom] = counted(down, y, height);
  const [input, output] = [new ImageData(right - left, bottom - top), new ImageData(right - left, bottom - top)];
  let squares = 0;
  for (let i = top; i < bottom; i++) {
    for (let j = left; j < right; j++) {
      const weight = down[i] * across[j];
      const pixel = (y + i) * width + x + j;
      const drawn = 4 * ((i - top) * (right - left) + j - left);
      for (let c = 0; c < 3; c++) {
        const own = Math.min(c, channels - 1);
        const from = (own * h + i) * w + j;
        const to = own * width * height + pixel;
        if (c < channels) {
          result[to] += weight * restored[from];
          squares += weight * (noisy[from] - bytes[4 * pixel + c] / 255) ** 2;
        }
        input.data[drawn + c] = 255 * noisy[from];
        output.data[drawn + c] = 255 * result[to];
      }
      input.data[drawn + 3] = output.data[drawn + 3] = 255;
    }
  }
  canvases.before.getContext("2d").putImageData(input, x + left, y + top);
  canvases.after.getContext("2d").putImageData(output, x + left, y + top);
  return squares;
}

/** From where to where the weights of a tile count, inside the picture. */
function counted(weights, start, side) {
  const first = weights.findIndex((weight, i) => weight > 0 && start + i >= 0);
  const last = weights.findLastIndex((weight, i) => weight > 0 && start + i < side);
  return [first, last + 1];
}

function squaredDifferences() {
  const { bytes, result, channels } = picture;
  const area = result.length / channels;
  let sum = 0;
  for (let c = 0, k = 0; c < channels; c++) {
    for (let i = 0; i < area; i++, k++) sum += (result[k] - bytes[4 * i + c] / 255) ** 2;
  }
  return sum;
}

/** What went into the model, [C, H, W]. */
function wholeInput() {
  const all = { x: 0, y: 0, w: picture.width, h: picture.height };
  return picture.bytes && inputOf(picture.bytes, all, picture, noiseOf(picture));
}

/** Take the first of some files that is an image; what is being restored is given up for it. */
async function takeFiles(files) {
  const file = files.find(({ type }) => type.startsWith("image/")) ?? files[0];
  if (file) await takePicture(file, file.name, true);
}

async function takePicture(file, name, own) {
  const number = ++picked;
  const problem = document.getElementById("file-problem");
  problem.textContent = "";
  document.getElementById("alert").hidden = true;
  const read = await readPicture(file).catch(() => null);
  if (number !== picked) return; // another one has come meanwhile
  if (!read) {
    problem.textContent = `${name} is not an image that this browser can read.`;
    return;
  }
  const { width, height, bytes, remarks } = read;
  const channels = isGrey(bytes) ? 1 : 3;
  const level = own && bundle.noise.usual ? noiseLevel(bytes, width, height) : 0;
  const result = new Float32Array(channels * width * height);
  Object.assign(picture, { name, width, height, bytes, channels, result, remarks, own, level });
  if (!sigmaIsChosen) setSigma(level > OWN_NOISE ? 0 : bundle.noise.usual);
  showPicture();
  await restore();
}

/** The pixels of an image file, upright, over white, halved until there are at most MOST_PIXELS of them. */
async function readPicture(file) {
  const bitmap = await createImageBitmap(file);
  const remarks = [];
  let halvings = 0;
  const [width, height] = [bitmap.width, bitmap.height];
  while ((width * height) / 4 ** halvings > MOST_PIXELS) halvings++;
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height].map((side) => Math.max(1, Math.round(side / 2 ** halvings)));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const bytes = context.getImageData(0, 0, canvas.width, canvas.height).data;
  if (halvings) remarks.push(`It was ${width}×${height}; larger pictures than 12 megapixels are reduced, which takes noise away.`);
  if (layOverWhite(bytes)) remarks.push("Its transparent parts are laid over white.");
  return { width: canvas.width, height: canvas.height, bytes, remarks };
}

/** Lay pixels over white, by the rule of docs/preparation.md; returns whether any was transparent. */
function layOverWhite(bytes) {
  let any = false;
  for (let i = 3; i < bytes.length; i += 4) {
    const alpha = bytes[i];
    if (alpha === 255) continue;
    any = true;
    for (let k = i - 3; k < i; k++) bytes[k] = (alpha * bytes[k] + (255 - alpha) * 255) / 255;
    bytes[i] = 255;
  }
  return any;
}

function isGrey(bytes) {
  for (let i = 0; i < bytes.length; i += 4) {
    if (bytes[i] !== bytes[i + 1] || bytes[i] !== bytes[i + 2]) return false;
  }
  return true;
}

/**
 * The standard deviation of the noise that a picture has, roughly: from second differences in both directions, in which edges
 * and slopes cancel (Immerkær, Computer Vision and Image Understanding 64, 1996). Their median is used: few are texture.
 */
function noiseLevel(bytes, width, height) {
  const counts = new Uint32Array(4 * 510 + 1);
  const [left, top] = [Math.max(1, (width - 512) >> 1), Math.max(1, (height - 512) >> 1)];
  const at = (x, y) => bytes[4 * (y * width + x) + 1];
  const across = (x, y) => at(x - 1, y) - 2 * at(x, y) + at(x + 1, y);
  let total = 0;
  for (let y = top; y < Math.min(height - 1, top + 512); y++) {
    for (let x = left; x < Math.min(width - 1, left + 512); x++, total++) {
      counts[Math.abs(across(x, y - 1) - 2 * across(x, y) + across(x, y + 1))]++;
    }
  }
  let median = 0;
  for (let below = counts[0]; below < total / 2; below += counts[median]) median++;
  return median / (0.6745 * 6 * 255);
}
