//! `[server.tls]`: files in PEM.

use super::bounds;
use super::item::Item;
use super::table::Table;
use super::vocabulary;
use crate::http_api::tls::{ServerTls, TlsFault};

/// `None` where the table is not there, or something is wrong with it, which is reported.
pub(super) fn read(server: &Table<'_>) -> Option<ServerTls> {
    let table = server.table("tls");
    if !server.is_set("tls") {
        return None;
    }
    let pem = |item: &Item<'_>| item.secret_file(bounds::PEM_FILE);
    let certificate = table.need("cert_file", "cert_file = \"…\", a certificate in PEM", pem);
    let key = table.need("key_file", "key_file = \"…\", its private key in PEM", pem);
    let client_ca = table.get("client_ca_file", pem);
    table.finish(vocabulary::TLS.later);
    if !table.is_good("client_ca_file") {
        return None;
    }
    match ServerTls::from_pem(&certificate?, &key?, client_ca.as_deref()) {
        Ok(tls) => Some(tls),
        Err(TlsFault::Certificate(why)) => report(&table, "cert_file", why),
        Err(TlsFault::Key(why)) => report(&table, "key_file", why),
        Err(TlsFault::ClientCa(why)) => report(&table, "client_ca_file", why),
    }
}

fn report(table: &Table<'_>, key: &str, why: String) -> Option<ServerTls> {
    table.report(key, why);
    None
}
