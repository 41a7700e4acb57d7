//! Folds names that differ in numbers alone into one: `model.layers.{0..=31}.mlp.up_proj.weight`.
//!
//! A number is a whole segment between dots, written without leading zeros. Folding loses nothing:
//! [`unfold`] gives back exactly the names that went in, though in another order.

use std::{collections::BTreeMap, fmt::Write};

/// Most names that one folded name may stand for; more is a slip of the pen.
const MOST: usize = 1_000_000;

/// A name in which each number may be a set of ranges, such as `{0..=3, 7}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Folded {
    pub name: String,
    /// How many names it stands for.
    pub count: usize,
}

/// Folds names, all different. The result is sorted by the form of the names without their numbers, then by number.
pub(crate) fn fold<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<Folded> {
    // The form of a name has nothing where a number stands.
    let mut groups: BTreeMap<Vec<Option<&str>>, Vec<Vec<u32>>> = BTreeMap::new();
    for name in names {
        let form = name.split('.').map(|s| number(s).is_none().then_some(s)).collect();
        groups.entry(form).or_default().push(name.split('.').filter_map(number).collect());
    }
    let mut folded = Vec::new();
    for (form, mut tuples) in groups {
        tuples.sort();
        let tuples: Vec<&[u32]> = tuples.iter().map(Vec::as_slice).collect();
        for product in products(&tuples) {
            let count = product.iter().map(Vec::len).product();
            let mut sets = product.iter();
            let mut numbers = || sets.next().map_or(String::new(), |n| ranges(n));
            let segments: Vec<String> = form.iter().map(|s| s.map_or_else(&mut numbers, str::to_owned)).collect();
            folded.push(Folded { name: segments.join("."), count });
        }
    }
    folded
}

/// The names that a folded one stands for, or what is wrong with it. A brace that is not a set of numbers
/// is an error too: names with braces are quoted in a `.schema` text.
pub(crate) fn unfold(name: &str) -> Result<Vec<String>, String> {
    let mut names = vec![String::new()];
    let mut rest = name;
    while let Some((before, after)) = rest.split_once('{') {
        let (set, after) = after.split_once('}').ok_or_else(|| format!("the `{{` in `{name}` is not closed"))?;
        let numbers =
            parse_set(set).ok_or_else(|| format!("`{{{set}}}` is not a set of numbers such as {{0..=31}} or {{0, 2, 5..=7}}"))?;
        if names.len().saturating_mul(numbers.len()) > MOST {
            return Err(format!("`{name}` stands for more than {MOST} tensors"));
        }
        names = names.iter().flat_map(|n| numbers.iter().map(move |i| format!("{n}{before}{i}"))).collect();
        rest = after;
    }
    names.iter_mut().for_each(|n| n.push_str(rest));
    Ok(names)
}

/// The value of a segment that is a number in its usual form.
fn number(segment: &str) -> Option<u32> {
    let usual =
        segment.len() <= 9 && segment.bytes().all(|b| b.is_ascii_digit()) && (segment == "0" || !segment.starts_with('0'));
    usual.then(|| segment.parse().ok()).flatten()
}

/// Sorted, different tuples of one length as few products of sets: first numbers that go with the same
/// rest share a product.
fn products(tuples: &[&[u32]]) -> Vec<Vec<Vec<u32>>> {
    if tuples.first().is_none_or(|t| t.is_empty()) {
        return vec![Vec::new()];
    }
    let mut by_rest: Vec<(Vec<&[u32]>, Vec<u32>)> = Vec::new();
    for group in tuples.chunk_by(|a, b| a[0] == b[0]) {
        let rest: Vec<&[u32]> = group.iter().map(|t| &t[1..]).collect();
        match by_rest.iter_mut().find(|(r, _)| *r == rest) {
            Some((_, firsts)) => firsts.push(group[0][0]),
            None => by_rest.push((rest, vec![group[0][0]])),
        }
    }
    let mut all = Vec::new();
    for (rest, firsts) in by_rest {
        for mut product in products(&rest) {
            product.insert(0, firsts.clone());
            all.push(product);
        }
    }
    all
}

/// Sorted numbers as text: one bare, several in braces.
fn ranges(numbers: &[u32]) -> String {
    if let [one] = numbers {
        return one.to_string();
    }
    let mut text = String::from("{");
    for run in numbers.chunk_by(|a, b| a + 1 == *b) {
        let comma = if text.len() > 1 { ", " } else { "" };
        // Writing to a string cannot fail.
        let _ = match run {
            [one] => write!(text, "{comma}{one}"),
            [first, second] => write!(text, "{comma}{first}, {second}"),
            _ => write!(text, "{comma}{}..={}", run[0], run[run.len() - 1]),
        };
    }
    text + "}"
}

fn parse_set(set: &str) -> Option<Vec<u32>> {
    let mut numbers = Vec::new();
    for part in set.split(',').map(str::trim) {
        let (first, last) = match part.split_once("..=") {
            Some((first, last)) => (number(first.trim())?, number(last.trim())?),
            None => (number(part)?, number(part)?),
        };
        if first > last || (last - first) as usize >= MOST {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folded: &[Folded]) -> Vec<&str> {
        folded.iter().map(|f| f.name.as_str()).collect()
    }

    #[test]
    fn layers_and_experts_fold_and_unfold() {
        let mut all: Vec<String> = (0..12).map(|l| format!("m.{l}.norm")).collect();
        all.extend((0..12).flat_map(|l| (0..8).map(move |e| format!("m.{l}.experts.{e}.w"))));
        all.push("head".into());
        let folded = fold(all.iter().map(String::as_str));
        assert_eq!(names(&folded), ["head", "m.{0..=11}.experts.{0..=7}.w", "m.{0..=11}.norm"]);
        assert_eq!(folded[1].count, 96);
        let mut back: Vec<String> = folded.iter().flat_map(|f| unfold(&f.name).expect("folded")).collect();
        back.sort();
        all.sort();
        assert_eq!(back, all);
    }

    #[test]
    fn sets_with_holes_and_ragged_ones() {
        assert_eq!(names(&fold(["a.0", "a.1", "a.3", "a.7", "a.8", "a.9"])), ["a.{0, 1, 3, 7..=9}"]);
        assert_eq!(names(&fold(["a.0.0", "a.0.1", "a.1.0", "a.2.0", "a.2.1"])), ["a.{0, 2}.{0, 1}", "a.1.0"]);
        assert_eq!(names(&fold(["a.1", "a.01", "0", "a..1", "a..2", ""])), ["0", "", "a.1", "a..{1, 2}", "a.01"]);
    }

    #[test]
    fn what_is_not_a_set_is_said() {
        for bad in ["a.{0..=", "a.{x}", "a.{3..=1}", "a.{}", "a.{0..=99999}.{0..=99999}"] {
            assert!(unfold(bad).is_err(), "{bad}");
        }
    }
}
