//! Who gets in: tokens, TLS, client certificates, sockets in the file system. curl is the client.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use tollgate::demo::auditor::Books;
use tollgate::demo::fragile_api::{FragileApi, Fragility};

use crate::support::{Client, Daemon, erp, free_address};

/// A file for a daemon that does not run yet.
fn files() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("submit"), "shop:s-111\nnight:s-222 targets=other\n")
        .unwrap();
    std::fs::write(folder.path().join("admin"), "ops:a-333\n").unwrap();
    folder
}

fn auth(folder: &Path) -> String {
    format!(
        "[auth]\nsubmit_tokens_file = {:?}\nadmin_tokens_file = {:?}\n",
        folder.join("submit").display().to_string(),
        folder.join("admin").display().to_string()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_asks_for_a_token_of_its_own_address() {
    let api = FragileApi::start(Fragility::SOUND).await.unwrap();
    let folder = files();
    let daemon = Daemon::start(&(auth(folder.path()) + &erp(api.address(), "100/s", "")));
    let client = Client::new();
    let status = async |address: SocketAddr, method: &str, path: &str, token: &str| {
        let value = format!("Bearer {token}");
        let headers: &[_] =
            if token.is_empty() { &[] } else { &[("authorization", value.as_str())] };
        client.send(method, address, path, headers, "{\"target\":\"erp\"}").await.unwrap().status
    };
    // What the daemon itself says it offers, so that no route can be forgotten here.
    let headers = [("authorization", "Bearer a-333")];
    let document = client.send("GET", daemon.admin, "/openapi.json", &headers, "").await.unwrap();
    let document = document.json();
    let mut asked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let path = path.replace("{target}", "erp").replace("{t}", "erp").replace("{path}", "x");
        let path = path.replace("{callback}", "orders");
        let path = path.replace("{id}", "0197a3b0-6d1e-7c55-b1b2-6f5a4f0c9e11");
        if ["/", "/healthz", "/readyz"].contains(&path.as_str()) {
            assert_eq!(status(daemon.admin, "GET", &path, "").await, 200, "{path}");
            continue;
        }
        for method in methods.as_object().unwrap().keys().map(|method| method.to_uppercase()) {
            for (address, other) in [(daemon.data, "a-333"), (daemon.admin, "s-111")] {
                assert_eq!(status(address, &method, &path, "").await, 401, "{method} {path}");
                assert_eq!(status(address, &method, &path, "guess").await, 401, "{method} {path}");
                assert_eq!(status(address, &method, &path, other).await, 403, "{method} {path}");
            }
            asked += 1;
        }
    }
    assert!(asked >= 20, "{asked}");
    assert_eq!(status(daemon.admin, "GET", "/nowhere", "").await, 401);
    assert_eq!(status(daemon.data, "POST", "/v1/jobs", "s-111").await, 202);
    assert_eq!(status(daemon.data, "POST", "/v1/jobs", "s-222").await, 403, "for another target");
    assert_eq!(status(daemon.admin, "GET", "/v1/targets", "a-333").await, 200);
    assert_eq!(status(daemon.admin, "GET", "/metrics", "a-333").await, 200);

    // Through the proxy the token does not reach the target, and its own credentials do.
    let headers = [("proxy-authorization", "Bearer s-111"), ("authorization", "Basic own")];
    let answer = client.send("GET", daemon.data, "/proxy/erp/x", &headers, "").await.unwrap();
    assert_eq!(answer.status, 200);
    let job = answer.headers["tollgate-job-id"].to_str().unwrap();
    let path = format!("/v1/jobs/{job}");
    assert_eq!(status(daemon.data, "GET", &path, "s-111").await, 200);
    assert_eq!(status(daemon.data, "GET", &path, "s-222").await, 404);
    assert_eq!(status(daemon.data, "DELETE", &path, "s-222").await, 404);

    // A reload takes other tokens.
    std::fs::write(folder.path().join("admin"), "ops:a-444\n").unwrap();
    assert_eq!(status(daemon.admin, "POST", "/v1/reload", "a-333").await, 200);
    assert_eq!(status(daemon.admin, "GET", "/v1/targets", "a-333").await, 401);
    assert_eq!(status(daemon.admin, "GET", "/v1/targets", "a-444").await, 200);
    let log = daemon.log();
    for secret in ["s-111", "s-222", "a-333", "a-444"] {
        assert!(!log.contains(secret), "{log}");
    }
}

fn run(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A certificate for 127.0.0.1 and its key: signed by `authority`, or by itself.
fn certificate(
    folder: &Path,
    name: &str,
    authority: Option<&(PathBuf, PathBuf)>,
) -> (PathBuf, PathBuf) {
    let (certificate, key) =
        (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
    let mut openssl = Command::new("openssl");
    if let Some((certificate, key)) = authority {
        openssl.args(["req", "-CA"]).arg(certificate).arg("-CAkey").arg(key);
        openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    } else {
        openssl.arg("req");
    }
    let (done, _) = run(openssl
        .args(["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "2", "-subj"])
        .arg(format!("/CN={name}"))
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate));
    assert!(done, "openssl");
    (certificate, key)
}

fn curl(url: &str, options: &[&std::ffi::OsStr]) -> (bool, String) {
    run(Command::new("curl").args(["-sS", "--max-time", "10", "--fail"]).args(options).arg(url))
}

/// At each kind of listener: who comes with a certificate of the authority's gets in, others do not,
/// and after a reload the same goes for the new authority.
#[tokio::test(flavor = "multi_thread")]
async fn tls_with_client_certificates_and_a_new_certificate_without_a_restart() {
    let api = FragileApi::start(Fragility::SOUND).await.unwrap();
    let sidecar = free_address();
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(folder.path(), "server", None);
    let authority = certificate(folder.path(), "authority", None);
    let known = certificate(folder.path(), "client", Some(&authority));
    let stranger = certificate(folder.path(), "stranger", None);
    let client_ca = &authority.0;
    let tls = format!(
        "[server.tls]\ncert_file = {cert:?}\nkey_file = {key:?}\nclient_ca_file = {client_ca:?}\n"
    );
    let target = format!("[targets.erp]\nlisten = \"{sidecar}\"\n");
    let target = erp(api.address(), "100/s", "").replace("[targets.erp]\n", &target);
    let daemon = Daemon::start(&(tls + &target));
    let listeners = [
        format!("{}/proxy/erp/x", daemon.data),
        format!("{}/v1/targets", daemon.admin),
        format!("{sidecar}/x"),
    ];
    let with = |listener: &str, trusted: &Path, shown: Option<&(PathBuf, PathBuf)>| {
        let mut options = vec!["--cacert".as_ref(), trusted.as_os_str()];
        if let Some((certificate, key)) = shown {
            options.extend(["--cert".as_ref(), certificate.as_os_str()]);
            options.extend(["--key".as_ref(), key.as_os_str()]);
        }
        curl(&format!("https://{listener}"), &options).0
    };
    for at in &listeners {
        assert!(with(at, &cert, Some(&known)), "{at}");
        assert!(!with(at, &cert, None), "{at} without a certificate");
        assert!(!with(at, &cert, Some(&stranger)), "{at} with one that nobody signed");
        assert!(!curl(&format!("http://{at}"), &[]).0, "{at} in plain text");
    }

    let (renewed, new_key) = certificate(folder.path(), "renewed", None);
    let new_authority = certificate(folder.path(), "new-authority", None);
    let newcomer = certificate(folder.path(), "newcomer", Some(&new_authority));
    std::fs::copy(&renewed, &cert).unwrap();
    std::fs::copy(&new_key, &key).unwrap();
    std::fs::copy(&new_authority.0, client_ca).unwrap();
    daemon.signal("-HUP");
    for at in &listeners {
        while !with(at, &renewed, Some(&newcomer)) {
            crate::support::nap().await;
        }
        assert!(!with(at, &renewed, Some(&known)), "{at} with one of the authority before");
        assert!(!with(at, &renewed, None), "{at} without a certificate");
    }
    assert!(!daemon.log().contains("next start"), "{}", daemon.log());
}

fn tollgate(args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    for name in ["TOLLGATE_URL", "TOLLGATE_ADMIN_URL", "TOLLGATE_TOKEN", "TOLLGATE_CA_FILE"] {
        command.env_remove(name);
    }
    let output = command.args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_trust_the_authority_that_they_are_given_and_no_other() {
    let api = FragileApi::start(Fragility::SOUND).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let authority = certificate(folder.path(), "authority", None);
    let (cert, key) = certificate(folder.path(), "server", Some(&authority));
    let (other, _) = certificate(folder.path(), "other", None);
    let tls = format!("[server.tls]\ncert_file = {cert:?}\nkey_file = {key:?}\n");
    let daemon = Daemon::start(&(tls + &erp(api.address(), "100/s", "")));
    let (data, admin) = (format!("https://{}", daemon.data), format!("https://{}", daemon.admin));
    let trusted = authority.0.to_str().unwrap();
    let asked = ["targets", "--json", "--admin-url", &admin];
    let (code, out, err) = tollgate(&[&asked[..], &["--ca-file", trusted]].concat());
    assert_eq!((code, out.contains("\"erp\"")), (Some(0), true), "{err}");
    let submit = ["submit", "erp", "/x", "--wait", "--url", &data, "--ca-file", trusted];
    assert_eq!(tollgate(&submit).0, Some(0));
    for untrusted in [&[][..], &["--ca-file", other.to_str().unwrap()]] {
        let (code, _, err) = tollgate(&[&asked[..], untrusted].concat());
        assert_eq!(code, Some(3), "{err}");
        assert!(err.contains("certificate"), "{err}");
    }
    for (file, why) in [(key.to_str().unwrap(), "no certificate"), ("/nowhere.pem", "/nowhere.pem")]
    {
        let (code, _, err) = tollgate(&[&asked[..], &["--ca-file", file]].concat());
        assert_eq!((code, err.contains(why)), (Some(2), true), "{err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_in_the_file_system_serve_and_are_cleared_away() {
    let api = FragileApi::start(Fragility::SOUND).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (data, admin) = (folder.path().join("data.sock"), folder.path().join("admin.sock"));
    let listen = format!(
        "listen = \"unix:{}\"\nadmin_listen = \"unix:{}\"\n",
        data.display(),
        admin.display()
    );
    let mut daemon = Daemon::start_listening(&listen, &erp(api.address(), "100/s", ""));
    let ask = |socket: &Path, path: &str| {
        curl(&format!("http://tollgate{path}"), &["--unix-socket".as_ref(), socket.as_os_str()])
    };
    assert!(ask(&admin, "/healthz").0);
    let (done, body) = ask(&data, "/proxy/erp/x");
    assert!(done, "{body}");
    let at = |socket: &Path| format!("unix:{}", socket.display());
    let (code, out, err) = tollgate(&["targets", "--json", "--admin-url", &at(&admin)]);
    assert_eq!((code, out.contains("\"erp\"")), (Some(0), true), "{err}");
    let (code, _, err) = tollgate(&["submit", "erp", "GET", "/x", "--wait", "--url", &at(&data)]);
    assert_eq!(code, Some(0), "{err}");
    // A killed daemon leaves its sockets; the next one takes their place.
    daemon.kill();
    assert!(data.exists());
    let (code, _, err) = tollgate(&["targets", "--admin-url", &at(&admin)]);
    assert_eq!(code, Some(3));
    assert!(err.contains(&format!("{}: connection refused", at(&admin))), "{err}");
    daemon.restart();
    assert!(ask(&admin, "/healthz").0);
    assert!(daemon.terminate().success());
    assert!(!data.exists() && !admin.exists());
    assert_eq!(api.auditor().read(Books::total), 2);
}
