//! Names in what people wrote: the nearest one that exists, and a safe way to show one.

/// The name most like `wrong`, if one is like it at all.
pub(crate) fn nearest<'a>(
    wrong: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // Comparing costs the product of both lengths, and nobody means a name by a page of text.
    if wrong.len() > 128 {
        return None;
    }
    let wrong = wrong.to_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::normalized_damerau_levenshtein(&wrong, &name.to_lowercase()), name))
        .filter(|(likeness, _)| *likeness >= 0.6)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name)
}

/// As much of `text` as fits into a message, without control characters.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 64;
    let mut shown: String = text.chars().take(MOST).flat_map(char::escape_debug).collect();
    if text.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_name_and_nonsense_finds_none() {
        let known = ["target", "priority", "max_attempts", "deadline"];
        assert_eq!(nearest("priorty", known), Some("priority"));
        assert_eq!(nearest("Max-Attempts", known), Some("max_attempts"));
        assert_eq!(nearest("epr", ["erp", "crm"]), Some("erp"));
        assert_eq!(nearest("zzz", known), None);
        assert_eq!(nearest(&"target".repeat(100), known), None);
    }

    #[test]
    fn what_is_shown_is_short_and_clean() {
        assert_eq!(shown("a\r\nb"), "a\\r\\nb");
        assert_eq!(shown(&"x".repeat(65)).chars().count(), 65);
    }
}
