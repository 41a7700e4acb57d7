//! The path of lets, calls and arms around, which names the decisions and parameters in them.
//!
//! Invariant: the text has a dot behind each segment. A segment may have dots of its own, in its keys.

/// A path, as one text.
#[derive(Clone, Debug, Default)]
pub(super) struct Path {
    text: String,
    /// Where each segment ends, its dot counted.
    ends: Vec<usize>,
}

impl Path {
    /// Goes into what is called so.
    pub fn push(&mut self, segment: &str) {
        self.push_with(segment, &[]);
    }

    /// Goes into what is called so and has these keys.
    pub fn push_with(&mut self, name: &str, keys: &[String]) {
        push_with_keys(&mut self.text, name, keys);
        self.text.push('.');
        self.ends.push(self.text.len());
    }

    /// Comes out of what was pushed last.
    pub fn pop(&mut self) {
        self.ends.pop();
        self.text.truncate(self.ends.last().copied().unwrap_or(0));
    }

    /// The segments, a dot behind each.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The segments, outermost first, without dots.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.text[start..*end - 1])
    }
}

/// Puts a name behind a text, with its keys: `method[2, mlp]`.
pub(super) fn push_with_keys(text: &mut String, name: &str, keys: &[String]) {
    text.push_str(name);
    for (i, key) in keys.iter().enumerate() {
        text.push_str(if i == 0 { "[" } else { ", " });
        text.push_str(key);
    }
    if !keys.is_empty() {
        text.push(']');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_come_back_as_they_went_in() {
        let mut path = Path::default();
        path.push("net");
        path.push_with("y", &["0".into(), "a.b".into()]);
        assert_eq!((path.text(), path.segments().collect::<Vec<_>>()), ("net.y[0, a.b].", vec!["net", "y[0, a.b]"]));
        path.pop();
        path.push("z");
        assert_eq!(path.text(), "net.z.");
        path.pop();
        path.pop();
        assert_eq!((path.text(), path.segments().count()), ("", 0));
    }
}
