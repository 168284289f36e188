//! A target's `request_schema`: a JSON Schema, compiled once.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use jsonschema::{PatternOptions, Validator};

use super::bounds;
use super::item::Item;

/// What the bodies of a target's requests must be like. Cheap to clone.
#[derive(Clone)]
pub struct Schema {
    file: PathBuf,
    text: Arc<str>,
    validator: Arc<Validator>,
}

/// Where a body does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// A JSON Pointer into the body.
    pub pointer: String,
    /// Shows nothing of the body.
    pub message: String,
}

impl Schema {
    /// Of one body; a body that fits nowhere need not say so more often.
    const MISFITS: usize = 20;
    /// Of one message, in characters.
    const MESSAGE: usize = 300;

    /// # Errors
    /// The place in the schema, and what is wrong there.
    fn compile(file: PathBuf, text: &str) -> Result<Schema, String> {
        let schema = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
        // Nothing is fetched, and no pattern takes more than linear time (so there is no look-around).
        let options = jsonschema::options().offline().with_pattern_options(PatternOptions::regex());
        let validator = options.build(&schema).map_err(|error| {
            let pointer = error.instance_path().to_string();
            let at = if pointer.is_empty() { String::new() } else { format!("{pointer}: ") };
            format!("{at}{error}")
        })?;
        Ok(Schema { file, text: text.into(), validator: Arc::new(validator) })
    }

    /// All that does not fit, up to a bound.
    pub fn misfits(&self, body: &[u8]) -> Vec<Misfit> {
        let body: serde_json::Value = match serde_json::from_slice(body) {
            Ok(body) => body,
            Err(error) => {
                let message = format!("not JSON: {error}");
                return vec![Misfit { pointer: String::new(), message }];
            }
        };
        if self.validator.is_valid(&body) {
            return Vec::new();
        }
        let misfit = |error: jsonschema::ValidationError<'_>| Misfit {
            pointer: error.instance_path().to_string(),
            message: error
                .masked_with("the value")
                .to_string()
                .chars()
                .take(Schema::MESSAGE)
                .collect(),
        };
        self.validator.iter_errors(&body).take(Schema::MISFITS).map(misfit).collect()
    }
}

/// The same file with the same text.
impl PartialEq for Schema {
    fn eq(&self, other: &Schema) -> bool {
        self.file == other.file && self.text == other.text
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Schema").field(&self.file).finish()
    }
}

pub(super) fn schema(item: &Item<'_>) -> Result<Schema, String> {
    let path = item.text("the path of a JSON Schema, in quotes")?;
    let text = item.secret_file(bounds::SCHEMA)?;
    Schema::compile(PathBuf::from(&path.value), &text)
        .map_err(|why| format!("{path} is no JSON Schema that can be used: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(text: &str) -> Result<Schema, String> {
        Schema::compile("order.json".into(), text)
    }

    #[test]
    fn misfits_are_named_by_their_place_and_show_nothing() {
        let schema = compile(
            r#"{"type":"object","required":["sku"],"additionalProperties":false,
                "properties":{"sku":{"type":"string","pattern":"^[A-Z]-\\d+$"},
                              "lines":{"type":"array","items":{"type":"integer","minimum":1}}}}"#,
        )
        .unwrap();
        let of = |body: &str| schema.misfits(body.as_bytes());
        assert_eq!(of(r#"{"sku":"A-1","lines":[1,2]}"#), []);
        let pointers = |body: &str| of(body).into_iter().map(|m| m.pointer).collect::<Vec<_>>();
        assert_eq!(
            pointers(r#"{"sku":"hush","lines":[1,0,"x"]}"#),
            ["/lines/1", "/lines/2", "/sku"]
        );
        assert_eq!(pointers("[]"), [""]);
        assert_eq!(pointers("{\"sku\":"), [""]);
        assert!(!format!("{:?}", of(r#"{"sku":"hush"}"#)).contains("hush"));
        let many = format!(r#"{{"sku":"A-1","lines":[{}0]}}"#, "0,".repeat(500));
        assert_eq!(of(&many).len(), Schema::MISFITS);
    }

    #[test]
    fn a_bad_schema_is_told_with_its_place() {
        let why = compile(r#"{"properties":{"a":{"type":"strin"}}}"#).unwrap_err();
        assert!(why.contains("/properties/a/type"), "{why}");
        assert!(compile("{").unwrap_err().starts_with("not JSON"));
        for elsewhere in ["https://example.org/x.json", "file:///etc/passwd"] {
            let why = compile(&format!(r#"{{"$ref":"{elsewhere}"}}"#)).unwrap_err();
            assert!(why.contains(elsewhere), "{why}");
        }
        // It could take for ever.
        assert!(compile(r#"{"pattern":"(a+)+(?=b)"}"#).is_err());
    }
}
