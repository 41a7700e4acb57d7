//! Edits of JSON text that leave all other bytes as they are.
//!
//! A `config.json` is read by people and compared by tools, so a changed key replaces its value's text
//! alone: order, spacing and the way numbers are written stay. `serde_json` decides what is valid; the
//! scanner here only finds places in text that has passed it.

use serde_json::Value;
use std::ops::Range;

/// JSON text whose outermost value is an object.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    text: String,
}

impl Document {
    /// Checks that the text is a JSON object.
    pub fn new(text: String) -> Result<Document, String> {
        match serde_json::from_str::<Value>(&text) {
            Ok(Value::Object(_)) => Ok(Document { text }),
            Ok(_) => Err("it is not a JSON object".into()),
            Err(e) => Err(format!("it is not valid JSON: {e}")),
        }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// The value at a path of keys.
    pub fn get(&self, path: &[&str]) -> Option<Value> {
        serde_json::from_str(&self.text[self.find(path)?]).ok()
    }

    /// Sets the value at a path of keys, all but the last of which must exist; other values stay as they are.
    /// Gives whether the text changed: an equal value does not change it.
    pub fn set(&mut self, path: &[&str], json: &str) -> bool {
        let Some((key, parents)) = path.split_last() else { return false };
        if let Some(place) = self.find(path) {
            let same = serde_json::from_str::<Value>(json).is_ok_and(|new| self.get(path) == Some(new));
            if !same {
                self.text.replace_range(place, json);
            }
            return !same;
        }
        let Some(object) = self.find(parents) else { return false };
        if !self.text[object.clone()].starts_with('{') {
            return false;
        }
        let entry = format!("{}: {json}", Value::from(*key));
        match members(&self.text, object.start).last() {
            // The new entry is spaced from the last one as that one is from what stands before it.
            Some((start, _, value)) => {
                let before = self.text[..*start].rfind(['{', ',']).map_or(*start, |at| at + 1);
                let space = self.text[before..*start].to_owned();
                self.text.insert_str(value.end, &format!(",{space}{entry}"));
            }
            None => self.text.replace_range(object, &format!("{{\n  {entry}\n}}")),
        }
        true
    }

    /// Keys and values of the object at a path.
    pub fn entries(&self, path: &[&str]) -> Vec<(String, Value)> {
        let Some(object) = self.find(path) else { return Vec::new() };
        if !self.text[object.clone()].starts_with('{') {
            return Vec::new();
        }
        let all = members(&self.text, object.start).into_iter();
        all.filter_map(|(_, key, value)| Some((key, serde_json::from_str(&self.text[value]).ok()?))).collect()
    }

    /// Where the value at a path stands. Of equal keys the last counts, as in Python.
    fn find(&self, path: &[&str]) -> Option<Range<usize>> {
        let start = skip_space(&self.text, 0);
        let mut place = start..skip_value(&self.text, start);
        for key in path {
            if !self.text[place.clone()].starts_with('{') {
                return None;
            }
            place = members(&self.text, place.start).into_iter().rfind(|m| m.1 == *key)?.2;
        }
        Some(place)
    }
}

/// Start of the key, key and place of the value of each member of the object that starts at `open`.
fn members(text: &str, open: usize) -> Vec<(usize, String, Range<usize>)> {
    let mut all = Vec::new();
    let mut at = skip_space(text, open + 1);
    while text.as_bytes().get(at) == Some(&b'"') {
        let key = at..skip_value(text, at);
        let value = skip_space(text, skip_space(text, key.end) + 1);
        let end = skip_value(text, value);
        all.push((key.start, serde_json::from_str(&text[key]).unwrap_or_default(), value..end));
        at = skip_space(text, end);
        if text.as_bytes().get(at) == Some(&b',') {
            at = skip_space(text, at + 1);
        }
    }
    all
}

fn skip_space(text: &str, at: usize) -> usize {
    text.len() - text[at..].trim_start_matches([' ', '\t', '\n', '\r']).len()
}

/// The end of the value that starts at `at`.
fn skip_value(text: &str, at: usize) -> usize {
    let bytes = text.as_bytes();
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    for (i, &b) in bytes.iter().enumerate().skip(at) {
        if quoted {
            (quoted, escaped) = (escaped || b != b'"', !escaped && b == b'\\');
            if !quoted && depth == 0 {
                return i + 1;
            }
            continue;
        }
        match b {
            b'"' => quoted = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return i,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return i + 1;
                }
            }
            b',' | b' ' | b'\t' | b'\n' | b'\r' if depth == 0 => return i,
            _ => {}
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "{\n  \"a\": 1e-05,\n  \"b\": {\"x\": [1, 2], \"y\": \"q\\\"}\"},\n  \"num\": 32\n}\n";

    fn edited(text: &str, path: &[&str], json: &str) -> String {
        let mut document = Document::new(text.into()).expect("an object");
        document.set(path, json);
        serde_json::from_str::<Value>(document.text()).expect("still JSON");
        document.text
    }

    #[test]
    fn a_change_touches_one_value_and_an_equal_value_nothing() {
        assert_eq!(edited(TEXT, &["num"], "24"), TEXT.replace("32", "24"));
        assert_eq!(edited(TEXT, &["b", "x"], "[]"), TEXT.replace("[1, 2]", "[]"));
        assert_eq!(edited(TEXT, &["b", "y"], "null"), TEXT.replace("\"q\\\"}\"", "null"));
        assert_eq!(edited(TEXT, &["b", "x"], "[1,2]"), TEXT);
        assert_eq!(edited(TEXT, &["a"], "0.00001"), TEXT);
        assert_eq!(edited("{\"a\":1}", &["a"], "2"), "{\"a\":2}");
    }

    #[test]
    fn a_new_key_goes_last_and_is_spaced_like_its_neighbour() {
        assert_eq!(edited(TEXT, &["new"], "true"), TEXT.replace("32\n", "32,\n  \"new\": true\n"));
        assert_eq!(edited(TEXT, &["b", "z"], "1"), TEXT.replace("\"q\\\"}\"}", "\"q\\\"}\", \"z\": 1}"));
        assert_eq!(edited("{}", &["a"], "1"), "{\n  \"a\": 1\n}");
        assert_eq!(edited(TEXT, &["none", "z"], "1"), TEXT, "a parent that is not there stays away");
    }

    #[test]
    fn values_are_found_and_bad_text_is_refused() {
        let document = Document::new(TEXT.into()).expect("an object");
        assert_eq!(document.get(&["b", "x"]), Some(serde_json::json!([1, 2])));
        assert_eq!(document.get(&["b", "y"]), Some("q\"}".into()));
        assert_eq!(document.get(&["a", "x"]), None);
        assert_eq!(document.entries(&[]).len(), 3);
        assert!(Document::new("[]".into()).is_err() && Document::new("{".into()).is_err());
        let twice = Document::new("{\"a\":1,\"a\":2}".into()).expect("Python takes it");
        assert_eq!(twice.get(&["a"]), Some(2.into()));
    }
}
