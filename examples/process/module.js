// Causal multi-head attention with weights, a padding mask and a cache, by version 2 of the protocol of
// docs/protocol.md: node module.js [WRONG]. WRONG: scale, mask, heads, dropout, cache, shape, handle, crash,
// hang or garbage, to see how each is told; your own goes in `Module`.
"use strict";
const readline = require("readline");

const wrong = process.argv[2] || "";
const HELLO = {
  protocol: 2,
  name: "module.js",
  formats: ["float64", "float32"],
  takes: ["padding"],
  conventions: { padding: "attend" },
  module: {
    family: "multihead",
    options: ["d_in", "context_length", "bias", "dropout"],
    out: true,
    cache: true,
  },
};
const KINDS = { float64: Float64Array, float32: Float32Array, bool: Uint8Array };

function array(part) { // { shape, dtype, data }
  if (!(part.dtype in KINDS)) throw new Error(`no arrays of ${part.dtype}`);
  const raw = Buffer.from(part.data, "base64");
  return { ...part, data: new KINDS[part.dtype](Uint8Array.from(raw).buffer) };
}

function written(shape, dtype, rows) {
  const data = Buffer.from(KINDS[dtype].from(rows.flat()).buffer).toString("base64");
  return { shape, dtype, data };
}

function rows(part) { // (..., W) -> one array of W numbers for each token
  const width = part.shape[part.shape.length - 1], count = part.data.length / width || 0;
  return Array.from({ length: count }, (_, n) => Array.from(part.data.slice(n * width, (n + 1) * width)));
}

function product(row, matrix, bias) { // row @ matrix + bias
  const found = bias ? [...bias] : new Array(matrix[0].length).fill(0);
  row.forEach((x, i) => matrix[i].forEach((w, j) => (found[j] += x * w)));
  return found;
}

function random(state) { // numbers from 0 to 1 that follow from a seed (mulberry32)
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

class Module {
  constructor({ d_in, d_out, heads, context_length, dropout }) {
    if (d_out % heads) throw new Error(`${heads} heads do not divide d_out ${d_out}`);
    if (!(dropout >= 0 && dropout <= 1)) throw new Error(`dropout ${dropout} is no probability`);
    Object.assign(this, { d_in, d_out, heads, room: context_length, p: dropout, dim: d_out / heads });
  }

  load(weights) { // matrices (in, out), biases (out)
    this.weights = Object.fromEntries(Object.entries(weights).map(([name, part]) => [name, array(part)]));
    for (const part of Object.values(this.weights)) part.rows = rows(part);
  }

  project(row, name) {
    const bias = this.weights[`${name}_bias`];
    return product(row, this.weights[name].rows, bias && bias.rows[0]);
  }

  call(x, { padding, seed, past } = {}) { // past: of each item, the keys and values before these tokens
    const [B, T, width] = x.shape;
    if (x.shape.length !== 3 || width !== this.d_in) throw new Error(`x is ${x.shape}, not B,T,${this.d_in}`);
    const before = past ? past.length : 0;
    if (before + T > this.room) throw new Error(`${before + T} tokens, and room for ${this.room}`);
    const drops = this.p && (seed !== undefined || wrong === "dropout");
    const tokens = rows(x), output = [], draw = seed === undefined ? Math.random : random(seed);
    for (let b = 0; b < B; b++) {
      const kept = past ? past.items[b] : { key: [], value: [] }, mine = tokens.slice(b * T, (b + 1) * T);
      const start = before + (wrong === "cache" && before > 0);
      for (const name of ["key", "value"]) mine.forEach((row, i) => (kept[name][start + i] = this.project(row, name)));
      mine.forEach((row, i) => {
        const query = this.project(row, "query"), context = new Array(this.d_out).fill(0);
        const seen = Math.min(before + i + 1 + (wrong === "mask"), before + T);
        for (let head = 0; head < this.heads; head++) {
          const scores = kept.key.slice(0, seen).map((key, j) => {
            if (padding && !padding.data[b * T + j]) return -Infinity;
            let dot = 0;
            for (let d = 0; d < this.dim; d++) dot += query[head * this.dim + d] * key[head * this.dim + d];
            return dot / Math.sqrt(wrong === "scale" ? this.d_out : this.dim);
          });
          const top = scores.reduce((a, b) => Math.max(a, b), -Infinity); // NaN, if any is
          const powers = scores.map((z) => (top === -Infinity ? 0 : Math.exp(z - top)));
          const total = powers.reduce((a, b) => a + b, 0) || 1;
          powers.forEach((power, j) => {
            const weight = drops ? (draw() < this.p ? 0 : power / (1 - this.p || 1)) : power;
            for (let d = 0; d < this.dim; d++) {
              const place = (wrong === "heads" ? this.heads - 1 - head : head) * this.dim + d;
              context[place] += (weight / total) * kept.value[j][head * this.dim + d];
            }
          });
        }
        output.push(this.project(context, "out"));
      });
    }
    if (past) past.length += T;
    return { output: written([B, T, this.d_out], x.dtype, output) };
  }
}

const modules = new Map(), states = new Map();
let numbers = 0;

function kept(of, number) { // what a number stands for
  if (!of.has(number)) throw new Error(`nothing has the number ${number}`);
  return of.get(number);
}

function call(asked) {
  const x = array(asked.x);
  if (wrong === "handle") modules.clear();
  const drops = asked.seed !== undefined; // some of all valid calls
  if (drops && wrong === "crash") process.kill(process.pid, "SIGSEGV");
  while (drops && (wrong === "crash" || wrong === "hang"));
  if (wrong === "garbage") console.log("I was called"); // this is for standard error
  const padding = asked.padding && array(asked.padding);
  if (padding && String(padding.shape) !== String(x.shape.slice(0, 2))) throw new Error("padding is not (B, T)");
  const found = kept(modules, asked.module).call(x, { padding, seed: asked.seed });
  if (wrong === "shape") found.output.shape = [x.shape[1], x.shape[0], found.output.shape[2]];
  return found;
}

const DOES = {
  hello: () => HELLO,
  build(asked) {
    modules.set(++numbers, new Module(asked));
    return { module: numbers };
  },
  load(asked) {
    kept(modules, asked.module).load(asked.weights);
    return {};
  },
  call,
  begin(asked) {
    const module = kept(modules, asked.module), nothing = new Array(module.d_out).fill(0);
    const room = () => Array.from({ length: module.room + 1 }, () => nothing);
    const items = Array.from({ length: asked.batch }, () => ({ key: room(), value: room() }));
    states.set(++numbers, { module, past: { length: 0, items } });
    return { state: numbers };
  },
  step(asked) {
    const { module, past } = kept(states, asked.state);
    return module.call(array(asked.x), { past });
  },
  free(asked) {
    asked.modules.forEach((number) => modules.delete(number));
    asked.states.forEach((number) => states.delete(number));
    return {};
  },
};
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
