// Just enough JSON for the vectors: no escapes in strings, which have none.
use std::collections::BTreeMap;
pub enum Json { Null, Bool, Number(f64), Text(String), List(Vec<Json>), Map(BTreeMap<String, Json>) }
use Json::*;
impl Json {
    pub fn get(&self, name: &str) -> &Json { if let Map(m) = self { m.get(name).unwrap_or(&Null) } else { &Null } }
    pub fn list(&self) -> &[Json] { if let List(l) = self { l } else { &[] } }
    pub fn text(&self) -> &str { if let Text(t) = self { t } else { "" } }
    pub fn number(&self) -> f64 { match self { Number(x) => *x, Text(t) => t.parse().unwrap(), _ => 0.0 } }
    pub fn there(&self) -> bool { !matches!(self, Null) }
}
pub fn parse(s: &[u8], i: &mut usize) -> Json { // commas and colons are passed over like blanks
    while b" \n,:".contains(&s[*i]) { *i += 1 }
    let (start, mut items) = (*i, vec![]);
    if s[start] == b'"' {
        *i += 1 + s[start + 1..].iter().position(|&c| c == b'"').unwrap() + 1;
        return Text(String::from_utf8_lossy(&s[start + 1..*i - 1]).into());
    }
    if s[start] == b'{' || s[start] == b'[' {
        *i += 1;
        loop {
            while b" \n,:".contains(&s[*i]) { *i += 1 }
            if s[*i] == b'}' || s[*i] == b']' { *i += 1; break }
            items.push(parse(s, i));
        }
        if s[start] == b'[' { return List(items) }
        let (mut map, mut all) = (BTreeMap::new(), items.into_iter());
        while let (Some(name), Some(value)) = (all.next(), all.next()) { map.insert(name.text().into(), value); }
        return Map(map);
    }
    while !b",]} \n".contains(&s[*i]) { *i += 1 }
    let word = std::str::from_utf8(&s[start..*i]).unwrap();
    match word { "null" => Null, "true" | "false" => Bool, _ => Number(word.parse().unwrap()) }
}
