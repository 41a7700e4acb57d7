//! Many tensor names in few lines.

use std::collections::BTreeMap;

/// Alternatives beyond this become `*`.
const MOST_ALTERNATIVES: usize = 4;

/// Names folded for people: numbers to ranges with both ends (`model.layers.0..31.norm`, `{0, 2}`), names that
/// differ in one segment to alternatives (`mlp.{down|up}.weight`), many alternatives to `*`. In name order.
pub fn fold_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    // Template (`None` for a number) to the numbers that occur, one list for each name.
    let mut templates: BTreeMap<Vec<Option<&str>>, Vec<Vec<u64>>> = BTreeMap::new();
    for name in names {
        let (mut template, mut numbers) = (Vec::new(), Vec::new());
        for segment in name.split('.') {
            match segment.parse::<u64>() {
                Ok(n) if n.to_string() == segment => {
                    template.push(None);
                    numbers.push(n);
                }
                _ => template.push(Some(segment)),
            }
        }
        templates.entry(template).or_default().push(numbers);
    }
    let mut folded: Vec<Vec<String>> = Vec::new();
    for (template, mut numbers) in templates {
        numbers.sort();
        numbers.dedup();
        for texts in fold_numbers(&numbers) {
            let mut texts = texts.into_iter();
            let fill = |s: &Option<&str>| s.map_or_else(|| texts.next().unwrap_or_default(), str::to_string);
            folded.push(template.iter().map(fill).collect());
        }
    }
    let longest = folded.iter().map(Vec::len).max().unwrap_or(0);
    for at in (0..longest).rev() {
        folded = fold_segment(folded, at);
    }
    let mut lines: Vec<String> = folded.into_iter().map(|segments| segments.join(".")).collect();
    lines.sort();
    lines
}

/// Sorted tuples of numbers as products of sets, each set as text.
fn fold_numbers(tuples: &[Vec<u64>]) -> Vec<Vec<String>> {
    if tuples.first().is_none_or(Vec::is_empty) {
        return vec![Vec::new()];
    }
    let mut by_first: BTreeMap<u64, Vec<Vec<u64>>> = BTreeMap::new();
    for tuple in tuples {
        by_first.entry(tuple[0]).or_default().push(tuple[1..].to_vec());
    }
    let mut by_rest: BTreeMap<Vec<Vec<u64>>, Vec<u64>> = BTreeMap::new();
    for (first, rest) in by_first {
        by_rest.entry(rest).or_default().push(first);
    }
    let mut result = Vec::new();
    for (rest, firsts) in by_rest {
        for texts in fold_numbers(&rest) {
            let mut all = vec![ranges(&firsts)];
            all.extend(texts);
            result.push(all);
        }
    }
    result
}

/// Sorted numbers as text: `0..31`, `{0, 4..6}`, `7`.
fn ranges(numbers: &[u64]) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for n in numbers {
        match runs.last_mut() {
            Some((_, end)) if *end + 1 == *n => *end = *n,
            _ => runs.push((*n, *n)),
        }
    }
    let shown: Vec<String> = runs.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}..{b}") }).collect();
    if let [only] = shown.as_slice() { only.clone() } else { format!("{{{}}}", shown.join(", ")) }
}

/// Joins names that differ in segment `at` alone.
fn fold_segment(names: Vec<Vec<String>>, at: usize) -> Vec<Vec<String>> {
    let mut groups: BTreeMap<Vec<String>, Vec<String>> = BTreeMap::new();
    let mut result = Vec::new();
    for mut name in names {
        if at < name.len() {
            let segment = std::mem::take(&mut name[at]);
            groups.entry(name).or_default().push(segment);
        } else {
            result.push(name);
        }
    }
    for (mut name, mut segments) in groups {
        segments.sort();
        let plain = segments.iter().all(|s| !s.starts_with('{') && !s.contains("..") && s != "*");
        if segments.len() == 1 || !plain {
            for segment in segments {
                let mut one = name.clone();
                one[at] = segment;
                result.push(one);
            }
        } else {
            name[at] = if segments.len() > MOST_ALTERNATIVES { "*".to_string() } else { format!("{{{}}}", segments.join("|")) };
            result.push(name);
        }
    }
    result
}
