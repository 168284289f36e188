//! The house rules that a compiler does not check.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn sources(under: &str) -> Vec<(PathBuf, String)> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join(under), &mut found);
    found.sort();
    let read = |path: PathBuf| (path.clone(), std::fs::read_to_string(path).unwrap());
    found.into_iter().map(read).collect()
}

/// Without comments: they may talk about what the code must not do.
fn code(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_core_knows_nobody() {
    // A runtime, a network, a database, a clock, a random source, an order that changes.
    let banned = [
        "tokio",
        "hyper",
        "redb",
        "serde_json",
        "axum",
        "::now(",
        "SystemTime",
        "Instant",
        "rand::",
        "HashMap",
        "HashSet",
        "std::thread",
        "std::fs",
        "crate::store",
        "crate::dispatch",
        "crate::driver",
        "crate::handle",
        "crate::config",
        "tracing",
    ];
    let files = sources("src/broker");
    assert!(files.len() > 10);
    for (path, text) in files {
        let code = code(&text);
        for word in banned {
            // governor's clock trait has an associated type of this name.
            let code = code.replace("type Instant", "").replace("::Instant", "");
            assert!(!code.contains(word), "{} names {word}", path.display());
        }
    }
}

#[test]
fn the_store_and_the_dispatcher_know_only_the_words_of_the_core() {
    for under in ["src/store", "src/dispatch"] {
        for (path, text) in sources(under) {
            for above in ["crate::driver", "crate::admin", "crate::sources", "crate::serve"] {
                assert!(!code(&text).contains(above), "{} names {above}", path.display());
            }
        }
    }
}

#[test]
fn a_file_is_about_one_thing() {
    for under in ["src", "tests"] {
        for (path, text) in sources(under) {
            let lines = text.lines().count();
            assert!(lines <= 600, "{} has {lines} lines: it is asking to be two", path.display());
        }
    }
}

#[test]
fn every_metric_that_is_talked_about_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = std::fs::read_to_string(root.join("src/metrics.rs")).unwrap();
    code += &std::fs::read_to_string(root.join("src/metrics/page.rs")).unwrap();
    let mut talk = String::new();
    for file in [
        "README.md",
        "docs/runbook.md",
        "dashboards/overview.json",
        "dashboards/target.json",
        "dashboards/daemon.json",
        "dashboards/rules.yml",
    ] {
        talk += &std::fs::read_to_string(root.join(file)).unwrap();
    }
    // With the colons: what a recording rule is called is no metric of the daemon's.
    let names: BTreeSet<&str> = talk
        .split(|c: char| !(c.is_ascii_lowercase() || c == '_' || c == ':'))
        .map(|word| word.trim_end_matches(':'))
        .filter(|word| word.starts_with("tollgate_"))
        .collect();
    assert!(names.len() >= 20, "{names:?}");
    for name in names {
        // What Prometheus makes of a histogram.
        let name = ["_bucket", "_count", "_sum"]
            .iter()
            .find_map(|part| {
                name.strip_suffix(part)
                    .filter(|name| name.contains("_commit_") || name.ends_with("_seconds"))
            })
            .unwrap_or(name);
        assert!(code.contains(&format!("\"{name}")), "{name} is in no code");
    }
}

#[test]
fn no_file_is_dead() {
    // A file that no `mod` names is not compiled, and nobody notices.
    let files = sources("src");
    let all: String = files.iter().map(|(_, text)| text.as_str()).collect();
    for (path, _) in &files {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        if ["lib", "main"].contains(&stem) {
            continue;
        }
        let name = match stem {
            "mod" => path.parent().unwrap().file_name().unwrap().to_str().unwrap(),
            other => other,
        };
        assert!(all.contains(&format!("mod {name};")), "{} is in no module", path.display());
    }
}

/// SECURITY.md says which test holds what: each of them is there.
#[test]
fn every_test_that_the_promises_rest_on_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let (mut files, mut tests) = (0, 0);
    for span in text.split('`').skip(1).step_by(2) {
        let path = span.split(' ').next().unwrap();
        let (path, test) = match path.split_once("::") {
            Some((path, test)) => (path, Some(test)),
            None => (path, None),
        };
        let is_ours = ["src/", "tests/", "fuzz/", "scripts/", "docs/", ".ci/"]
            .iter()
            .any(|under| path.starts_with(under));
        if !is_ours {
            assert!(test.is_none(), "{span} names a test in no file");
            continue;
        }
        assert!(root.join(path).exists(), "{span}: there is no {path}");
        files += 1;
        if let Some(test) = test {
            let code = std::fs::read_to_string(root.join(path)).unwrap();
            let begin = code.find(&format!("fn {test}("));
            let begin = begin.unwrap_or_else(|| panic!("{path} has no test {test}"));
            let before: Vec<&str> = code[..begin].lines().rev().take(4).collect();
            let marked = before.iter().any(|l| l.contains("#[test]") || l.contains("::test"));
            assert!(marked, "{test} in {path} is no test");
            let long = before.iter().any(|line| line.contains("#[ignore"));
            let said = text.contains(&format!("*long* `{span}`"));
            assert_eq!(long, said, "whether {test} is a long one");
            tests += 1;
        }
    }
    assert!(files > 60 && tests > 50, "{files} files, {tests} tests");
}
