//! `[callbacks.NAME]`: who is told when a job has ended.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::{HeaderMap, Uri};

use super::headers::headers;
use super::item::Item;
use super::listen::Listeners;
use super::table::Table;
use super::units::{duration, rate, show_duration, size};
use super::url::webhook_url;
use super::{bounds, defaults, vocabulary};
use crate::broker::callback::CallbackName;
use crate::broker::policy::Rate;

/// One receiver of webhooks (Standard Webhooks 1.0.0).
#[derive(Clone, PartialEq)]
pub struct Callback {
    /// Its query may be a secret, and is never shown.
    pub url: Uri,
    /// Each signs; at least one.
    pub secrets: Vec<Secret>,
    /// Added to each request; values are marked sensitive.
    pub headers: HeaderMap,
    /// Of one try, from connecting to the end of the answer.
    pub timeout: Duration,
    /// Of tries, strictly spaced.
    pub rate: Rate,
    /// Tries under way at once.
    pub max_concurrent: u32,
    pub min_backoff: Duration,
    pub max_backoff: Duration,
    /// After so long nobody tries any more.
    pub max_retry_duration: Duration,
    /// Of a target's answer that is told, in bytes.
    pub max_body: usize,
}

impl Callback {
    /// For people: without what follows the path.
    pub fn shown_url(&self) -> String {
        let scheme = self.url.scheme_str().unwrap_or_default();
        let authority = self.url.authority().map_or("", http::uri::Authority::as_str);
        format!("{scheme}://{authority}{}", self.url.path())
    }
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callback")
            .field("url", &self.shown_url())
            .field("headers", &self.headers)
            .field("timeout", &self.timeout)
            .field("rate", &self.rate)
            .field("max_concurrent", &self.max_concurrent)
            .field("min_backoff", &self.min_backoff)
            .field("max_backoff", &self.max_backoff)
            .field("max_retry_duration", &self.max_retry_duration)
            .field("max_body", &self.max_body)
            .finish_non_exhaustive()
    }
}

/// The bytes that a message is signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// In bytes (Standard Webhooks, "Signature scheme").
    const LENGTH: std::ops::RangeInclusive<usize> = 24..=64;

    /// `whsec_` and base64.
    ///
    /// # Errors
    /// Why it is none, without any of it.
    pub fn parse(text: &str) -> Result<Secret, String> {
        const MAKE: &str = "make one with: echo \"whsec_$(openssl rand -base64 32)\"";
        let encoded = text
            .strip_prefix("whsec_")
            .ok_or_else(|| format!("a secret begins with whsec_ (Standard Webhooks); {MAKE}"))?;
        let bytes = STANDARD.decode(encoded).or_else(|_| STANDARD_NO_PAD.decode(encoded));
        let bytes = bytes.map_err(|_| format!("what follows whsec_ is not base64; {MAKE}"))?;
        if !Secret::LENGTH.contains(&bytes.len()) {
            let (least, most) = (Secret::LENGTH.start(), Secret::LENGTH.end());
            return Err(format!("a secret has {least} to {most} bytes; {MAKE}"));
        }
        Ok(Secret(bytes))
    }

    /// For the signature, and nothing else.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

pub(super) fn read(
    root: &Table<'_>,
    listeners: &mut Listeners,
) -> BTreeMap<CallbackName, Arc<Callback>> {
    let table = root.table("callbacks");
    let mut callbacks = BTreeMap::new();
    for (count, (name, entry)) in table.tables().enumerate() {
        if count == bounds::CALLBACKS {
            table.report_name(name, format!("at most {} callbacks are allowed", bounds::CALLBACKS));
        }
        let callback = callback(&entry, listeners);
        match (CallbackName::new(name), callback) {
            (Ok(name), Some(callback)) => drop(callbacks.insert(name, Arc::new(callback))),
            (Err(error), _) => {
                table.report_name(name, format!("not a callback's name; one {error}"));
            }
            (Ok(_), None) => {}
        }
    }
    callbacks
}

/// `None` where what it needs is missing or wrong, which is reported.
fn callback(table: &Table<'_>, listeners: &mut Listeners) -> Option<Callback> {
    let url = table.need("url", "url = \"https://…\", where the webhook goes", webhook_url);
    let secrets = table.need(
        "secret_file",
        "secret_file = \"…\", a file with the secret that signs, such as whsec_MfKQ…",
        secrets,
    );
    let headers = headers(&table.table("headers"));
    for name in headers.keys().filter(|name| name.as_str().starts_with("webhook-")) {
        table.report("headers", format!("tollgate sets {name} itself, for each try; remove it"));
    }
    let default = defaults::callback();
    let timeout = table.get_or("timeout", default.timeout, duration(bounds::TIMEOUT));
    let rate = table.get_or("rate", default.rate, rate);
    let max_concurrent = table.get_or("max_concurrent", default.max_concurrent, |item| {
        item.count(bounds::MAX_CONCURRENT)
    });
    let backoff = || duration(bounds::BACKOFF);
    let min_backoff = table.get_or("min_backoff", default.min_backoff, backoff());
    let max_backoff = table.get_or("max_backoff", default.max_backoff, backoff());
    if table.is_good("min_backoff") && table.is_good("max_backoff") && min_backoff > max_backoff {
        let (min, max) = (show_duration(min_backoff), show_duration(max_backoff));
        let key = if table.is_set("min_backoff") { "min_backoff" } else { "max_backoff" };
        table.report(key, format!("min_backoff ({min}) is more than max_backoff ({max})"));
    }
    let max_retry_duration = table.get_or(
        "max_retry_duration",
        default.max_retry_duration,
        duration(bounds::MAX_RETRY_DURATION),
    );
    let max_body = table.get_or("max_body", default.max_body, |item| {
        let bytes = size(bounds::CALLBACK_BODY)(item)?;
        usize::try_from(bytes).map_err(|_| "too large for this machine".to_owned())
    });
    if let Some(url) = &url {
        listeners.call(table, "url", url.clone());
    }
    table.finish(vocabulary::CALLBACK.later);
    Some(Callback {
        url: url?,
        secrets: secrets?,
        headers,
        timeout,
        rate,
        max_concurrent: max_concurrent.get(),
        min_backoff,
        max_backoff,
        max_retry_duration,
        max_body,
    })
}

/// One, or several with white space between them: while a secret is changed both sign.
fn secrets(item: &Item<'_>) -> Result<Vec<Secret>, String> {
    let text = item.secret_file(bounds::TOKENS_FILE)?;
    let secrets = text.split_whitespace().map(Secret::parse).collect::<Result<Vec<_>, _>>()?;
    match secrets.len() {
        0 => Err("the file is empty; it holds the secret that signs, whsec_ and base64".to_owned()),
        count if count > bounds::CALLBACK_SECRETS => Err(format!(
            "{count} secrets; at most {} are allowed, to change one for another",
            bounds::CALLBACK_SECRETS
        )),
        _ => Ok(secrets),
    }
}
