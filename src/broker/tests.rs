//! Tests of the core by hand; the promises are tried by `crate::sim`.
