// How a picture is cut into tiles: as `aepipe infer denoise --tile` cuts it, which gives what the whole picture would.

const CORE = 384; // pixels of a window's side that are kept
const UNKNOWN = 64; // pixels around them where it is not known how far the networks see

/**
 * The tiles of a picture. Window {x, y, w, h} goes through the networks; it may leave the picture, which is continued by
 * reflection. `across` [w] and `down` [h] weigh the columns and rows of its result: at each pixel the products sum to 1.
 */
function tilesOf(width, height, { shape: [, tall, wide], multiple, reach }) {
  const overlap = Math.floor(Math.min(tall, wide) / 4);
  const columns = wide ? blended(width, wide, overlap) : windows(width, multiple, reach ?? UNKNOWN);
  const rows = tall ? blended(height, tall, overlap) : windows(height, multiple, reach ?? UNKNOWN);
  return rows.flatMap(({ start: y, weights: down }) =>
    columns.map(({ start: x, weights: across }) => ({ x, y, w: across.length, h: down.length, across, down })),
  );
}

/** One side for a model of any size: windows that see `reach` pixels around what is kept of them, and do not overlap there. */
function windows(side, multiple, reach) {
  const up = (pixels) => Math.ceil(pixels / multiple) * multiple;
  const [core, margin] = [up(CORE), up(reach)];
  return Array.from({ length: Math.ceil(side / core) }, (_, k) => {
    const start = Math.max(0, k * core - margin);
    const end = Math.min(side, (k + 1) * core + margin);
    const kept = (i) => start + i >= k * core && start + i < Math.min(side, (k + 1) * core);
    return { start, weights: Float64Array.from({ length: up(end - start) }, (_, i) => Number(kept(i))) };
  });
}

/** One side for a model of one size: tiles that are spread evenly, overlap, and fade into one another as a squared sine. */
function blended(side, tile, overlap) {
  const before = Math.max(0, tile - side) >> 1;
  const room = Math.max(0, side - tile);
  const count = 1 + Math.ceil(room / (tile - overlap));
  const starts = Array.from({ length: count }, (_, k) => evenly(count > 1 ? (room * k) / (count - 1) : 0));
  const inside = (i) => Math.min(i, tile - 1 - i) + 0.5; // pixels from the nearer edge
  const fade = (i) => Math.sin((Math.PI / 2) * Math.min(inside(i) / Math.max(overlap, 0.5), 1)) ** 2;
  const total = new Float64Array(Math.max(side, tile));
  for (const start of starts) for (let i = 0; i < tile; i++) total[start + i] += fade(i);
  return starts.map((start) => ({
    start: start - before,
    weights: Float64Array.from({ length: tile }, (_, i) => fade(i) / total[start + i]),
  }));
}

/** Rounded as NumPy rounds: halves to the even neighbour. */
function evenly(value) {
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 && rounded % 2 ? rounded - 1 : rounded;
}
