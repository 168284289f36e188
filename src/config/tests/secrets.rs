//! Secrets come from the environment and from files, and come out nowhere.

use std::fs;

use super::*;
use crate::config::load;

const SECRET: &str = "hunter2-hunter2";

#[test]
fn variables_are_filled_in() {
    let env = [("TOKEN", SECRET), ("HOST", "erp.example"), ("RATE", "7/s"), ("NESTED", "${TOKEN}")];
    let text = r#"
        [targets.erp]
        url = "https://${HOST}/api"
        limit.rate = "${RATE}"
        [targets.erp.headers]
        One = "Bearer ${TOKEN}"
        Two = "$${TOKEN} $$ $ $TOKEN {TOKEN} $$${TOKEN}"
        Three = "${NESTED}"
    "#;
    let config = parse_with(text, &env).unwrap();
    let erp = &config.targets["erp"];
    assert_eq!(erp.url, "https://erp.example/api");
    assert_eq!(erp.policy.limit.rate.count().get(), 7);
    assert_eq!(erp.headers["one"], format!("Bearer {SECRET}"));
    assert_eq!(erp.headers["two"], "${TOKEN} $$ $ $TOKEN {TOKEN} $${TOKEN}");
    assert_eq!(erp.headers["three"], "${TOKEN}", "what was filled in is not read again");
}

#[test]
fn variables_that_are_not_there_are_named() {
    let fault = erp_fault("headers.a = \"${A} ${B} ${A}\"\n");
    assert_eq!(
        fault,
        "targets.erp.headers.a: the environment variable A is not set; the environment variable B is not set"
    );
    for text in ["${", "${A", "${}", "${A B}", "${1A}", "${A:-x}", "${ü}", "${${A}}"] {
        let fault = erp_fault(&format!("timeout = \"{text}\"\n"));
        assert!(fault.contains("write $${ for a literal ${"), "{text}: {fault}");
    }
    let text = format!("{ERP}headers.a = \"Bearer ${{A}}\"\n");
    let errors = parse_with(&text, &[("A", "")]).unwrap_err();
    assert!(errors.to_string().contains("the environment variable A is empty"), "{errors}");
}

#[test]
fn secrets_are_read_from_files_beside_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tollgate.toml");
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    fs::write(&file, format!("{ERP}headers = {{ Authorization_file = \"secret\" }}\n")).unwrap();
    let read = || load(&file, &|_| None);

    for contents in [SECRET.to_owned(), format!("{SECRET}\n"), format!("{SECRET}\r\n")] {
        write("secret", contents.as_bytes());
        let config = read().unwrap();
        assert_eq!(config.targets["erp"].headers["authorization"], SECRET);
    }
    // A ${…} in a file is what it is.
    write("secret", b"${NAME}");
    assert_eq!(read().unwrap().targets["erp"].headers["authorization"], "${NAME}");

    let too_long = "x".repeat(8 * 1024 + 1);
    for (contents, expected) in [
        (format!("{SECRET}\n\n").as_bytes(), "holds a line break"),
        (format!("{SECRET} ").as_bytes(), "begins or ends with a space"),
        (b"\n", "the value is empty"),
        (b"hunter2-hunter2\xff", "is not UTF-8 text"),
        (too_long.as_bytes(), "is larger than 8192 bytes"),
    ] {
        write("secret", contents);
        let errors = read().unwrap_err().to_string();
        assert!(errors.contains("targets.erp.headers.Authorization_file: "), "{errors}");
        assert!(errors.contains(expected), "{errors}");
        assert!(!errors.contains("hunter2"), "{errors}");
    }
    fs::remove_file(folder.path().join("secret")).unwrap();
    let errors = read().unwrap_err().to_string();
    assert!(errors.contains("cannot read \"") && errors.contains("No such file"), "{errors}");
    fs::create_dir(folder.path().join("secret")).unwrap();
    let errors = read().unwrap_err().to_string();
    assert!(errors.contains("cannot read \"") && errors.contains("directory"), "{errors}");
}

#[test]
fn a_configuration_does_not_show_its_secrets() {
    let text =
        format!("{ERP}headers = {{ Authorization = \"${{TOKEN}}\", X-Key = \"{SECRET}\" }}\n");
    let config = parse_with(&text, &[("TOKEN", SECRET)]).unwrap();
    assert_eq!(config.targets["erp"].headers["authorization"], SECRET);
    for shown in [format!("{config:?}"), format!("{config:#?}")] {
        assert!(shown.contains("x-key") && !shown.contains("hunter2"), "{shown}");
    }
}

/// Wherever a secret ends up by mistake, no error repeats it.
#[test]
fn errors_do_not_show_secrets() {
    let env = [("TOKEN", SECRET), ("LINES", "hunter2\nhunter2")];
    for text in [
        format!("{ERP}headers.a = \"{SECRET}\\n\"\n"),
        format!("{ERP}headers.a = \" {SECRET}\"\n"),
        format!("{ERP}headers.a = [\"{SECRET}\"]\n"),
        format!("{ERP}headers = \"{SECRET}\"\n"),
        format!("{ERP}headers.a = \"${{LINES}}\"\n"),
        format!("{ERP}headers.Host = \"{SECRET}\"\n"),
        format!("{ERP}headers.a = {SECRET}\n"),
        format!("{ERP}headers.a = Bearer {SECRET}\n"),
        format!("{ERP}headers.a = \"{SECRET}\n"),
        format!("{ERP}headers.a = \"{SECRET} ${{NOT_SET}}\"\n"),
        format!("{ERP}headers.a_file = \"${{TOKEN}}\"\n"),
        format!("{ERP}timeout = \"${{TOKEN}}\"\n"),
        format!("{ERP}limit.burst = \"${{TOKEN}}\"\n"),
        format!("{ERP}listen = \"${{TOKEN}}\"\n"),
        format!("{ERP}delivery = \"${{TOKEN}}\"\n"),
        "[server]\nmax_body = \"${TOKEN}\"\n".to_owned(),
        "[telemetry]\nlog = \"${TOKEN}=\"\nlog_format = \"${TOKEN}\"\n".to_owned(),
        "[store]\npath = \"${TOKEN}/\"\n".to_owned(),
        "[targets.erp]\nlimit.rate = \"${TOKEN}\"\nurl = \"${TOKEN}\"\n".to_owned(),
        "[targets.erp]\nurl = \"https://${TOKEN}!\"\n".to_owned(),
        "[targets.erp]\nurl = \"https://h/${TOKEN}%\"\n".to_owned(),
        format!("[targets.erp]\nurl = \"https://me:{SECRET}@erp.example/\"\n"),
        format!("[targets.erp]\nurl = \"https:/me:{SECRET}@erp.example/\"\n"),
        format!("[targets.erp]\nurl = \"me:{SECRET}@erp.example\"\n"),
        format!("[targets.erp]\nurl = \"me:{SECRET}@erp://x\"\n"),
        format!("[targets.erp]\nurl = \"ftp://erp.example/?key={SECRET}\"\n"),
        format!("[targets.erp]\nurl = \"erp.example/?key={SECRET}\"\n"),
    ] {
        let errors = parse_with(&text, &env).expect_err(&text);
        let shown = format!("{errors} {errors:?} {}", serde_json::to_string(&errors).unwrap());
        assert!(!shown.contains("hunter2"), "{text}\n{shown}");
    }
}

#[test]
fn a_file_of_keys_is_its_owners_own() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (file, keys) = (folder.path().join("tollgate.toml"), folder.path().join("store.key"));
    fs::write(&file, format!("[store]\nencrypt_key_file = \"store.key\"\n{ERP}")).unwrap();
    let secret = "5e".repeat(31) + "00";
    fs::write(&keys, format!("{secret}\n")).unwrap();
    let read = |mode| {
        fs::set_permissions(&keys, fs::Permissions::from_mode(mode)).unwrap();
        load(&file, &|_| None)
    };
    for mode in [0o400, 0o600, 0o640] {
        let config = read(mode).unwrap();
        assert!(config.store.keys.is_some());
        assert!(!format!("{config:?}").contains("5e5e"), "a key is shown");
    }
    for mode in [0o644, 0o604, 0o660, 0o666, 0o620] {
        let error = read(mode).unwrap_err().to_string();
        assert!(error.contains("store.encrypt_key_file"), "{error}");
        assert!(error.contains(&format!("has mode {mode:04o}")), "{error}");
        assert!(error.contains("chmod 600"), "{error}");
    }
    fs::write(&keys, format!("{secret}5e\n")).unwrap();
    let error = read(0o600).unwrap_err().to_string();
    assert!(error.contains("line 1: a key is 32 bytes"), "{error}");
    assert!(!error.contains("5e5e"), "{error}");
}
