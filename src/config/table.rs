//! Reads a TOML table key by key, remembers which keys were asked for, and reports the others. So
//! a new key is one line where it is read, and no key is ever ignored in silence.

use std::cell::RefCell;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::item::{Item, kind, quoted, shortened};
use super::source::Source;
use super::vocabulary;

/// What all readers of one file share.
pub(super) struct Context<'a> {
    pub(super) source: Source<'a>,
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    pub(super) errors: RefCell<Vec<ConfigError>>,
}

impl Context<'_> {
    pub(super) fn report(&self, at: usize, key: String, message: String) {
        self.errors.borrow_mut().push(self.source.error(at, key, message));
    }
}

/// One of what [`Table::cases`] finds.
pub(super) enum Case<'a> {
    Plain(Item<'a>),
    Table(Table<'a>),
}

/// A table of the file, or one that is not there: all its keys have their defaults then.
pub(super) struct Table<'a> {
    context: &'a Context<'a>,
    path: String,
    entries: Option<&'a DeTable<'a>>,
    /// Where to say that something is missing.
    at: usize,
    /// Something else stands where a table is expected, so nothing more is said about its keys.
    broken: bool,
    asked: RefCell<Vec<&'static str>>,
    faulty: RefCell<Vec<String>>,
}

impl<'a> Table<'a> {
    pub(super) fn root(context: &'a Context<'a>, entries: &'a DeTable<'a>) -> Table<'a> {
        Table {
            context,
            path: String::new(),
            entries: Some(entries),
            at: 0,
            broken: false,
            asked: RefCell::default(),
            faulty: RefCell::default(),
        }
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// `None` where the key is not set, or is wrong, which is reported.
    pub(super) fn get<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Item<'_>) -> Result<T, String>,
    ) -> Option<T> {
        self.asked.borrow_mut().push(key);
        let value = self.value(key)?;
        let item = Item { context: self.context, value: value.get_ref() };
        match read(&item) {
            Ok(read) => Some(read),
            Err(message) => {
                self.fault(value.span().start, key, message);
                None
            }
        }
    }

    pub(super) fn get_or<T>(
        &self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&Item<'_>) -> Result<T, String>,
    ) -> T {
        self.get(key, read).unwrap_or(default)
    }

    /// As [`Table::get`], but reports a key that is not set; `example` shows how to set it.
    pub(super) fn need<T>(
        &self,
        key: &'static str,
        example: &str,
        read: impl FnOnce(&Item<'_>) -> Result<T, String>,
    ) -> Option<T> {
        if !self.is_set(key) && !self.broken {
            self.fault(self.at, key, format!("missing, and it has no default; add {example}"));
        }
        self.get(key, read)
    }

    /// A table within this one.
    pub(super) fn table(&self, key: &'static str) -> Table<'a> {
        self.asked.borrow_mut().push(key);
        self.inner(key, self.value(key))
    }

    /// The keys of a table within this one, right or wrong as its values may be.
    pub(super) fn table_names(&self, key: &str) -> Vec<&'a str> {
        let Some(DeValue::Table(entries)) = self.value(key).map(Spanned::get_ref) else {
            return Vec::new();
        };
        entries.keys().map(|name| name.get_ref().as_ref()).collect()
    }

    /// The tables of an array, `[[key]]`, each under the array's own name.
    pub(super) fn array(&self, key: &'static str) -> Vec<Table<'a>> {
        self.asked.borrow_mut().push(key);
        let Some(value) = self.value(key) else { return Vec::new() };
        let path = join(&self.path, key);
        let DeValue::Array(elements) = value.get_ref() else {
            let found = kind(value.get_ref());
            let message = format!("expected [[{path}]], in double brackets; found {found}");
            self.fault(value.span().start, key, message);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for element in elements {
            let DeValue::Table(entries) = element.get_ref() else {
                let found = kind(element.get_ref());
                self.fault(element.span().start, key, format!("expected tables; found {found}"));
                continue;
            };
            tables.push(Table {
                context: self.context,
                path: path.clone(),
                entries: Some(entries),
                at: element.span().start,
                broken: false,
                asked: RefCell::default(),
                faulty: RefCell::default(),
            });
        }
        tables
    }

    /// What stands under a key that takes a value, a table, or an array of those.
    pub(super) fn cases(&self, key: &'static str) -> Vec<Case<'a>> {
        match self.value(key).map(Spanned::get_ref) {
            Some(DeValue::Array(elements)) => {
                self.asked.borrow_mut().push(key);
                elements.iter().map(|one| self.case_of(key, one)).collect()
            }
            _ => self.case(key).into_iter().collect(),
        }
    }

    /// What stands under a key that takes a value or a table.
    pub(super) fn case(&self, key: &'static str) -> Option<Case<'a>> {
        self.asked.borrow_mut().push(key);
        Some(self.case_of(key, self.value(key)?))
    }

    fn case_of(&self, key: &'static str, value: &'a Spanned<DeValue<'a>>) -> Case<'a> {
        match value.get_ref() {
            DeValue::Table(_) => Case::Table(self.inner(key, Some(value))),
            _ => Case::Plain(self.item(value)),
        }
    }

    /// The tables within this one, where their names are the user's to choose.
    pub(super) fn tables(&self) -> impl Iterator<Item = (&'a str, Table<'a>)> {
        self.entries().map(|(name, value)| (name, self.inner(name, Some(value))))
    }

    /// Every key with its value, where keys are the user's to choose.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, &'a Spanned<DeValue<'a>>)> {
        let entries = self.entries.into_iter().flat_map(|entries| entries.iter());
        entries.map(|(key, value)| (key.get_ref().as_ref(), value))
    }

    pub(super) fn item(&self, value: &'a Spanned<DeValue<'a>>) -> Item<'a> {
        Item { context: self.context, value: value.get_ref() }
    }

    pub(super) fn is_set(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.broken && self.entries.is_none_or(DeTable::is_empty)
    }

    /// The key is as it should be, or not set.
    pub(super) fn is_good(&self, key: &str) -> bool {
        !self.broken && !self.faulty.borrow().iter().any(|faulty| faulty == key)
    }

    /// Reports at the key's value, or where the table begins if the key is not set.
    pub(super) fn report(&self, key: &str, message: String) {
        let at = self.value(key).map_or(self.at, |value| value.span().start);
        self.fault(at, key, message);
    }

    /// Reports at the key itself, for keys that are the user's to choose.
    pub(super) fn report_name(&self, key: &str, message: String) {
        let entries = self.entries.and_then(|entries| entries.get_key_value(key));
        let at = entries.map_or(self.at, |(key, _)| key.span().start);
        self.fault(at, key, message);
    }

    /// Reports at the table's own beginning and under its own name.
    pub(super) fn report_self(&self, message: String) {
        self.context.report(self.at, self.path.clone(), message);
    }

    /// The byte at which the key's value stands.
    pub(super) fn place(&self, key: &str) -> Option<usize> {
        self.value(key).map(|value| value.span().start)
    }

    /// Reports the keys that nobody asked for. `later` are those that a later version knows.
    pub(super) fn finish(&self, later: &[&'static str]) {
        let asked = self.asked.borrow();
        for (key, value) in self.entries.into_iter().flat_map(|entries| entries.iter()) {
            let name = key.get_ref().as_ref();
            if asked.contains(&name) {
                continue;
            }
            let message = if later.contains(&name) {
                format!("{}, and nothing would obey it; remove it", not_yet("this"))
            } else if self.path.is_empty() && value.get_ref().get("url").is_some() {
                format!("unknown key; did you mean [{}]?", join("targets", name))
            } else {
                unknown(&self.path, name, &asked, later)
            };
            self.fault(key.span().start, name, message);
        }
    }

    fn value(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.entries.and_then(|entries| entries.get(key))
    }

    fn inner(&self, key: &str, value: Option<&'a Spanned<DeValue<'a>>>) -> Table<'a> {
        let path = join(&self.path, key);
        let entries = match value.map(Spanned::get_ref) {
            None => None,
            Some(DeValue::Table(entries)) => Some(entries),
            Some(other) => {
                let mut message = format!("expected a table, [{path}]; found {}", kind(other));
                if matches!(other, DeValue::Array(_)) {
                    message.push_str("; a table has single brackets");
                }
                let at = value.map_or(self.at, |value| value.span().start);
                self.fault(at, key, message);
                None
            }
        };
        Table {
            context: self.context,
            path,
            entries,
            at: value.map_or(self.at, |value| value.span().start),
            broken: self.broken || (value.is_some() && entries.is_none()),
            asked: RefCell::default(),
            faulty: RefCell::default(),
        }
    }

    fn fault(&self, at: usize, key: &str, message: String) {
        self.faulty.borrow_mut().push(key.to_owned());
        self.context.report(at, join(&self.path, key), message);
    }
}

/// `what` has its name already, but comes with a later version.
pub(super) fn not_yet(what: &str) -> String {
    format!("tollgate {} does not support {what} yet", env!("CARGO_PKG_VERSION"))
}

/// `path.key`, with quotes where TOML needs them and control characters made visible.
pub(super) fn join(path: &str, key: &str) -> String {
    let bare =
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let mut joined = String::from(path);
    if !path.is_empty() {
        joined.push('.');
    }
    if bare {
        joined.push_str(&shortened(key));
    } else {
        joined.push_str(&quoted(key));
    }
    joined
}

/// `asked` and `later`: the keys that this table can have.
fn unknown(path: &str, key: &str, asked: &[&'static str], later: &[&'static str]) -> String {
    // A key that is right elsewhere is a sign of the wrong table, not of a typing error.
    if let Some(home) = vocabulary::home_of(key, path) {
        return format!("unknown key; it belongs in [{home}]");
    }
    if let Some(near) = nearest(key, asked) {
        return format!("unknown key; did you mean {near}?");
    }
    if let Some(near) = nearest(key, later) {
        return format!("unknown key; did you mean {near}? But {}", not_yet("that"));
    }
    let elsewhere = nearest(key, vocabulary::ALL.iter().flat_map(|words| words.all()))
        .and_then(|near| Some((near, vocabulary::home_of(near, path)?)));
    if let Some((near, home)) = elsewhere {
        return format!("unknown key; did you mean {near}, in [{home}]?");
    }
    format!("unknown key; known here: {}", asked.join(", "))
}

/// The known word that was probably meant.
pub(super) fn nearest<'w>(
    word: &str,
    known: impl IntoIterator<Item = &'w &'static str>,
) -> Option<&'static str> {
    // `maxBody`, `max-body` and `MAX_BODY` are all `max_body`.
    let plain = |text: &str| text.replace(['-', '_', ' '], "").to_lowercase();
    let word = plain(word);
    let allowed = 1 + word.len() / 4;
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&word, &plain(known)), *known))
        .filter(|(distance, known)| *distance <= allowed && *distance < known.len())
        .min()
        .map(|(_, known)| known)
}
