// The pass's arithmetic, in the orders of minidistil/backends/reference: float32 whose every step is rounded once.

const f32 = Math.fround; // of a float64 sum, product, quotient or root of float32: as if it were rounded once
const word = new Float64Array(1);
const halves = new Uint32Array(word.buffer);
word[0] = 1;
const LOW = halves[0] ? 1 : 0; // where the low half of a float64 stands

const single = new DataView(new ArrayBuffer(4));
function bitsOf(x) {
  single.setFloat32(0, x);
  return single.getUint32(0);
}
function ofBits(bits) {
  single.setUint32(0, bits);
  return single.getFloat32(0);
}
const hexOf = (x) => "0x" + bitsOf(x).toString(16).padStart(8, "0");

// a b + c, rounded once. The product is exact in float64; its sum with c is rounded to odd where it might be a tie.
function fma(a, b, c) {
  const p = a * b;
  const s = p + c;
  word[0] = s;
  if ((halves[LOW] & 0x0fffffff) !== 0 || !Number.isFinite(s)) return f32(s);
  const t = s - p;
  const error = p - (s - t) + (c - t);
  if (error !== 0) {
    if (error > 0 === s > 0) halves[LOW] += 1;
    else if (halves[LOW]-- === 0) halves[1 - LOW] -= 1;
  }
  return f32(word[0]);
}

function horner(t, first, ...rest) {
  let result = f32(first);
  for (const c of rest) result = fma(result, t, f32(c));
  return result;
}

// Half to even, as processors round.
function rint(x) {
  const low = Math.floor(x);
  return x - low === 0.5 ? low + (low % 2 === 0 ? 0 : 1) : Math.round(x);
}

// e^x in Sleef's steps, which gelu takes.
function expf(x) {
  const q = rint(f32(Math.max(-200, Math.min(200, x)) * f32(1.4426950408889634)));
  const s = fma(q, f32(-1.428606765330187045e-6), fma(q, f32(-0.693145751953125), x));
  const u = horner(s, 0.000198527617612853646278381, 0.00139304355252534151077271, 0.00833336077630519866943359, 0.0416664853692054748535156, 0.166666671633720397949219, 0.5);
  if (x < -104) return 0;
  if (x > 100) return Infinity;
  const y = f32(1 + fma(f32(s * s), u, s));
  return f32(f32(y * 2 ** (q >> 1)) * 2 ** (q - (q >> 1)));
}

// e^x in the steps of PyTorch's attention.
function expOfScore(x) {
  const [low, high, log2e, ln2] = [0xc2aeac50, 0x42b17218, 0x3fb8aa3b, 0x3f317218].map(ofBits);
  const s = Math.max(Math.min(x, high), low);
  const n = Math.floor(fma(s, log2e, 0.5));
  const r = fma(-n, ln2, s);
  const y = horner(r, 0.00828929059, 0.0418978221, 0.166676521, 0.499991506, 0.999999701, 1);
  return x < low || n <= -126 ? 0 : f32(f32(y * 2 ** (n - 1)) * 2);
}

function gelu(x) {
  const z = f32(x * f32(Math.SQRT1_2));
  const t = f32(1 / fma(f32(0.3275911), Math.abs(z), 1));
  const y = horner(t, 1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592);
  const erf = Math.abs(fma(f32(-expf(-f32(z * z)) * t), y, 1));
  return f32(f32(x * 0.5) * f32(1 + (z < 0 || Object.is(z, -0) ? -erf : erf)));
}
const ACTIVATIONS = { gelu, relu: (x) => (x < 0 ? 0 : x), linear: (x) => x };

// The edges of the blocks in which a product sums its terms, and one block: a chain of fma from zero.
function edgesOf(k) {
  const size = k <= 192 ? k : k < 384 ? k >> 1 : 192;
  const edges = [];
  for (let edge = 0; edge < k; edge += size) edges.push(edge);
  return [...edges, k];
}
const contextEdges = (n) => [...new Set(edgesOf(16 * Math.ceil(n / 16)).map((edge) => Math.min(edge, n)))];
function chain(x, w, start, stop) {
  let sum = 0;
  for (let k = start; k < stop; k++) sum = fma(x[k], w[k], sum);
  return sum;
}

// A product: its blocks, each with its total and the running total that starts with the bias, or without one.
function summed(x, w, edges, bias) {
  let running = bias;
  return edges.slice(1).map((stop, i) => {
    const total = chain(x, w, edges[i], stop);
    running = running === undefined ? total : f32(running + total);
    return { start: edges[i], stop, total, running };
  });
}
const dot = (x, w, edges) => summed(x, w, edges).at(-1).running;

// A product of few columns: terms in lanes, each rounded, the lanes added as a tree, then the terms left over.
function narrowDot(x, w, lanes, first) {
  const k = x.length;
  const whole = k - ((k - first) % lanes);
  let s = new Float32Array(lanes);
  for (let t = 0; t < first; t++) s[0] += f32(x[t] * w[t]);
  for (let t = first; t < whole; t += lanes) for (let i = 0; i < lanes; i++) s[i] += f32(x[t + i] * w[t + i]);
  for (let half = lanes >> 1; half; half >>= 1) for (let i = 0; i < half; i++) s[i] += s[i + half];
  for (let t = whole; t < k; t++) s[0] += f32(x[t] * w[t]);
  return s[0];
}

// A row of scores: largest, exponentials, their sum in eight lanes, its reciprocal.
function softmax(scores) {
  const top = scores.reduce((a, b) => Math.max(a, b), -Infinity);
  const exponentials = scores.map((x) => expOfScore(f32(x - top)));
  const lanes = new Float32Array(8);
  exponentials.forEach((x, i) => { lanes[i % 8] += x; });
  for (let half = 4; half; half >>= 1) for (let i = 0; i < half; i++) lanes[i] += lanes[i + half];
  return { top, exponentials, sum: lanes[0], reciprocal: f32(1 / lanes[0]) };
}

// Mean and 1 / sqrt(variance + eps) of a row: Welford's update in 8 lanes, chunks of 16 vectors, merged pairwise.
function moments(x, eps) {
  const vectors = x.length >> 3;
  const empty = () => ({ count: 0, mean: new Float32Array(8), m2: new Float32Array(8) });
  const merged = (a, b) => {
    const found = { ...empty(), count: a.count + b.count };
    const c = found.count ? f32(b.count / found.count) : 0;
    for (let i = 0; i < 8; i++) {
      const delta = f32(b.mean[i] - a.mean[i]);
      const step = f32(c * delta);
      found.mean[i] = a.mean[i] + step;
      found.m2[i] = fma(f32(delta * a.count), step, f32(a.m2[i] + b.m2[i]));
    }
    return found;
  };
  const chunks = Math.ceil(vectors / 16);
  const depth = Math.max(1, Math.ceil(Math.log2(Math.max(1, chunks))));
  const level = Array.from({ length: depth }, empty);
  for (let i = 0; i < chunks; i++) {
    const own = empty();
    for (let at = 16 * i; at < Math.min(vectors, 16 * i + 16); at++) {
      own.count += 1;
      for (let lane = 0; lane < 8; lane++) {
        const value = x[8 * at + lane];
        const delta = f32(value - own.mean[lane]);
        own.mean[lane] = fma(f32(1 / own.count), delta, own.mean[lane]);
        own.m2[lane] = fma(delta, f32(value - own.mean[lane]), own.m2[lane]);
      }
    }
    level[0] = merged(level[0], own);
    for (let j = 1, carry = i + 1; j < depth && !(carry & 1); j++, carry >>= 1) [level[j], level[j - 1]] = [merged(level[j], level[j - 1]), empty()];
  }
  for (let j = 1; j < depth; j++) level[0] = merged(level[0], level[j]);
  let [count, mean, m2] = [0, 0, 0];
  for (const value of x.subarray(8 * vectors)) {
    count += 1;
    const delta = f32(value - mean);
    mean = f32(mean + f32(delta / count));
    m2 = f32(m2 + f32(delta * f32(value - mean)));
  }
  for (let lane = 0; lane < 8; lane++) {
    const c = f32(vectors / (count + vectors));
    const delta = f32(level[0].mean[lane] - mean);
    mean = fma(c, delta, mean);
    m2 = f32(m2 + fma(f32(f32(delta * delta) * c), count, level[0].m2[lane]));
    count += vectors;
  }
  return { mean, rstd: f32(1 / f32(Math.sqrt(f32(f32(m2 / x.length) + eps)))) };
}

// A row in whole numbers of 0 to 255, with its scale and the code of zero.
function codesOf(x) {
  const finite = x.every(Number.isFinite);
  const low = x.reduce((a, b) => Math.min(a, b), 0);
  const width = x.reduce((a, b) => Math.max(a, b), 0) - low;
  const some = finite && width >= 2 ** -100;
  const steps = some ? f32(255 / width) : 0;
  const within = (q) => Math.max(0, Math.min(255, q));
  const zero = some ? within(rint(f32(-low * steps))) : 0;
  const codes = x.map((value) => (some ? within(rint(f32(value * steps)) + zero) : 0));
  return { codes, zero, scale: some ? f32(width / 255) : finite ? 1 : NaN };
}

const CRC = Array.from({ length: 256 }, (_, byte) => {
  for (let i = 0; i < 8; i++) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1;
  return byte;
});
function crc32(values) {
  let crc = ~0;
  for (const x of values) {
    const bits = bitsOf(x);
    for (let shift = 0; shift < 32; shift += 8) crc = CRC[(crc ^ (bits >>> shift)) & 255] ^ (crc >>> 8);
  }
  return ~crc >>> 0;
}
