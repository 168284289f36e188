//! Where hostile bytes come in: one function for each door, with what must hold behind it.
//!
//! For the fuzzer in `fuzz/`, and for `tests/fuzz`, which goes through its corpus with every test
//! run. Nothing else calls it, and a release carries none of it. A function returns where all is
//! well, refusals included, and panics where it is not.

use std::path::Path;
use std::sync::Arc;

use crate::broker::job::TargetId;
use crate::config::{self, Target};
use crate::handle::Directory;

pub use crate::broker::calendar::fuzz::schedule;
pub use crate::dispatch::fuzz::{paths, rate_limit, retry_after};
pub use crate::http_api::fuzz::wire;
pub use crate::sources::fuzz::{job, lines, message};
pub use crate::store::fuzz::record;

/// A door, by the name of its fuzz target and its corpus.
pub type Door = (&'static str, fn(&[u8]));

pub const DOORS: &[Door] = &[
    ("config", config),
    ("job", job),
    ("lines", lines),
    ("message", message),
    ("paths", paths),
    ("rate_limit", rate_limit),
    ("record", record),
    ("retry_after", retry_after),
    ("schedule", schedule),
    ("wire", wire),
];

/// A configuration file. What is said about it stays on lines of its own, in its order.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // A name that is set, one that is set to something nasty, and all others, which are not.
    let environment = |name: &str| match name {
        "A" => Some("a".to_owned()),
        "B" => Some("\u{1b}[31m\n".to_owned()),
        _ => None,
    };
    let Err(errors) = config::parse(text, Path::new("/nowhere/fuzz.toml"), &environment) else {
        return;
    };
    let lines = text.split('\n').count();
    let mut before = (0, 0);
    for error in &errors {
        let place = (error.line.unwrap_or(before.0), error.column.unwrap_or(before.1));
        assert!(before <= place, "not in the order of the file: {errors}");
        assert!(place.0 <= lines, "{error} in a text of {lines} lines");
        assert!(!error.message.is_empty());
        before = place;
    }
    let shown = errors.to_string();
    assert!(!shown.replace('\n', "").contains(char::is_control), "{shown:?}");
}

/// A directory with one target, `erp`, that has everything a job can be measured against.
pub(crate) fn directory() -> (Directory, Arc<Target>) {
    const TEXT: &str = "[step_functions]\n[targets.erp]\nurl = \"http://127.0.0.1:1/base\"\n\
        delivery = \"verify\"\nheaders = { X-Own = \"1\" }\n[targets.erp.limit]\nrate = \"1/s\"\n\
        [targets.erp.verify]\npath = \"/orders/{idempotency_key}?id={job_id}\"\ndone = \"200\"\n\
        not_done = \"404\"\n";
    let config = config::parse(TEXT, Path::new("fuzz.toml"), &|_| None);
    let config = config.unwrap_or_else(|errors| panic!("{errors}"));
    let erp = config.targets["erp"].clone();
    let entry = (TargetId(1), "erp".to_owned(), Some(erp.clone()));
    let orders = crate::broker::callback::CallbackName::new("orders").ok();
    (Directory::new([entry]).with_step_functions(true).with_callbacks(orders), erp)
}
