// What goes into a restoring model: the pixels of a picture as numbers in 0..1, and noise. The page and its workers share it.

/** Where a position beyond the ends of a side lies on it, continued by reflection that does not repeat the end. */
function reflected(position, side) {
  if (side === 1) return 0;
  const period = 2 * (side - 1);
  const at = ((position % period) + period) % period;
  return at < side ? at : period - at;
}

/** The bytes, four a pixel, of the window {x, y, w, h} of a picture, which it may leave on every side. */
function windowOf({ bytes, width, height }, { x, y, w, h }) {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, width * height);
  const cut = new Uint32Array(w * h);
  const columns = Int32Array.from({ length: w }, (_, j) => reflected(x + j, width));
  for (let i = 0; i < h; i++) {
    const row = reflected(y + i, height) * width;
    for (let j = 0; j < w; j++) cut[i * w + j] = words[row + columns[j]];
  }
  return new Uint8ClampedArray(cut.buffer);
}

/**
 * Those bytes as numbers [C, h, w], with Gaussian noise. The noise of a pixel depends on the seed and on where it lies in the
 * picture, so that all windows that show the pixel show it alike.
 */
function inputOf(bytes, { x, y, w, h }, { width, height, channels }, { sigma, seed, clip }) {
  const input = new Float32Array(channels * w * h);
  const columns = Int32Array.from({ length: w }, (_, j) => reflected(x + j, width));
  for (let c = 0, k = 0; c < channels; c++) {
    for (let i = 0; i < h; i++) {
      const row = (c * height + reflected(y + i, height)) * width;
      for (let j = 0; j < w; j++, k++) {
        const value = bytes[4 * (i * w + j) + c] / 255;
        const noisy = sigma ? value + sigma * normalAt(seed, row + columns[j]) : value;
        input[k] = clip ? Math.min(1, Math.max(0, noisy)) : noisy;
      }
    }
  }
  return input;
}
