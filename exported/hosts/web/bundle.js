// A bundle at work in JavaScript, whatever runs its graphs: files to input (docs/preparation.md), tasks, and the comparison with
// the bundle's test vectors. The hosts in node/ and web/ hold the same copy of this file. Arrays are {dims, data}, float32.
const RULE = { orientation: "exif", alpha: "white", grey: "ITU-R 601-2", filter: "bicubic" };
const STEPS = 12, TIMES = 100;
const OF_SAMPLES = ["encode", "reconstruct", "interpolate", "score"], OF_CODES = ["decode", "sample", "time"];
const TYPES = { "|b1": Uint8Array, "|u1": Uint8Array, "<u2": Uint16Array, "<u4": Uint32Array, "<u8": BigUint64Array,
  "|i1": Int8Array, "<i2": Int16Array, "<i4": Int32Array, "<i8": BigInt64Array,
  "<f2": Uint16Array, "<f4": Float32Array, "<f8": Float64Array }; // prettier-ignore
const product = (sizes) => sizes.reduce((all, size) => all * size, 1);
const latin = (bytes) => new TextDecoder("latin1").decode(bytes);
const viewOf = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** An opened bundle. `host` has read(file) → bytes; open(file) → a function from {dims, data, labels} to an array, where labels are
 * for graphs of a second input; and decode(bytes, name) → an RGBA picture, with `upright` where that has been seen to. */
export class Bundle {
  constructor(manifest, host) {
    if (manifest.format > 2) throw Error(`the bundle has format ${manifest.format}, this program reads formats 1 and 2`);
    Object.assign(this, { manifest, host, data: manifest.data ?? manifest.image, sessions: new Map() });
  }

  entry(role, density) {
    const fits = (g) => g.role === role && g.density === density && g.precision === "fp32" && (g.io ?? "float") === "float";
    const found = this.manifest.graphs.find(fits);
    if (!found) throw Error(`the bundle has no graph: ${role}${density ? ` of ${density}` : ""}`);
    return found;
  }

  /** What a graph makes of an array; each graph is opened once. One that is told a class is told all in turn. */
  async graph(role, values, density) {
    const { file } = this.entry(role, density);
    if (!this.sessions.has(file)) this.sessions.set(file, this.host.open(file));
    const label = (_, i) => BigInt(i % (this.manifest.classes ?? 1));
    const { dims, data } = values, labels = BigInt64Array.from({ length: dims[0] }, label);
    return (await this.sessions.get(file))({ dims, data, labels });
  }

  /** A file as samples for the graphs: a picture, or .npy in the units of the training data. */
  async sample(name, bytes) {
    if (name.endsWith(".npy")) return scaled(readNpy(bytes, name), this.data, name);
    return scaled(pixels(upright(await this.host.decode(bytes, name), bytes, name), this.data, name), this.data, name);
  }

  /** The input of a task from a file: samples, or of decode, sample and time float32 as it is. */
  async input(task, name, bytes) {
    if (![...OF_SAMPLES, ...OF_CODES].includes(task)) throw Error(`there is no task ${task}`);
    if (OF_SAMPLES.includes(task)) return this.sample(name, bytes);
    const values = readNpy(bytes, name);
    if (values.type !== "<f4") throw Error(`${name} is ${values.type}, not float32`);
    return values;
  }

  encode(sample) {
    const { multiple = 1 } = this.data;
    return this.graph("encoder", sides(sample, (side) => Math.ceil(side / multiple) * multiple));
  }

  /** What is decoded, without what was added to the sides of `sample`. */
  async decode(code, sample) {
    const made = await this.graph("decoder", code);
    return sample ? sides(made, (_, axis) => sample.dims[axis]) : made;
  }

  /** Error and log-density of each sample [N, 2]: the latter of the first density, NaN where it gives none, or is told a class. */
  async score(sample) {
    const code = await this.encode(sample), [density] = this.manifest.densities;
    const errors = meanSquares(await this.decode(code, sample), sample);
    const { inputs } = this.manifest.graphs.find((g) => g.role === "log_prob" && g.density === density) ?? {};
    const knows = inputs && !inputs.label && inputs.latent.shape.slice(1).join() === code.dims.slice(1).join();
    const log = knows ? (await this.graph("log_prob", code, density)).data : errors.map(() => NaN);
    const both = Float32Array.from({ length: 2 * errors.length }, (_, i) => (i % 2 ? log : errors)[i >> 1]);
    return { dims: [errors.length, 2], data: both };
  }

  /** One task; `values` are codes for decode and time, noise for sample, else samples for the graphs. */
  async run(task, values) {
    if (task === "encode") return this.encode(values);
    if (task === "score") return this.score(values);
    if (task === "reconstruct") return this.inUnits(await this.decode(await this.encode(values), values));
    if (task === "interpolate") return this.inUnits(await this.decode(between(await this.encode(values)), values));
    if (task === "sample") return this.inUnits(await this.decode(await this.graph("sample", values, this.manifest.densities[0])));
    if (task === "decode") return this.inUnits(await this.decode(values));
    await this.decode(values); // what follows is time; the first is slower
    const stamps = [performance.now()];
    while (stamps.length <= TIMES) await this.decode(values), stamps.push(performance.now());
    return { dims: [TIMES], data: Float32Array.from(stamps.slice(1), (end, i) => end - stamps[i]) };
  }

  inUnits({ dims, data }) {
    const [low, high] = this.data.raw?.range ?? [0, 1];
    return { dims, data: data.map((value) => value * (high - low) + low) };
  }

  /** The largest difference of each stage from the test vectors, divided by max(1, |value|), as text: [{line, agrees}]. */
  async check() {
    const { vectors: place, files } = this.manifest;
    if (!place) throw Error("the bundle has no test vectors: format 1 has none");
    const stored = async (stage) => [stage, readNpy(await this.host.read(`${place}/${stage}.npy`), stage)];
    const given = Object.keys(files).find((file) => file.startsWith(`${place}/input.`));
    const scores = JSON.parse(latin(await this.host.read(`${place}/scores.json`)));
    const sample = await this.sample(given, await this.host.read(given));
    const latent = await this.encode(sample), reconstruction = await this.decode(latent, sample);
    const found = { prepared: sample, latent, reconstruction, error: { dims: [1], data: meanSquares(reconstruction, sample) } };
    const stated = Object.fromEntries(await Promise.all(["prepared", "latent", "reconstruction"].map(stored)));
    stated.error = { dims: [1], data: [scores.error] };
    for (const [density, value] of Object.entries(scores.log_density).filter(([, value]) => value !== null)) {
      found[`log_density ${density}`] = await this.graph("log_prob", latent, density);
      stated[`log_density ${density}`] = { dims: [1], data: [value] };
    }
    return Object.entries(found).map(([stage, { dims, data }]) => {
      const expected = stated[stage];
      if (dims.join() !== expected.dims.join()) throw Error(`${stage}: ${dims} where the vectors have ${expected.dims}`);
      const differs = (value, other) => Math.abs(value - other) / Math.max(1, Math.abs(other));
      const apart = data.reduce((worst, value, i) => Math.max(worst, differs(value, expected.data[i])), 0);
      const tolerance = scores.tolerance ?? 1e-4; // the first vectors do not state it
      const more = apart <= tolerance ? "" : `, which is more than ${tolerance}`; // NaN is
      return { agrees: !more, line: `${stage}: ${apart.toExponential(1)}${more}` };
    });
  }
}

/** A .npy file of plain numbers: {type, dims, data}; data are float32, or float64 where the file holds another type. */
export function readNpy(bytes, name) {
  const end = bytes[6] === 1 ? 10 + viewOf(bytes).getUint16(8, true) : 12 + viewOf(bytes).getUint32(8, true);
  const header = latin(bytes.subarray(0, end)), type = header.match(/'descr': '(\S+)'/)?.[1], Numbers = TYPES[type];
  if (!Numbers || !header.includes("'fortran_order': False")) throw Error(`${name} is not a .npy file of numbers, in C order`);
  const dims = header.match(/'shape': \(([\d, ]*)\)/)[1].split(",").filter((size) => size.trim()).map(Number);
  if (bytes.length - end < product(dims) * Numbers.BYTES_PER_ELEMENT) throw Error(`${name} is cut off`);
  const data = new Numbers(new Uint8Array(bytes.subarray(end)).buffer, 0, product(dims)); // a copy is aligned
  return { type, dims, data: type === "<f4" ? data : Float64Array.from(data, type === "<f2" ? half : Number) };
}

/** The number that 16 bits stand for: sign, five bits of exponent, ten of the mantissa. */
function half(bits) {
  const exponent = (bits >> 10) & 31, mantissa = bits & 1023;
  return (bits & 0x8000 ? -1 : 1) * (exponent ? (1024 + mantissa) * 2 ** (exponent - 25) : mantissa * 2 ** -24);
}

export function writeNpy({ dims, data }) {
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${dims.join(", ")},), }`;
  const header = text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11) + "\n";
  const start = `\x93NUMPY\x01\x00${String.fromCharCode(header.length & 255, header.length >> 8)}${header}`;
  const bytes = new Uint8Array(start.length + data.byteLength);
  bytes.set(Array.from(start, (letter) => letter.charCodeAt(0)));
  bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), start.length);
  return bytes;
}

/** Raw values as float32 for the graphs; without a range in `raw`, bytes are divided by 255 and floats are as they are. */
function scaled({ type, dims, data: values }, { raw, range }, name) {
  const [low, high] = raw ? (raw.range ?? [0, 1]) : [0, type === "|u1" ? 255 : 1];
  const data = Float32Array.from(values, (value) => {
    const number = (value - low) / (high - low), nearest = range ? Math.min(Math.max(number, 0), 1) : number;
    if (!Number.isFinite(number) || (number !== nearest && !raw?.clip))
      throw Error(`${name} has values that are not in ${low}..${high}`);
    return nearest;
  });
  return { dims, data };
}

/** An RGBA picture, turned by the EXIF orientation in a PNG file; refuses what is no picture of 8 bits a channel. */
function upright(picture, bytes, name) {
  const view = viewOf(bytes);
  let orientation = 1;
  for (let at = 8; latin(bytes.subarray(1, 4)) === "PNG" && at + 12 <= bytes.length; at += 12 + view.getUint32(at)) {
    const chunk = latin(bytes.subarray(at + 4, at + 8));
    if (chunk === "acTL" || (chunk === "IHDR" && bytes[at + 16] > 8))
      throw Error(`${name} has several frames, or more than 8 bits a channel`);
    if (chunk !== "eXIf" || picture.upright) continue;
    const exif = new DataView(bytes.buffer, bytes.byteOffset + at + 8, view.getUint32(at)), little = exif.getUint8(0) === 0x49;
    const first = exif.getUint32(4, little);
    for (let i = 0, at = first + 2; i < exif.getUint16(first, little); i++, at += 12)
      if (exif.getUint16(at, little) === 0x112) orientation = exif.getUint16(at + 8, little);
  }
  if (orientation < 2 || orientation > 8) return picture;
  const { width, height, data } = picture, across = orientation > 4, from = new Uint32Array(Uint8Array.from(data).buffer);
  const turned = new Uint32Array(from.length), [w, h] = across ? [height, width] : [width, height];
  for (let i = 0; i < from.length; i++) {
    let [x, y] = across ? [Math.floor(i / w), i % w] : [i % w, Math.floor(i / w)];
    if ([2, 3, 7, 8].includes(orientation)) x = width - 1 - x;
    if ([3, 4, 6, 7].includes(orientation)) y = height - 1 - y;
    turned[i] = from[y * width + x];
  }
  return { width: w, height: h, data: new Uint8Array(turned.buffer) };
}

/** An RGBA picture as bytes [1, C, H, W]: over white, grey or in colour, cropped about the centre and resized where sides are
 * fixed. */
function pixels({ width, height, data: rgba }, { shape: [channels, ...size], prepare = RULE }, name) {
  if (Object.entries(RULE).some(([key, value]) => (prepare[key] ?? value) !== value))
    throw Error("the bundle prepares pictures by a rule that this program does not know");
  if (size.length !== 2 || ![1, 3].includes(channels))
    throw Error(`${name} is a picture, and the samples have the shape ${[channels, ...size]}: give them as .npy`);
  const count = width * height, over = (i, c) => 255 - Math.round((rgba[4 * i + 3] * (255 - rgba[4 * i + c])) / 255);
  const grey = (i) => (19595 * over(i, 0) + 38470 * over(i, 1) + 7471 * over(i, 2) + 32768) >> 16;
  const plane = (_, c) => Uint8Array.from({ length: count }, (_, i) => (channels === 1 ? grey(i) : over(i, c)));
  let planes = Array.from({ length: channels }, plane);
  const [h, w] = size.map((side, axis) => (size.includes(null) ? [height, width] : size)[axis]);
  if (h !== height || w !== width) {
    const whole = width / height, wanted = w / h;
    const box = [whole > wanted ? wanted * height : width, whole < wanted ? width / wanted : height];
    const [columns, rows] = [weights(width, box[0], w), weights(height, box[1], h)];
    planes = planes.map((plane) => resampled(resampled(plane, width, columns), height, rows));
  }
  const all = new Uint8Array(channels * h * w);
  planes.forEach((plane, c) => all.set(plane, c * h * w));
  return { type: "|u1", dims: [1, channels, h, w], data: all };
}

/** Pillow's bicubic filter (a = −0.5) from the middle `part` of n pixels to `size`: [first pixel, weights in 2⁻²²] for each. */
function weights(n, part, size) {
  const start = Math.fround((n - part) * 0.5), end = Math.fround((n - part) * 0.5 + part); // Pillow holds the box in float32
  const scale = Math.fround(end - start) / size, wide = Math.max(scale, 1);
  const curve = (x) => (x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0);
  return Array.from({ length: size }, (_, i) => {
    const centre = start + (i + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - 2 * wide + 0.5), 0), last = Math.min(Math.trunc(centre + 2 * wide + 0.5), n);
    const row = Array.from({ length: last - first }, (_, k) => curve(Math.abs((first + k - centre + 0.5) * (1 / wide))));
    const sum = row.reduce((all, each) => all + each, 0);
    return [first, row.map((each) => Math.trunc((each / sum) * 2 ** 22 + (each < 0 ? -0.5 : 0.5)))];
  });
}

/** Lines of n bytes, each resized; lines become columns, so that a second call resizes the other side and turns them back. */
function resampled(lines, n, weights) {
  const count = lines.length / n, made = new Uint8ClampedArray(weights.length * count);
  weights.forEach(([first, row], i) => {
    for (let y = 0; y < count; y++) {
      let sum = 2 ** 21;
      for (let k = 0; k < row.length; k++) sum += row[k] * lines[y * n + first + k];
      made[i * count + y] = Math.floor(sum / 2 ** 22);
    }
  });
  return made;
}

/** Samples [N, C, *sides] with other sides: continued by reflection, or cut. `wanted` gives each, from what it is and its axis. */
function sides({ dims, data }, wanted) {
  dims.forEach((side, axis) => {
    const size = axis < 2 ? side : wanted(side, axis), inner = product(dims.slice(axis + 1)), outer = product(dims.slice(0, axis));
    if (size === side) return;
    const period = Math.max(2 * side - 2, 1), from = (i) => (i % period < side ? i % period : period - (i % period));
    const made = new Float32Array(outer * size * inner);
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < size; i++) {
        const start = (o * side + from(i)) * inner;
        made.set(data.subarray(start, start + inner), (o * size + i) * inner);
      }
    }
    [dims, data] = [dims.map((each, k) => (k === axis ? size : each)), made];
  });
  return { dims, data };
}

function meanSquares({ dims: [count], data }, { data: other }) {
  const each = data.length / count, sums = new Float64Array(count);
  data.forEach((value, i) => (sums[Math.floor(i / each)] += Math.fround(value - other[i]) ** 2));
  return Float32Array.from(sums, (sum) => sum / each);
}

function between({ dims: [count, ...shape], data }) {
  if (count !== 2) throw Error(`interpolate takes 2 samples, not ${count}`);
  const latent = product(shape), alpha = (i) => Math.floor(i / latent) / (STEPS - 1);
  const mixed = (_, i) => (1 - alpha(i)) * data[i % latent] + alpha(i) * data[latent + (i % latent)];
  return { dims: [STEPS, ...shape], data: Float32Array.from({ length: STEPS * latent }, mixed) };
}
