//! A path with places for what a job brings: `/orders/{idempotency_key}`, `/a?id={body:/order/id}`.

use std::fmt;

/// A JSON Pointer (RFC 6901), taken apart.
#[derive(Clone, PartialEq, Eq)]
pub struct Pointer {
    tokens: Vec<String>,
    text: String,
}

impl Pointer {
    /// # Errors
    /// Why `text` is no pointer.
    pub fn parse(text: &str) -> Result<Pointer, &'static str> {
        const ESCAPE: &str = "~ must be followed by 0 or 1 in a JSON Pointer (RFC 6901)";
        let mut tokens = Vec::new();
        if !text.is_empty() {
            let rest = text.strip_prefix('/').ok_or("a JSON Pointer begins with / (RFC 6901)")?;
            for token in rest.split('/') {
                let escaped = token.split('~').skip(1);
                if escaped.clone().any(|after| !after.starts_with(['0', '1'])) {
                    return Err(ESCAPE);
                }
                tokens.push(token.replace("~1", "/").replace("~0", "~"));
            }
        }
        Ok(Pointer { tokens, text: text.to_owned() })
    }

    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.tokens.iter().map(String::as_str)
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Literal(String),
    /// What is sent as `Idempotency-Key`.
    IdempotencyKey,
    JobId,
    /// A value of the request's body.
    Body(Pointer),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

impl Template {
    /// # Errors
    /// Why `text` is none, for people.
    pub fn parse(text: &str) -> Result<Template, String> {
        const PLACES: &str = "{idempotency_key}, {job_id}, or a JSON Pointer into the request's \
                              body, like {body:/order/id}";
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let (before, after) = (&rest[..open], &rest[open + 1..]);
            let (name, after) = after
                .split_once('}')
                .ok_or("it has a { without a }; %7B stands for a literal {")?;
            if !before.is_empty() {
                parts.push(Part::Literal(before.to_owned()));
            }
            parts.push(match name.split_once(':') {
                None if name == "idempotency_key" => Part::IdempotencyKey,
                None if name == "job_id" => Part::JobId,
                Some(("body", pointer)) => {
                    Part::Body(Pointer::parse(pointer).map_err(|why| format!("{{{name}}}: {why}"))?)
                }
                _ => return Err(format!("there is no place {{{name}}}; there are {PLACES}")),
            });
            rest = after;
        }
        if rest.contains('}') {
            return Err("it has a } without a {; %7D stands for a literal }".to_owned());
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Template(parts))
    }

    pub fn parts(&self) -> &[Part] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_taken_apart() {
        let literal = |text: &str| Part::Literal(text.to_owned());
        let pointer = Pointer::parse("/order/a~1b~0c").unwrap();
        assert_eq!(pointer.tokens().collect::<Vec<_>>(), ["order", "a/b~c"]);
        assert_eq!(
            Template::parse("/o/{job_id}/{idempotency_key}?x={body:/order/a~1b~0c}&y=1").unwrap().0,
            [
                literal("/o/"),
                Part::JobId,
                literal("/"),
                Part::IdempotencyKey,
                literal("?x="),
                Part::Body(pointer),
                literal("&y=1"),
            ]
        );
        assert_eq!(Template::parse("/plain").unwrap().0, [literal("/plain")]);
    }

    #[test]
    fn what_is_no_template_is_told() {
        for (text, why) in [
            ("/{job}", "there is no place {job}"),
            ("/{body:order}", "begins with /"),
            ("/{body:/a~2}", "must be followed by 0 or 1"),
            ("/{job_id", "without a }"),
            ("/job_id}", "without a {"),
        ] {
            let error = Template::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
