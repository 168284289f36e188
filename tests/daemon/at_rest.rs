//! `[store] encrypt_key_file`, and what is done to a stopped daemon's file, on the real program.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::raw::Raw;
use crate::support::{Client, Daemon};

const SECRETS: [&str; 5] = ["hush-body", "hush-token", "hush-header", "hush-query", "hush-answer"];

fn key(folder: &Path, name: &str, text: &str) -> String {
    let file = folder.join(name);
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    file.display().to_string()
}

/// `tollgate …`: its exit code, and all that it says.
fn tollgate(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tollgate")).args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

/// In the file and in its journal.
fn found(file: &Path) -> Vec<&'static str> {
    let mut raw = std::fs::read(file).unwrap();
    for segment in std::fs::read_dir(file.with_extension("redb.journal")).unwrap() {
        raw.extend(std::fs::read(segment.unwrap().path()).unwrap());
    }
    let is_in = |secret: &&str| raw.windows(secret.len()).any(|bytes| bytes == secret.as_bytes());
    SECRETS.into_iter().filter(is_in).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_encrypts_leaves_nothing_to_read_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let own = key(folder.path(), "own", &format!("{}\n", "1f".repeat(31) + "00"));
    let other = key(folder.path(), "other", &format!("{}\n", "2f".repeat(31) + "00"));
    for (encrypt, shown) in
        [(format!("encrypt_key_file = {own:?}\n"), &[][..]), (String::new(), &SECRETS[..])]
    {
        encrypted(&encrypt, shown, &own, &other).await;
    }
}

async fn encrypted(encrypt: &str, shown: &[&str], own: &str, other: &str) {
    let target = Raw::start(|mut peer| async move {
        while peer.request().await.is_some() {
            peer.say("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhush-answer").await;
        }
    })
    .await;
    let aws = |name: &str| (name.to_owned(), "x".to_owned());
    let aws = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"].map(aws).to_vec();
    // Nobody answers there, so the token stays owed. What is set for the store comes first: it is
    // the table that the daemon's own part of the file ends with.
    let rest = format!(
        "[step_functions]\nendpoint_url = \"http://127.0.0.1:1\"\nheartbeat = \"off\"\n\
         check_before_dispatch = false\n[targets.erp]\nurl = \"http://{}\"\n\
         [targets.erp.limit]\nrate = \"1000/s\"\nburst = 100\n",
        target.address
    );
    let mut daemon = Daemon::start_in(&format!("{encrypt}{rest}"), aws);
    let client = Client::new();
    let job = json!({
        "target": "erp",
        "path": "/orders?card=hush-query",
        "headers": {"authorization": "hush-header"},
        "body": {"card": "hush-body"},
        "task_token": "hush-token",
    });
    let id = client.submit(daemon.data, &job).await;
    client.ended(daemon.data, &id).await;
    client.post(daemon.admin, "/v1/targets/erp/pause", &json!({})).await;
    let later = client.submit(daemon.data, &job).await;
    let file = daemon.store();
    let name = file.to_str().unwrap();
    for command in ["check", "compact", "export"] {
        let (code, said) = tollgate(&["store", command, name, "--encrypt-key-file", own]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("in use by another process"), "{said}");
    }
    daemon.kill();
    assert_eq!(found(&file), shown);

    // The next life goes on where this one was killed.
    daemon.restart();
    client.post(daemon.admin, "/v1/targets/erp/resume", &json!({})).await;
    let job = client.ended(daemon.data, &later).await;
    assert_eq!(job["result"]["ResponseBody"], "hush-answer", "{job}");
    assert!(daemon.terminate().success());
    assert_eq!(found(&file), shown);
    assert!(!daemon.log().contains("1f1f1f"), "the log shows the key");

    let with = ["--encrypt-key-file", own];
    let (code, said) = tollgate(&[&["store", "check", name], &with[..]].concat());
    assert_eq!((code, said.ends_with("is in order: 2 jobs\n")), (Some(0), true), "{said}");
    let (code, said) = tollgate(&[&["store", "compact", name, "--json"], &with[..]].concat());
    let sizes: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(code, Some(0), "{said}");
    assert!(sizes["bytes_after"].as_u64() <= sizes["bytes_before"].as_u64(), "{said}");
    let (code, said) = tollgate(&[&["store", "export", name], &with[..]].concat());
    assert_eq!((code, said.contains("hush")), (Some(0), false), "{said}");
    let (code, said) =
        tollgate(&[&["store", "export", "--with-secrets", name], &with[..]].concat());
    assert_eq!(code, Some(0), "{said}");
    assert!(SECRETS.iter().all(|secret| said.contains(secret)), "{said}");
    if shown.is_empty() {
        for without in [&[][..], &["--encrypt-key-file", other]] {
            let (code, said) = tollgate(&[&["store", "export", name], without].concat());
            assert_eq!(code, Some(1), "{said}");
            assert!(said.contains("encrypted with key"), "{said}");
        }
    }
}

#[test]
fn a_daemon_without_its_key_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let own = key(folder.path(), "own", &("1f".repeat(31) + "00"));
    std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o644)).unwrap();
    let config = folder.path().join("tollgate.toml");
    let text = "[store]\npath = \"never.redb\"\nencrypt_key_file = \"own\"\n[targets.erp]\n\
                url = \"http://127.0.0.1:9\"\nlimit.rate = \"1/s\"\n";
    std::fs::write(&config, text).unwrap();
    let config = config.to_str().unwrap();
    let (code, said) = tollgate(&["serve", "--config", config]);
    assert_ne!(code, Some(0));
    assert!(said.contains("has mode 0644") && said.contains("chmod 600"), "{said}");
    std::fs::remove_file(own).unwrap();
    let (code, said) = tollgate(&["serve", "--config", config]);
    assert_ne!(code, Some(0));
    assert!(said.contains("store.encrypt_key_file") && said.contains("cannot read"), "{said}");
}

/// As a backup may leave it that was copied back, or an older umask.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_others_could_read_is_closed_to_them_with_a_word() {
    let api = Raw::start(|_| async {}).await;
    let mut daemon = Daemon::start(&crate::support::erp(api.address, "1/s", ""));
    let store = daemon.store();
    let journal = store.with_extension("redb.journal");
    let segment = journal.join("0000000001.segment");
    let all = [(&store, 0o644, 0o600), (&journal, 0o755, 0o700), (&segment, 0o644, 0o600)];
    let loosen = || {
        for (path, loose, _) in all {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(loose)).unwrap();
        }
    };
    let are_closed = || {
        for (path, _, closed) in all {
            let mode = std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, closed, "{}", path.display());
        }
    };
    let words = |log: &str| log.matches("others could read").count();
    assert!(daemon.terminate().success());
    assert_eq!(words(&daemon.log()), 0, "{}", daemon.log());

    loosen();
    daemon.restart();
    are_closed();
    let log = daemon.log();
    assert_eq!(words(&log), 3, "{log}");
    for (path, loose, _) in all {
        let word = |line: &&str| line.contains(&format!("path={} ", path.display()));
        let line = log.lines().filter(|line| line.contains("others could read")).find(word);
        assert!(line.is_some_and(|line| line.contains(&format!("mode=0{loose:o}"))), "{log}");
    }
    assert!(daemon.terminate().success());
    daemon.restart();
    assert_eq!(words(&daemon.log()), 0, "once it is done nothing is said: {}", daemon.log());
    assert!(daemon.terminate().success());

    // Who only wants to look at it does not stumble.
    let file = store.to_str().unwrap();
    for look in ["check", "export"] {
        loosen();
        let (code, said) = tollgate(&["store", look, file]);
        assert_eq!(code, Some(0), "{look}: {said}");
        are_closed();
    }
}
