// Images: draws numbers in 0..1 [C, H, W] on canvases, turns image files into such numbers, and saves them.

/** Draw an image at its own size; the style sheet enlarges it. */
function paint(canvas, image) {
  canvas.width = width;
  canvas.height = height;
  const drawn = new ImageData(width, height);
  const area = width * height;
  for (let i = 0; i < area; i++) {
    for (let c = 0; c < 3; c++) {
      drawn.data[4 * i + c] = 255 * image[channels >= 3 ? c * area + i : i];
    }
    drawn.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(drawn, 0, 0);
}

function newImageCanvas(label) {
  const canvas = document.createElement("canvas");
  canvas.className = "pixels";
  if (label) {
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", label);
  }
  return canvas;
}

function meanSquaredError(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] - b[i]) ** 2;
  return sum / a.length;
}

/** Save images side by side in rows, enlarged by a whole number, as NAME.png. */
function savePng(name, images, columns = images.length) {
  const scale = Math.max(1, Math.round((images.length > 1 ? 96 : 448) / Math.max(width, height)));
  const gap = images.length > 1 ? 4 : 0;
  const sheet = document.createElement("canvas");
  const single = document.createElement("canvas");
  const [stepX, stepY] = [width * scale + gap, height * scale + gap];
  sheet.width = columns * stepX - gap;
  sheet.height = Math.ceil(images.length / columns) * stepY - gap;
  const context = sheet.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.fillStyle = "#fff";
  context.fillRect(0, 0, sheet.width, sheet.height);
  images.forEach((image, i) => {
    paint(single, image);
    const [x, y] = [(i % columns) * stepX, Math.floor(i / columns) * stepY];
    context.drawImage(single, x, y, width * scale, height * scale);
  });
  saveCanvas(sheet, `${bundle.name}-${name}`);
}

/** Turn an image file or a canvas into the model's input: over white, cropped to the centre and resized, as in Python. */
async function fitToModel(source) {
  const bitmap = source instanceof Blob ? await createImageBitmap(source) : source;
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const image = new Float32Array(pixelCount);
  for (let c = 0; c < channels; c++) {
    const plane = new Float32Array(canvas.width * canvas.height);
    for (let i = 0; i < plane.length; i++) plane[i] = channels === 3 ? data[4 * i + c] : grey(data, 4 * i);
    image.set(resized(plane, canvas.width, canvas.height), c * width * height);
  }
  return image.map((value) => value / 255);
}

const grey = (data, i) => (data[i] * 19595 + data[i + 1] * 38470 + data[i + 2] * 7471 + 0x8000) >> 16;

/** Crop one channel to the model's aspect ratio and resize it by the bicubic filter, first in width, then in height. */
function resized(plane, planeWidth, planeHeight) {
  if (planeWidth === width && planeHeight === height) return plane;
  const ratio = Math.min(planeWidth / width, planeHeight / height);
  const across = bicubic(planeWidth, width, ratio);
  const down = bicubic(planeHeight, height, ratio);
  const narrow = new Float32Array(width * planeHeight);
  for (let y = 0; y < planeHeight; y++) {
    across.forEach(([first, weights], x) => {
      const sum = weights.reduce((total, weight, k) => total + weight * plane[y * planeWidth + first + k], 0);
      narrow[y * width + x] = clipped(sum);
    });
  }
  const result = new Float32Array(width * height);
  down.forEach(([first, weights], y) => {
    for (let x = 0; x < width; x++) {
      const sum = weights.reduce((total, weight, k) => total + weight * narrow[(first + k) * width + x], 0);
      result[y * width + x] = clipped(sum);
    }
  });
  return result;
}

const clipped = (value) => Math.min(255, Math.max(0, Math.round(value)));

/** For each of `target` pixels: the first of the `size` pixels that it is computed from, and the weights from there on. */
function bicubic(size, target, ratio) {
  const start = (size - target * ratio) / 2;
  const scale = Math.max(1, ratio);
  const cubic = (x) =>
    x < 1 ? 1.5 * x ** 3 - 2.5 * x ** 2 + 1 : x < 2 ? -0.5 * x ** 3 + 2.5 * x ** 2 - 4 * x + 2 : 0;
  return Array.from({ length: target }, (_, i) => {
    const centre = start + (i + 0.5) * ratio;
    const first = Math.max(0, Math.floor(centre - 2 * scale + 0.5));
    const end = Math.min(size, Math.floor(centre + 2 * scale + 0.5));
    const weights = Array.from({ length: end - first }, (_, k) => cubic(Math.abs(first + k - centre + 0.5) / scale));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return [first, weights.map((weight) => weight / total)];
  });
}
