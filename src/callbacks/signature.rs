//! Signatures as the Standard Webhooks specification 1.0.0 has them ("Signature scheme", "Webhook
//! headers").

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use crate::config::Secret;

pub(super) const ID: &str = "webhook-id";
pub(super) const TIMESTAMP: &str = "webhook-timestamp";
pub(super) const SIGNATURE: &str = "webhook-signature";

/// The value of `webhook-signature`: one for each secret, with spaces between them. `timestamp`: of
/// this try, in seconds since the epoch.
pub(super) fn sign(secrets: &[Secret], id: &str, timestamp: u64, body: &[u8]) -> String {
    let one = |secret: &Secret| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.reveal());
        let mut context = hmac::Context::with_key(&key);
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    };
    secrets.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const AT: u64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    /// The vector that the specification's own libraries are tested with (`libraries/*`, "sign
    /// function works").
    #[test]
    fn the_specifications_own_vector() {
        let secret = Secret::parse(SECRET).unwrap();
        assert_eq!(sign(std::slice::from_ref(&secret), ID, AT, BODY), SIGNATURE);
    }

    #[test]
    fn each_secret_signs_and_all_that_is_signed_counts() {
        let old = Secret::parse(SECRET).unwrap();
        let new = Secret::parse("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").unwrap();
        let both = sign(&[new.clone(), old.clone()], ID, AT, BODY);
        let (first, second) = both.split_once(' ').unwrap();
        assert_eq!(second, SIGNATURE);
        assert_eq!(first, sign(&[new], ID, AT, BODY));
        let old = [old];
        for other in [
            sign(&old, "msg_other", AT, BODY),
            sign(&old, ID, AT + 1, BODY),
            sign(&old, ID, AT, b"{}"),
        ] {
            assert_ne!(other, SIGNATURE);
        }
    }
}
