// Attention as a program that answers the protocol of docs/protocol.md, with gradients and dropout:
// node attention.js [WRONG]. WRONG: scale, mask, gradient, crash, hang or garbage, to see how each is
// told; your own goes in `attention` and `gradients`.
"use strict";
const readline = require("readline");

const wrong = process.argv[2] || "";
const HELLO = {
  protocol: 1,
  name: "attention.js",
  formats: ["float64", "float32"],
  takes: ["mask", "causal", "scale", "cap", "groups", "lengths", "dropout"],
  conventions: { mask: "attend", align: "bottom right", empty: "zeros" },
  gradients: true,
};
const KINDS = { float64: Float64Array, float32: Float32Array, bool: Uint8Array };

function array(part) { // { shape, dtype, data }
  if (!(part.dtype in KINDS)) throw new Error(`no arrays of ${part.dtype}`);
  const raw = Buffer.from(part.data, "base64");
  return { ...part, data: new KINDS[part.dtype](Uint8Array.from(raw).buffer) };
}

function written(shape, dtype, numbers) {
  const data = Buffer.from(KINDS[dtype].from(numbers).buffer).toString("base64");
  return { shape, dtype, data };
}

function random(state) { // numbers from 0 to 1 that follow from a seed (mulberry32)
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function read(call) { // the arrays and sizes of a call; an error where they do not fit each other
  const [query, key, value] = ["query", "key", "value"].map((name) => array(call[name]));
  const [B, H, T, D] = query.shape, [, G, S] = key.shape, E = value.shape[3];
  if (key.shape[0] !== B || key.shape[3] !== D || String(key.shape.slice(0, 3)) !== String(value.shape.slice(0, 3)))
    throw new Error("query, key and value do not fit each other");
  if (!G || H % G) throw new Error("the heads of keys do not divide those of queries");
  const mask = call.mask && array(call.mask);
  if (mask && (mask.dtype !== "bool" || String(mask.shape) !== String([B, H, T, S])))
    throw new Error("the mask is not (B, H, T, S) of booleans");
  const p = Number(call.dropout || 0);
  if (!(p >= 0 && p <= 1)) throw new Error("dropout is a probability");
  const scale = Number(call.scale ?? (wrong === "scale" ? 1 : D ** -0.5));
  return { query, key, value, mask, B, H, T, D, G, S, E, p, scale, cap: Number(call.cap || 0), causal: call.causal };
}

function* rows(c, seed) { // each row: where its parts begin, its weights, which are kept, the slopes of the cap
  const draw = random(seed || 0), start = wrong === "mask" ? 0 : c.S - c.T;
  for (let row = 0; row < c.B * c.H * c.T; row++) {
    const head = Math.floor(row / c.T), i = row % c.T;
    const group = Math.floor(head / c.H) * c.G + Math.floor((head % c.H) / (c.H / c.G));
    const place = { q: row * c.D, k: group * c.S * c.D, v: group * c.S * c.E, o: row * c.E };
    const slopes = new Array(c.S).fill(1), scores = [];
    for (let j = 0; j < c.S; j++) {
      let dot = 0;
      for (let d = 0; d < c.D; d++) dot += c.query.data[place.q + d] * c.key.data[place.k + j * c.D + d];
      const bent = Math.tanh((c.scale * dot) / c.cap);
      if (c.cap) slopes[j] = 1 - bent * bent;
      const hidden = (c.causal && j > i + start) || (c.mask && !c.mask.data[row * c.S + j]);
      scores.push(hidden ? -Infinity : c.cap ? c.cap * bent : c.scale * dot);
    }
    const top = scores.reduce((a, b) => Math.max(a, b), -Infinity); // NaN, if any is
    const powers = scores.map((z) => (top === -Infinity ? 0 : Math.exp(z - top)));
    const total = powers.reduce((a, b) => a + b, 0) || 1;
    const kept = powers.map(() => (c.p && draw() < c.p ? 0 : 1 / (1 - c.p || 1)));
    yield { place, weights: powers.map((x) => x / total), kept, slopes };
  }
}

function attention(call) {
  const c = read(call), output = new Float64Array(c.B * c.H * c.T * c.E);
  if (c.cap && c.S > 3 && wrong === "crash") process.kill(process.pid, "SIGSEGV");
  while (c.cap && c.S > 3 && (wrong === "crash" || wrong === "hang"));
  if (wrong === "garbage") console.log("I was called"); // this is for standard error
  for (const { place, weights, kept } of rows(c, call.seed))
    weights.forEach((w, j) => {
      for (let e = 0; e < c.E; e++) output[place.o + e] += w * kept[j] * c.value.data[place.v + j * c.E + e];
    });
  return { output: written([c.B, c.H, c.T, c.E], c.query.dtype, output) };
}

function gradients(call) { // of sum(upstream * output) by query, key and value
  const c = read(call), upstream = array(call.upstream).data;
  const [query, key, value] = ["query", "key", "value"].map((name) => new Float64Array(c[name].data.length));
  for (const { place, weights, kept, slopes } of rows(c, call.seed)) {
    const byWeight = weights.map((w, j) => {
      let sum = 0;
      for (let e = 0; e < c.E; e++) {
        value[place.v + j * c.E + e] += w * kept[j] * upstream[place.o + e];
        sum += upstream[place.o + e] * c.value.data[place.v + j * c.E + e];
      }
      return sum * kept[j];
    });
    const mean = wrong === "gradient" ? 0 : weights.reduce((sum, w, j) => sum + w * byWeight[j], 0);
    weights.forEach((w, j) => {
      const byDot = w * (byWeight[j] - mean) * slopes[j] * c.scale;
      for (let d = 0; d < c.D; d++) {
        query[place.q + d] += byDot * c.key.data[place.k + j * c.D + d];
        key[place.k + j * c.D + d] += byDot * c.query.data[place.q + d];
      }
    });
  }
  const found = { query, key, value };
  return Object.fromEntries(Object.entries(found).map(([n, a]) => [n, written(call[n].shape, call[n].dtype, a)]));
}

const DOES = { hello: () => HELLO, call: attention, gradients };
readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const asked = JSON.parse(line);
  let found;
  try {
    found = DOES[asked.do](asked);
  } catch (error) {
    found = { error: error.message };
  }
  console.log(JSON.stringify({ id: asked.id, ...found }));
});
