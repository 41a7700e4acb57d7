//! "Did you mean": the names closest to a misspelt one.

/// The candidate closest to `name`, if it is close enough to be what was meant: at most a third of the
/// characters differ, and of a single character only its case. Among equals the first in candidate order wins.
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = match name.chars().count() {
        1 => 0,
        n => n.max(3) / 3,
    };
    candidates
        .into_iter()
        .map(|c| (strsim::damerau_levenshtein(&name.to_lowercase(), &c.to_lowercase()), c))
        .filter(|(d, _)| *d <= limit)
        .min_by_key(|(d, _)| *d)
        .map(|(_, c)| c)
}

/// Names as prose: `` `a`, `b` and 30 more ``. At most `most` are spelt out.
pub fn list_names<S: AsRef<str>>(names: &[S], most: usize) -> String {
    let shown: Vec<String> = names.iter().take(most).map(|n| format!("`{}`", n.as_ref())).collect();
    match names.len().saturating_sub(most) {
        0 if shown.len() <= 1 => shown.concat(),
        0 => format!("{} and {}", shown[..shown.len() - 1].join(", "), shown[shown.len() - 1]),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_name_is_offered_and_a_far_one_is_not() {
        assert_eq!(did_you_mean("slepr", ["ties", "slerp"]), Some("slerp"));
        assert_eq!(did_you_mean("Ties", ["ties"]), Some("ties"));
        assert_eq!(did_you_mean("fisher", ["ties", "slerp"]), None);
        assert_eq!(did_you_mean("x", ["y", "X"]), Some("X"));
        assert_eq!(did_you_mean("x", ["y"]), None);
    }

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(list_names(&["a"], 2), "`a`");
        assert_eq!(list_names(&["a", "b"], 2), "`a` and `b`");
        assert_eq!(list_names(&["a", "b", "c", "d"], 2), "`a`, `b` and 2 more");
    }
}
