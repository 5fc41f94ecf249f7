// Hold an attention against the vectors and name its fault: node check.js WHICH FILE...
"use strict";
const fs = require("fs");
const TAKES = ["alibi", "bias", "causal", "groups", "mask", "padding", "past", "scale", "softcap", "window"];
const product = (shape) => shape.reduce((a, b) => a * b, 1);
const number = (x) => (typeof x === "number" ? x : x === "nan" ? NaN : x === "inf" ? Infinity : -Infinity);

function array(part) { // { shape, get(indices) }, broadcast along axes of one and axes that are missing
  const flat = part.data ? part.data.map(number) : new Array(product(part.shape)).fill(part.fill);
  for (const [place, other] of part.at || []) flat[place] = other;
  const get = (...at) => {
    const own = at.slice(at.length - part.shape.length);
    const place = part.shape.reduce((all, size, axis) => all * size + (size === 1 ? 0 : own[axis]), 0);
    return flat[place] * part.times;
  };
  return { shape: part.shape, get };
}

function attention(test, corner, which) { // the attention that is checked: put your own in its place
  const o = test.options, q = array(test.q), ks = array(test.k), vs = array(test.v);
  const pk = test.past_k && array(test.past_k), pv = test.past_v && array(test.past_v);
  const past = pk ? pk.shape[2] : 0;
  const [B, H, T, D] = q.shape, G = ks.shape[1], S = past + ks.shape[2], E = vs.shape[3];
  const k = (b, g, j, d) => (j < past ? pk.get(b, g, j, d) : ks.get(b, g, j - past, d));
  const v = (b, g, j, e) => (j < past ? pv.get(b, g, j, e) : vs.get(b, g, j - past, e));
  const [mask, padding, bias, alibi] = ["mask", "padding", "bias", "alibi"].map((n) => o[n] && array(o[n]));
  if (H % G || ks.shape[3] !== D || String(vs.shape.slice(0, 3)) !== String(ks.shape.slice(0, 3)) ||
      ks.shape[0] !== B || (mask && ![1, S].includes(mask.shape[3])) || (alibi && alibi.shape[0] !== H)) return null;
  const scale = o.scale === undefined ? 1 / Math.sqrt(D) : o.scale, output = [], lse = [];
  const [left, right] = o.window || [-1, -1], start = corner === "bottom right" ? S - T : 0;
  for (let b = 0; b < B; b++) for (let h = 0; h < H; h++) for (let i = 0; i < T; i++) {
    const g = which === "groups-tiled" ? h % G : Math.floor(h / (H / G)), z = [];
    for (let j = 0; j < S; j++) {
      const ahead = j - i - start;
      let dot = 0;
      for (let d = 0; d < D; d++) dot += q.get(b, h, i, d) * k(b, g, j, d);
      dot *= scale;
      if (o.softcap && which !== "cap-ignored") dot = o.softcap * Math.tanh(dot / o.softcap);
      if (alibi) dot -= alibi.get(h) * Math.abs(ahead);
      if (bias) dot += bias.get(b, h, i, j);
      const hidden = (o.causal && ahead > 0) || (left >= 0 && -ahead > left) || (right >= 0 && ahead > right) ||
        (mask && mask.get(b, h, i, j) === (which === "True-hides" ? 1 : 0)) || (padding && padding.get(b, j) === 0);
      z.push(hidden ? -Infinity : dot);
    }
    const top = Math.max(...z), m = top === -Infinity ? 0 : top, w = z.map((x) => Math.exp(x - m));
    const total = w.reduce((a, x) => a + x, 0);
    for (let e = 0; e < E; e++) output.push(w.reduce((a, x, j) => a + (x ? x * v(b, g, j, e) : 0), 0) / (total || 1));
    lse.push(Math.log(total) + m);
  }
  return { output, lse };
}

const far = (x, y) => (y === null || Object.is(x, number(y)) || x === number(y) ? 0 : Math.abs(x - number(y)));
const within = (found, wanted, bounds, near) => found.every((x, i) => far(x, wanted[i]) <= Math.max(bounds[i], near));

function flags(test, found) { // null where a test is passed, else what it looks like
  if (!found || test.result === "invalid") return !found && test.result === "invalid" ? null : [];
  const names = Object.keys(test.expected).filter((n) => n in found);
  const like = (f, near) => names.every((n) =>
    within(found[n], f[n] || test.expected[n].data, test.expected[n].bounds.float64, near));
  if (like({}, 0)) return null;
  const off = names.flatMap((n) => found[n].map((x, i) => far(x, test.expected[n].data[i])));
  const near = Math.max(...off.filter(Number.isFinite), 8e-8) / 8;
  return [...new Set(test.faults.filter((f) => like(f, near)).map((f) => f.flag))];
}

const named = {}, results = [], [which, ...paths] = process.argv.slice(2);
for (const file of paths.map((path) => JSON.parse(fs.readFileSync(path)))) {
  if ((file.conventions.rows_that_see_nothing || "zeros") !== "zeros" || file.group.startsWith("gradients")) continue;
  for (const test of file.tests.filter((t) => t.needs.every((n) => TAKES.includes(n)))) {
    const found = flags(test, attention(test, file.conventions.causal_diagonal, which));
    results.push(found === null);
    for (const flag of found || []) named[flag] = (named[flag] || 0) + 1;
    if (found) console.log(`${test.tcId}: ${test.comment}: ${found.join(", ") || "unknown"}`);
  }
}
const most = Object.keys(named).filter((flag) => named[flag] === Math.max(...Object.values(named)));
console.log(`${results.filter(Boolean).length} right, ${results.filter((r) => !r).length} wrong`, ...most);
