//! Against real sockets on loopback.

mod answers;
mod http2;
mod keep_alive;
mod legacy;
mod names;
mod questions;
mod requests;
mod sent;
mod tls;
