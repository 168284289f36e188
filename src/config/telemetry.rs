//! Values of `[telemetry]` that are about traces.

use toml::de::DeValue;

use super::item::Item;
use super::url::base_url;
use crate::trace::Ratio;

/// A collector's OTLP/gRPC address: scheme, host and port, and nothing behind them.
pub(super) fn endpoint(item: &Item<'_>) -> Result<http::Uri, String> {
    let url = base_url(item)?;
    if url.path() != "/" {
        return Err("an OTLP/gRPC address has no path, like \"http://127.0.0.1:4317\"; a path \
                    such as /v1/traces belongs to OTLP over HTTP, which is not spoken here"
            .to_owned());
    }
    match url.port_u16() {
        None => Err("the port is missing; OTLP/gRPC's own is 4317".to_owned()),
        Some(4318) => Err("4318 is the port of OTLP over HTTP, which is not spoken here; \
                           collectors take OTLP/gRPC at 4317"
            .to_owned()),
        Some(_) => Ok(url),
    }
}

pub(super) fn ratio(item: &Item<'_>) -> Result<Ratio, String> {
    let ratio = match item.value {
        DeValue::Float(float) => float.as_str().replace('_', "").parse::<f64>().ok(),
        DeValue::Integer(_) => item.whole(0..=1).ok().map(|whole| whole as f64),
        _ => None,
    };
    ratio
        .and_then(Ratio::new)
        .ok_or_else(|| "expected a share from 0 to 1, without quotes, like 0.1".to_owned())
}
