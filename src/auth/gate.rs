//! What stands before every route, those that do not exist included.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{
    AUTHORIZATION, CONTENT_SECURITY_POLICY, PROXY_AUTHORIZATION, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Access, Caller, Found, MetricsAccess, Rules, Tokens};
use crate::http_api::problem::{Kind, Problem};

/// Which listener it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Data,
    /// A target's own port: every path is the target's.
    Sidecar,
    Admin,
}

#[derive(Clone, Debug)]
pub(crate) struct Gate {
    pub(crate) access: Access,
    pub(crate) place: Place,
}

/// For `axum::middleware::from_fn_with_state`.
pub(crate) async fn stand_before(
    State(gate): State<Gate>,
    mut request: Request,
    next: Next,
) -> Response {
    let rules = gate.access.rules();
    let proxied = gate.place.is_proxied(request.uri().path());
    if let Err(stranger) = rules.hosts.check(&request, proxied) {
        return Problem::from(stranger).into_response();
    }
    let by_browser = request.headers().contains_key("sec-fetch-dest");
    let mut response = match gate.place.caller(&rules, &mut request) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(no) => return no.into_response(),
    };
    if proxied && by_browser {
        // A page of the target's is not one of ours: its scripts could hand in jobs for others.
        let headers = response.headers_mut();
        headers.append(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
    response
}

/// Why a request is not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum No {
    Anonymous(Place),
    UnknownToken,
    /// Good, but for the other address.
    OtherRole(Place),
}

impl Place {
    /// What is open to everybody: files without a secret in them, and what a supervisor asks.
    fn is_open(self, path: &str, rules: &Rules) -> bool {
        self == Place::Admin
            && (matches!(path, "/" | "/healthz" | "/readyz")
                || path.starts_with("/console/")
                || (path == "/metrics" && rules.metrics == MetricsAccess::Open))
    }

    fn caller(self, rules: &Rules, request: &mut Request) -> Result<Caller, No> {
        let (own, other) = match self {
            Place::Data | Place::Sidecar => (&rules.submit, &rules.admin),
            Place::Admin => (&rules.admin, &rules.submit),
        };
        let path = request.uri().path();
        let proxied = self.is_proxied(path);
        let caller = match own.as_ref().filter(|_| !self.is_open(path, rules)) {
            Some(own) => self.among(own, other.as_ref(), request.headers(), proxied),
            None => Ok(Caller::default()),
        };
        if proxied {
            take_off_ours(request.headers_mut(), rules);
        }
        caller
    }

    fn among(
        self,
        own: &Tokens,
        other: Option<&Tokens>,
        headers: &HeaderMap,
        proxied: bool,
    ) -> Result<Caller, No> {
        let mut presented = None;
        let places = if proxied { &EITHER[..] } else { &[AUTHORIZATION] };
        for header in places {
            let Some(token) = only_bearer(headers, header) else { continue };
            presented = Some(token);
            if let Some(Found { name, targets }) = own.find(token) {
                return Ok(Caller { name, targets });
            }
        }
        match presented {
            None => Err(No::Anonymous(self)),
            Some(token) if is_among(other, token) => Err(No::OtherRole(self)),
            Some(_) => Err(No::UnknownToken),
        }
    }

    /// Whether what is asked for is a target's.
    fn is_proxied(self, path: &str) -> bool {
        let below = || path.strip_prefix("/proxy");
        match self {
            Place::Sidecar => true,
            Place::Data => below().is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            Place::Admin => false,
        }
    }
}

/// Where a token of ours may be for a request that is a target's: there `Authorization` is the
/// target's own, unless it holds one of ours.
const EITHER: [HeaderName; 2] = [PROXY_AUTHORIZATION, AUTHORIZATION];

/// No token of ours reaches a target, whichever it is and wherever it stands.
fn take_off_ours(headers: &mut HeaderMap, rules: &Rules) {
    let is_ours = |value: &&HeaderValue| {
        let of = |tokens: &Option<Tokens>| {
            bearer(value).is_some_and(|token| is_among(tokens.as_ref(), token))
        };
        of(&rules.submit) || of(&rules.admin)
    };
    for name in EITHER {
        if headers.get_all(&name).iter().any(|value| is_ours(&value)) {
            let all = headers.get_all(&name).iter();
            let theirs: Vec<HeaderValue> = all.filter(|value| !is_ours(value)).cloned().collect();
            headers.remove(&name);
            for value in theirs {
                headers.append(&name, value);
            }
        }
    }
}

fn is_among(tokens: Option<&Tokens>, token: &[u8]) -> bool {
    tokens.is_some_and(|tokens| tokens.find(token).is_some())
}

/// More than one such header is none.
fn only_bearer<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { bearer(value) }
}

/// The credentials of the scheme Bearer, whose name is written in any case (RFC 9110, 11.1).
fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = value.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

impl IntoResponse for No {
    fn into_response(self) -> Response {
        let (kind, detail, challenge) = match self {
            No::Anonymous(Place::Admin) => (
                Kind::Unauthorized,
                "the admin address asks for a token: send `Authorization: Bearer …` with one of \
                 auth.admin_tokens_file (TOLLGATE_TOKEN for the commands)",
                Some("Bearer realm=\"tollgate admin\""),
            ),
            No::Anonymous(Place::Data) => (
                Kind::Unauthorized,
                "this address asks for a token: send `Authorization: Bearer …` with one of \
                 auth.submit_tokens_file (TOLLGATE_TOKEN for the commands)",
                Some("Bearer realm=\"tollgate\""),
            ),
            No::Anonymous(Place::Sidecar) => (
                Kind::Unauthorized,
                "this port asks for a token: send `Proxy-Authorization: Bearer …` (or \
                 `Authorization`, which then does not reach the target) with one of \
                 auth.submit_tokens_file",
                Some("Bearer realm=\"tollgate\""),
            ),
            No::UnknownToken => (
                Kind::Unauthorized,
                "the token is not known here",
                Some("Bearer realm=\"tollgate\", error=\"invalid_token\""),
            ),
            No::OtherRole(Place::Admin) => (
                Kind::Forbidden,
                "this token is for handing jobs in; the admin address needs one of \
                 auth.admin_tokens_file",
                None,
            ),
            No::OtherRole(Place::Data | Place::Sidecar) => (
                Kind::Forbidden,
                "this token is for the admin address; handing jobs in needs one of \
                 auth.submit_tokens_file",
                None,
            ),
        };
        let mut response = Problem::new(kind, detail).into_response();
        if let Some(challenge) = challenge {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules {
            submit: Some(Tokens::parse("shop:aaa targets=erp").unwrap()),
            admin: Some(Tokens::parse("ops:bbb").unwrap()),
            ..Rules::default()
        }
    }

    fn ask(place: Place, path: &str, headers: &[(&str, &str)]) -> (Result<Caller, No>, HeaderMap) {
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(axum::body::Body::empty()).unwrap();
        let caller = place.caller(&rules(), &mut request);
        (caller, request.headers().clone())
    }

    #[test]
    fn each_address_has_its_own_tokens() {
        let with = |place, token: &str| ask(place, "/v1/jobs", &[("authorization", token)]).0;
        let shop = with(Place::Data, "Bearer aaa").unwrap();
        assert_eq!(shop.name.as_deref(), Some("shop"));
        assert!(shop.may_use("erp") && !shop.may_use("crm"));
        assert_eq!(with(Place::Admin, "bEaReR  bbb").unwrap().name.as_deref(), Some("ops"));
        assert_eq!(with(Place::Data, "Bearer bbb"), Err(No::OtherRole(Place::Data)));
        assert_eq!(with(Place::Admin, "Bearer aaa"), Err(No::OtherRole(Place::Admin)));
        assert_eq!(with(Place::Data, "Bearer aa"), Err(No::UnknownToken));
        for none in ["", "Bearer", "Basic aaa", "aaa"] {
            assert_eq!(with(Place::Data, none), Err(No::Anonymous(Place::Data)), "{none}");
        }
        let twice = [("authorization", "Bearer aaa"), ("authorization", "Bearer aaa")];
        assert_eq!(ask(Place::Data, "/v1/jobs", &twice).0, Err(No::Anonymous(Place::Data)));
    }

    #[test]
    fn behind_the_proxy_a_token_of_ours_is_taken_off_and_the_target_s_own_is_not() {
        for (place, path) in [(Place::Data, "/proxy/erp/x"), (Place::Sidecar, "/x")] {
            let both = [("proxy-authorization", "Bearer aaa"), ("authorization", "Basic own")];
            let (caller, headers) = ask(place, path, &both);
            assert!(caller.is_ok());
            assert_eq!(headers.get(AUTHORIZATION).unwrap(), "Basic own");
            assert!(!headers.contains_key(PROXY_AUTHORIZATION));
            let (caller, headers) = ask(place, path, &[("authorization", "Bearer aaa")]);
            assert!(caller.is_ok());
            assert!(!headers.contains_key(AUTHORIZATION));
        }
        let (caller, _) = ask(Place::Data, "/v1/jobs", &[("proxy-authorization", "Bearer aaa")]);
        assert_eq!(caller, Err(No::Anonymous(Place::Data)));
        let (caller, _) = ask(Place::Data, "/proxyerp", &[("proxy-authorization", "Bearer aaa")]);
        assert!(caller.is_err());
    }

    #[test]
    fn no_token_of_ours_reaches_a_target_however_many_there_are() {
        let ours = [
            ("proxy-authorization", "Bearer aaa"),
            ("authorization", "Bearer aaa"),
            ("authorization", "bearer bbb"),
            ("authorization", "Bearer theirs"),
        ];
        for (place, path) in [(Place::Data, "/proxy/erp/x"), (Place::Sidecar, "/x")] {
            let (caller, headers) = ask(place, path, &ours);
            assert!(caller.is_ok());
            let left: Vec<_> = headers.get_all(AUTHORIZATION).iter().collect();
            assert_eq!(left, ["Bearer theirs"]);
            assert!(!headers.contains_key(PROXY_AUTHORIZATION));
        }
        // Where anybody may hand in.
        let request = Request::builder().uri("/proxy/erp/");
        let request = request.header("authorization", "Bearer bbb");
        let rules = Rules { submit: None, ..rules() };
        let mut request = request.body(axum::body::Body::empty()).unwrap();
        assert_eq!(Place::Data.caller(&rules, &mut request), Ok(Caller::default()));
        assert!(request.headers().is_empty());
    }

    #[test]
    fn health_and_the_page_s_own_files_are_open_and_nothing_else() {
        for open in ["/", "/healthz", "/readyz", "/console/console.js"] {
            assert_eq!(ask(Place::Admin, open, &[]).0, Ok(Caller::default()), "{open}");
            assert!(open == "/console/console.js" || ask(Place::Data, open, &[]).0.is_err());
        }
        for shut in ["/metrics", "/v1/targets", "/openapi.json", "/console", "/nowhere", "//"] {
            assert_eq!(ask(Place::Admin, shut, &[]).0, Err(No::Anonymous(Place::Admin)), "{shut}");
        }
        let open = Rules { metrics: MetricsAccess::Open, ..rules() };
        assert!(Place::Admin.is_open("/metrics", &open));
        assert!(!Place::Data.is_open("/metrics", &open));
    }

    #[test]
    fn without_a_file_of_tokens_everybody_may() {
        let mut request = Request::new(axum::body::Body::empty());
        let rules = Rules::default();
        assert_eq!(Place::Data.caller(&rules, &mut request), Ok(Caller::default()));
        assert_eq!(Place::Admin.caller(&rules, &mut request), Ok(Caller::default()));
    }
}
