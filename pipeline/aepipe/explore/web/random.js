// Random numbers that a seed and a position determine, so that any of them can be had without those before it.

/** The uniform number at a position, from 0 to below 1: mulberry32. */
function uniformAt(seed, position) {
  const state = (seed + Math.imul(position + 1, 0x6d2b79f5)) >>> 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}

/** The standard normal number at a position, by Box and Muller. */
function normalAt(seed, position) {
  const radius = Math.sqrt(-2 * Math.log(1 - uniformAt(seed, 2 * position)));
  return radius * Math.cos(2 * Math.PI * uniformAt(seed, 2 * position + 1));
}

/** A generator of uniform numbers; the same seed gives the same numbers. */
function uniforms(seed) {
  let position = 0;
  return () => uniformAt(seed, position++);
}

/** A generator of standard normal numbers. */
function normals(seed) {
  let position = 0;
  return () => normalAt(seed, position++);
}
