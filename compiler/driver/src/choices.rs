//! Files of answers: one JSON object, decision → value.

use merge_runtime::Error;
use merge_sema::space::normalised;
use serde_json::Value as Json;
use std::path::Path;

/// The answers in a file, as `--set` would give them.
///
/// # Errors
/// The file cannot be read, or is no object of decisions and values.
pub fn read_choices(path: &Path) -> Result<Vec<(String, String)>, Error> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::world(format!("cannot read `{}`: {e}", path.display())))?;
    parse_choices(&text).map_err(|fault| {
        Error::usage(format!("`{}` is no file of choices: {fault}", path.display()))
            .with_help("it is a JSON object of decisions and their values: { \"candidate.w[0]\": 0.5, \"method\": \"ties\" }")
    })
}

/// The answers in a text.
///
/// # Errors
/// A sentence: what keeps it from being a file of choices.
pub fn parse_choices(text: &str) -> Result<Vec<(String, String)>, String> {
    let json: Json = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let Json::Object(entries) = json else { return Err("it is not an object".to_owned()) };
    entries
        .iter()
        .map(|(id, value)| match text_of(value) {
            Some(text) => Ok((id.clone(), text)),
            None => Err(format!("the value of `{id}` is neither a number, a string, a truth value nor a list of these")),
        })
        .collect()
}

/// That no decision is answered twice by `--set`: one of the two would be passed over.
///
/// # Errors
/// Of the usage: which is.
pub fn refuse_two_answers(set: &[(String, String)]) -> Result<(), Error> {
    for (i, (id, second)) in set.iter().enumerate() {
        if let Some((_, first)) = set[..i].iter().find(|(other, _)| normalised(other) == normalised(id)) {
            return Err(Error::usage(format!("`--set` answers `{id}` twice: `{first}` and `{second}`"))
                .with_help("leave one of them out; an answer of `--set` goes before that of a file behind `--with`"));
        }
    }
    Ok(())
}

fn text_of(value: &Json) -> Option<String> {
    match value {
        Json::Bool(b) => Some(b.to_string()),
        Json::Number(n) => Some(n.to_string()),
        Json::String(s) => Some(s.clone()),
        Json::Array(parts) => {
            let parts: Option<Vec<String>> = parts.iter().map(text_of).collect();
            Some(format!("[{}]", parts?.join(", ")))
        }
        Json::Null | Json::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_what_set_takes() {
        let text = r#"{ "a": 1, "b[2, mlp]": "ties", "c": [0.25, 0.75], "d": true, "e": ["x", "(1, 2)"] }"#;
        let found = parse_choices(text).unwrap();
        let expected = [("a", "1"), ("b[2, mlp]", "ties"), ("c", "[0.25, 0.75]"), ("d", "true"), ("e", "[x, (1, 2)]")];
        assert_eq!(found, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert!(parse_choices("[1]").is_err() && parse_choices("{").is_err() && parse_choices(r#"{"a": {}}"#).is_err());
    }
}
