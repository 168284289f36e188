//! Taking a batch apart, so that one bad entry does no harm to the others.

use http::HeaderValue;
use serde_json::value::RawValue;

use crate::http_api::new_job::malformed;
use crate::http_api::problem::{Kind, Problem};

const MOST_JOBS: usize = 1000;

/// Whether the content type is that of one JSON text a line.
pub(super) fn says_lines(content_type: Option<&HeaderValue>) -> bool {
    let text = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(essence.as_str(), "application/x-ndjson" | "application/ndjson" | "application/jsonl")
}

/// The entries as they came, each perhaps bad. Without `lines` the first byte decides.
pub(in crate::sources) fn split(body: &[u8], lines: bool) -> Result<Vec<&[u8]>, Problem> {
    let is_array = !lines && body.trim_ascii_start().first() == Some(&b'[');
    let entries: Vec<&[u8]> = if is_array {
        let entries: Vec<&RawValue> =
            serde_json::from_slice(body).map_err(|error| malformed(&error))?;
        entries.into_iter().map(|entry| entry.get().as_bytes()).collect()
    } else {
        body.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).filter(|l| !l.is_empty()).collect()
    };
    if entries.len() > MOST_JOBS {
        let detail = format!("{} jobs in one batch; at most {MOST_JOBS} go", entries.len());
        return Err(Problem::new(Kind::Invalid, detail));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_and_lines_are_taken_apart_alike() {
        let array = split(b" [ {\"a\":1} , 2, {} ]\n", false).unwrap();
        assert_eq!(array, [&b"{\"a\":1}"[..], b"2", b"{}"]);
        let lines = split(b"{\"a\":1}\r\n\n 2\n{}", false).unwrap();
        assert_eq!(lines, array);
        assert_eq!(split(b"[1]\n[2]", true).unwrap(), [&b"[1]"[..], b"[2]"]);
        assert!(split(b"", false).unwrap().is_empty());
        assert!(split(b"[]", false).unwrap().is_empty());
    }

    #[test]
    fn a_broken_array_and_too_many_are_problems() {
        let problem = split(b"[{}, oops]", false).unwrap_err();
        assert_eq!(problem.kind(), Kind::Malformed);
        assert!(problem.detail().contains("line 1 column 6"), "{}", problem.detail());
        let lines = "{}\n".repeat(MOST_JOBS);
        assert_eq!(split(lines.as_bytes(), false).unwrap().len(), MOST_JOBS);
        let problem = split(format!("{lines}{{}}").as_bytes(), false).unwrap_err();
        assert_eq!(problem.kind(), Kind::Invalid);
    }

    #[test]
    fn content_types_of_lines() {
        let says = |text| says_lines(Some(&HeaderValue::from_static(text)));
        assert!(says("application/x-ndjson; charset=utf-8") && says("Application/NDJSON"));
        assert!(!says("application/json") && !says_lines(None));
    }
}
