//! An API that takes orders, keeps books of them, and breaks the connection of every fifth, the work
//! done. It can be asked for each order, and tells the truth.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// What the API knows of one order, by its `Idempotency-Key`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Order {
    pub(crate) arrivals: u32,
    /// How often its work was done.
    pub(crate) works: u32,
    /// Arrivals that got no answer, or half of one.
    pub(crate) broken: u32,
    /// Questions for it.
    pub(crate) asked: u32,
    /// As `Tollgate-Job-Id` says.
    pub(crate) job: String,
}

#[derive(Debug, Default)]
struct Books {
    orders: BTreeMap<String, Order>,
    arrivals: u32,
}

pub(crate) struct Orders {
    pub(crate) address: SocketAddr,
    books: Arc<Mutex<Books>>,
    arrivals: watch::Sender<u32>,
}

impl Orders {
    pub(crate) async fn start() -> Orders {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let books: Arc<Mutex<Books>> = Arc::default();
        let (arrivals, _) = watch::channel(0);
        let kept = books.clone();
        let counter = arrivals.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (books, counter) = (kept.clone(), counter.clone());
                let service =
                    service_fn(move |request| answer(request, books.clone(), counter.clone()));
                // A connection that breaks is what this is about.
                tokio::spawn(async move {
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Orders { address, books, arrivals }
    }

    /// Waits until so many requests for work have arrived.
    pub(crate) async fn until_arrivals(&self, mark: u32) {
        let mut arrivals = self.arrivals.subscribe();
        arrivals.wait_for(|arrivals| *arrivals >= mark).await.unwrap();
    }

    pub(crate) fn orders(&self) -> BTreeMap<String, Order> {
        self.books.lock().unwrap().orders.clone()
    }
}

fn say(status: u16, headers: &[(&str, &str)], body: String) -> Response<Full<Bytes>> {
    let mut response =
        Response::builder().status(status).header("content-type", "application/json");
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Full::new(Bytes::from(body))).unwrap()
}

/// `Err`: the connection breaks.
async fn answer(
    request: Request<Incoming>,
    books: Arc<Mutex<Books>>,
    counter: watch::Sender<u32>,
) -> Result<Response<Full<Bytes>>, &'static str> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| "it broke")?.to_bytes();
    let named = |name: &str| {
        head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let mut books = books.lock().unwrap();
    let path = head.uri.path();
    if head.method == Method::GET {
        let key = path.rsplit('/').next().unwrap_or_default();
        let order = books.orders.entry(key.to_owned()).or_default();
        order.asked += 1;
        let receipt = format!("{{\"order\":\"{key}\",\"works\":{}}}", order.works);
        return Ok(match (path.starts_with("/status/"), order.works) {
            // Work that was begun is done when it was asked for twice.
            (true, _) if order.asked < 2 => say(200, &[], "{\"state\":\"busy\"}".to_owned()),
            (true, _) => say(200, &[], "{\"state\":\"finished\"}".to_owned()),
            (false, 0) => say(404, &[], "{}".to_owned()),
            (false, _) => say(200, &[], receipt),
        });
    }
    books.arrivals += 1;
    let number = books.arrivals;
    counter.send_replace(number);
    let key = named("idempotency-key");
    let order = books.orders.entry(key.clone()).or_default();
    order.arrivals += 1;
    order.job = named("tollgate-job-id");
    // Every fifth breaks with its work done, every twentieth before.
    if number % 20 == 7 {
        order.broken += 1;
        return Err("nothing was done");
    }
    order.works += 1;
    if number % 5 == 3 {
        order.broken += 1;
        return Err("it was done");
    }
    if path.starts_with("/slow") {
        let location = format!("/status/{key}");
        return Ok(say(202, &[("location", &location)], "{}".to_owned()));
    }
    Ok(say(200, &[], format!("{{\"order\":\"{key}\",\"bytes\":{}}}", body.len())))
}
