//! `[auth]`, `[server.tls]` and `server.allowed_hosts`.

use super::*;
use crate::auth::MetricsAccess;

/// A configuration file beside others, all of which it may name.
fn load_with(files: &[(&str, &str)], text: &str) -> Result<Config, ConfigErrors> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let file = folder.path().join("tollgate.toml");
    std::fs::write(&file, format!("{text}{ERP}")).unwrap();
    crate::config::load(&file, &|_| None)
}

#[test]
fn each_listener_needs_the_tokens_of_its_role() {
    let tokens = [("submit", "shop:s3cret\n"), ("admin", "ops:hush\n")];
    let open = "[server]\nlisten = \"0.0.0.0:7070\"\nadmin_listen = \"0.0.0.0:7071\"\n[auth]\n";
    let both =
        "submit_tokens_file = \"submit\"\nadmin_tokens_file = \"admin\"\nmetrics = \"open\"\n";
    let config = load_with(&tokens, &format!("{open}{both}")).unwrap();
    assert_eq!(config.access.metrics, MetricsAccess::Open);
    assert!(config.access.submit.is_some() && config.access.admin.is_some());
    assert!(!config.insecure_allow_anonymous);
    let shown = format!("{config:?}");
    assert!(!shown.contains("s3cret") && !shown.contains("hush"), "{shown}");
    let errors = load_with(&tokens, &format!("{open}admin_tokens_file = \"admin\"\n")).unwrap_err();
    assert_eq!(errors.len(), 1);
    let said = errors.to_string();
    assert!(said.contains("server.listen: 0.0.0.0:7070 can be reached"), "{said}");
    assert!(said.contains("set auth.submit_tokens_file"), "{said}");
    assert_eq!(load_with(&[], open).unwrap_err().len(), 2);
}

#[test]
fn a_bad_file_of_tokens_is_named_and_not_shown() {
    let with = |text: &str| {
        let key = "[auth]\nadmin_tokens_file = \"tokens\"\n";
        load_with(&[("tokens", text)], key).unwrap_err().to_string()
    };
    assert!(with("a:hush\nb:hush\n").contains("auth.admin_tokens_file: line 2: this token"));
    assert!(with("hush targets=erp\n").contains("an admin token has no limits"));
    assert!(!with("hush hush").contains("hush"));
    let missing = load_with(&[], "[auth]\nsubmit_tokens_file = \"none\"\n").unwrap_err();
    assert!(missing.to_string().contains("cannot read"), "{missing}");
}

#[test]
fn files_of_tls_that_do_not_fit_are_told_apart() {
    let fault = |files: &[(&str, &str)], more: &str| {
        let text = format!("[server.tls]\ncert_file = \"cert\"\nkey_file = \"key\"\n{more}");
        load_with(files, &text).unwrap_err().to_string()
    };
    let said = fault(&[("cert", "nothing"), ("key", "s3cret")], "");
    assert!(said.contains("server.tls.cert_file: holds no certificate in PEM"), "{said}");
    assert!(!said.contains("s3cret"), "{said}");
    let said = fault(&[("cert", "nothing")], "");
    assert!(said.contains("server.tls.key_file: cannot read"), "{said}");
    let said = fault(&[("cert", "x"), ("key", "y")], "client_ca_file = \"none\"\n");
    assert!(said.contains("server.tls.client_ca_file: cannot read"), "{said}");
}

#[test]
fn allowed_hosts_are_names() {
    let config = good(&format!("[server]\nallowed_hosts = [\"Tollgate.Internal\"]\n{ERP}"));
    assert_ne!(config.access.hosts, Default::default());
    for foul in ["https://a.example", "a.example:80", "", "a b"] {
        let fault = fault(&format!("[server]\nallowed_hosts = [\"{foul}\"]\n{ERP}"));
        assert!(fault.contains("is not the name of a host"), "{fault}");
    }
}
