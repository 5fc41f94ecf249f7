// Hold an attention against the vectors and name its fault, in f32: rustc -O check.rs && ./check WHICH FILE...
use json::{parse, Json, Json::*};
use std::{collections::BTreeMap, env, fs};
mod json;
const TAKES: [&str; 8] = ["bias", "causal", "groups", "mask", "padding", "scale", "softcap", "window"];
struct Array { shape: Vec<usize>, data: Vec<f32> } // four axes, the first ones of length one
fn array(part: &Json) -> Array {
    let own: Vec<usize> = part.get("shape").list().iter().map(|n| n.number() as usize).collect();
    let (shape, times) = ([vec![1; 4 - own.len()], own].concat(), part.get("times").number());
    let mut data: Vec<f32> = part.get("data").list().iter().map(|x| (x.number() * times) as f32).collect();
    if data.is_empty() { data = vec![(part.get("fill").number() * times) as f32; shape.iter().product()] }
    for x in part.get("at").list() { data[x.list()[0].number() as usize] = (x.list()[1].number() * times) as f32 }
    Array { shape, data }
}
impl Array {
    fn at(&self, place: [usize; 4]) -> f32 { // broadcast where an axis has length one
        self.data[(0..4).fold(0, |flat, n| flat * self.shape[n] + if self.shape[n] == 1 { 0 } else { place[n] })]
    }
}
fn attention(test: &Json, corner: &str, which: &str) -> Option<[Vec<f32>; 2]> { // the one that is checked; None: refused
    let (o, q, k, v) = (test.get("options"), array(test.get("q")), array(test.get("k")), array(test.get("v")));
    let [mask, bias, padding] = ["mask", "bias", "padding"].map(|n| array(o.get(n)));
    let (heads, t, d, groups, s) = (q.shape[1], q.shape[2], q.shape[3], k.shape[1], k.shape[2]);
    let broad = !o.get("mask").there() || mask.shape[3] == s || mask.shape[3] == 1;
    if heads % groups > 0 || k.shape[0] != q.shape[0] || k.shape[3] != d || k.shape[..3] != v.shape[..3] || !broad { return None }
    let scale = if o.get("scale").there() { o.get("scale").number() as f32 } else { 1.0 / (d as f32).sqrt() };
    let scale = if which == "scale-squared" && o.get("scale").there() { scale * scale } else { scale };
    let (cap, start) = (o.get("softcap").number() as f32, if corner == "bottom right" && which != "causal-from-the-top-left" { s as i64 - t as i64 } else { 0 });
    let (window, mut found) = (o.get("window").list(), [vec![], vec![]]);
    for b in 0..q.shape[0] { for h in 0..heads { for i in 0..t {
        let g = if which == "groups-tiled" { h % groups } else { h / (heads / groups) };
        let z: Vec<f32> = (0..s).map(|j| {
            let (ahead, dot) = (j as i64 - i as i64 - start, (0..d).map(|c| q.at([b, h, i, c]) * k.at([b, g, j, c])).sum::<f32>() * scale);
            let dot = if cap > 0.0 { cap * (dot / cap).tanh() } else { dot };
            let past = |n: usize, far: i64| !window.is_empty() && window[n].number() >= 0.0 && far > window[n].number() as i64;
            let hidden = (o.get("causal").there() && ahead > 0) || past(0, -ahead) || past(1, ahead);
            let masked = (o.get("mask").there() && mask.at([b, h, i, j]) == 0.0) || (o.get("padding").there() && padding.at([0, 0, b, j]) == 0.0);
            if hidden || masked { f32::NEG_INFINITY } else if o.get("bias").there() { dot + bias.at([b, h, i, j]) } else { dot }
        }).collect();
        let top = z.iter().cloned().fold(f32::NEG_INFINITY, f32::max);
        let w: Vec<f32> = z.iter().map(|x| if top.is_finite() { (x - top).exp() } else { 0.0 }).collect();
        let total: f32 = w.iter().sum();
        for e in 0..v.shape[3] { found[0].push((0..s).map(|j| if w[j] > 0.0 { w[j] / total * v.at([b, g, j, e]) } else { 0.0 }).sum()) }
        found[1].push(if total > 0.0 { total.ln() + top } else { f32::NEG_INFINITY });
    } } }
    Some(found)
}
fn beyond(found: &[f32], wanted: &Json, bounds: &Json, near: f64) -> Option<f64> { // the largest finite distance beyond bound and `near`
    found.iter().zip(wanted.list()).zip(bounds.list()).filter_map(|((&x, y), bound)| {
        let (x, right) = (x as f64, y.number());
        let off = if !y.there() || x == right || (x.is_nan() && right.is_nan()) { 0.0 } else { (x - right).abs() };
        if off <= bound.number().max(near) { None } else { Some(if off.is_finite() { off } else { 0.0 }) }
    }).reduce(f64::max)
}
fn main() {
    let (given, mut counts, mut named): (Vec<String>, _, _) = (env::args().collect(), [0, 0], BTreeMap::<String, i32>::new());
    for path in &given[2..] {
        let (file, promised);
        file = parse(&fs::read(path).unwrap(), &mut 0);
        promised = file.get("conventions");
        if !["", "zeros"].contains(&promised.get("rows_that_see_nothing").text()) || file.get("group").text().starts_with("gradients") { continue }
        for test in file.get("tests").list().iter().filter(|t| t.get("needs").list().iter().all(|n| TAKES.contains(&n.text()))) {
            let (found, valid, names) = (attention(test, promised.get("causal_diagonal").text(), &given[1]), test.get("result").text() == "valid", ["output", "lse"]);
            let compare = |f: &Json, found: &[Vec<f32>; 2], near: f64| (0..2).filter_map(|n| {
                let part = test.get("expected").get(names[n]);
                beyond(&found[n], if f.get(names[n]).there() { f.get(names[n]) } else { part.get("data") }, part.get("bounds").get("float32"), near)
            }).reduce(f64::max);
            let off = match &found { Some(found) if valid => compare(&Null, found, 0.0), found => if found.is_some() == valid { None } else { Some(0.0) } };
            counts[off.is_some() as usize] += 1;
            let (Some(off), Some(found), true) = (off, &found, valid) else { continue };
            let flags: std::collections::BTreeSet<_> = test.get("faults").list().iter().filter(|f| compare(f, found, (off / 8.0).max(1e-8)).is_none()).map(|f| f.get("flag").text()).collect();
            println!("{}: {}: {:?}", test.get("tcId").number(), test.get("comment").text(), flags);
            for flag in flags { *named.entry(flag.into()).or_default() += 1 }
        }
    }
    let most = named.values().max().cloned().unwrap_or(0);
    let flags: Vec<_> = named.into_iter().filter(|x| x.1 == most).map(|x| x.0).collect();
    println!("{} right, {} wrong {}", counts[0], counts[1], flags.join(" "));
}
