#[test]
fn look() {
    let text = r#"
[server]
listen = "0.0.0.0:7070"
admin_listen = "localhost:7071"
max_bdy = "1MiB"
drain_timeout = 30
tls = {}
[store]
path = "~/x"
cache = 5
retention = "5M"
min_free_disk = "1.5GiB"
[auth]
submit_tokens_file = "x"
[target.foo]
[targets.erp]
url = "https://user:pass@h/x"
rate = "5/s"
timeut = "3s"
windws = 4
timeout = "2h"
headers = { Authorization = "Bearer ${NOPE}", Host = "x", "b a d" = "x", X_file = "nope", X-Y = 5 }
listen = "127.0.0.1:9001"
delivery = "verify"
max_queued = -5
[targets.erp.limit]
rate = "10/fortnight"
windows = ["100/min"]
burst = 0
max_concurrent = "5"
windos = 4
[targets.erp.priority]
max_deferrals = 2.5
maxDeferrals = 2
foo = 1
[targets.erp.retry]
max_attempts = 999999999999999999999999999999
min_backoff = "10m"
[targets.b]
listen = "127.0.0.1:9001"
limit = "10/s"
retry = []
[targets."x y"]
url = "http://localhost:7071"
limit.rate = "0.5/s"
[telemetry]
log = "inof"
log_format = "xml"
[bogus]
"#;
    let e = super::parse(text, "config/tollgate.toml".as_ref(), &|_| None).unwrap_err();
    println!("{e}");
    for text in [
        "a = 1\na = 2\n[b]\n[b]\nx = y\nz = \"abc\nq = 5\n",
        "[server]\nlisten = 127.0.0.1:80\n[targets.erp]\ntimeout = 30s\nlimit.rate = \nheaders = { A = Bearer abc }",
        "",
        "[targets]",
        "[[targets]]\nurl='x'",
    ] {
        let e = super::parse(text, "config/tollgate.toml".as_ref(), &|_| None).unwrap_err();
        println!("{e}");
    }
    for f in ["tollgate", "demo", "minimal"] {
        let f = format!("config/{f}.toml");
        if let Err(e) = super::load(f.as_ref(), &|_| None) {
            println!("{e}");
        }
    }
}
