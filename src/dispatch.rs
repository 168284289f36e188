//! One attempt: a job becomes a request; its answer, or its failure, becomes an `Outcome`.
