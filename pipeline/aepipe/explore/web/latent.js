// The latent space: training codes, their principal axes, and where a code lies on them in standard deviations.

const latent = { mean: null, axes: null, spread: null, codes: null, coordinates: null, labels: null };
const axisCount = bundle.share.length;

async function readCodes() {
  [latent.mean, latent.axes, latent.codes] = await Promise.all(
    [bundle.mean, bundle.axes, bundle.codes].map(unpackFloats),
  );
  if (bundle.labels) latent.labels = await unpack(bundle.labels.of);
  latent.spread = new Float64Array(axisCount).fill(1);
  const raw = new Float64Array(bundle.count * axisCount);
  const squares = new Float64Array(axisCount);
  for (let i = 0; i < bundle.count; i++) {
    const at = coordinatesOf(codeOf(i));
    raw.set(at, i * axisCount);
    at.forEach((value, k) => (squares[k] += value * value));
  }
  latent.spread = squares.map((sum) => Math.sqrt(sum / bundle.count) || 1);
  latent.coordinates = raw.map((value, i) => value / latent.spread[i % axisCount]);
}

const codeOf = (index) => latent.codes.subarray(index * bundle.latent, (index + 1) * bundle.latent);

/** Where a code lies on each axis that the page shows, in standard deviations of the training codes. */
function coordinatesOf(code) {
  const at = new Float64Array(axisCount);
  for (let k = 0; k < axisCount; k++) {
    let sum = 0;
    for (let j = 0; j < bundle.latent; j++) sum += (code[j] - latent.mean[j]) * latent.axes[k * bundle.latent + j];
    at[k] = sum / latent.spread[k];
  }
  return at;
}

/** The code, moved along some axes so that it lies at `wanted` ({axis: standard deviations}); nothing else changes. */
function moved(code, wanted) {
  const at = coordinatesOf(code);
  const result = Float32Array.from(code);
  for (const [axis, value] of Object.entries(wanted)) {
    const step = (value - at[axis]) * latent.spread[axis];
    for (let j = 0; j < bundle.latent; j++) result[j] += step * latent.axes[axis * bundle.latent + j];
  }
  return result;
}

/** The index of the training code nearest to a code, in all dimensions. */
function nearestTo(code) {
  return nearest((i) => {
    let sum = 0;
    for (let j = 0, k = i * bundle.latent; j < bundle.latent; j++, k++) sum += (latent.codes[k] - code[j]) ** 2;
    return sum;
  });
}

/** The index of the training code nearest to a place on the map. */
function nearestOnMap(x, y) {
  return nearest((i) => {
    const across = axisCount > 1 ? latent.coordinates[i * axisCount + 1] - y : 0;
    return (latent.coordinates[i * axisCount] - x) ** 2 + across ** 2;
  });
}

function nearest(distance) {
  let best = 0;
  let least = Infinity;
  for (let i = 0; i < bundle.count; i++) {
    const d = distance(i);
    if (d < least) [best, least] = [i, d];
  }
  return best;
}

const labelOf = (index) => (latent.labels ? bundle.labels.names[latent.labels[index]] : "");

/** (1 - alpha) a + alpha b. */
const between = (a, b, alpha) => a.map((value, j) => (1 - alpha) * value + alpha * b[j]);
