//! The words of `tollgate check --explain`.

use clap::{Args, ValueEnum};

use super::delivery_parser;
use crate::broker::course::Delivery;
use crate::cli::values::{HeaderArg, TargetName, header, target_name};

/// An answer to be explained.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Say what an answer of this target would mean, and what would follow from it
    #[arg(long, value_name = "TARGET", value_parser = target_name, requires = "status")]
    pub explain: Option<TargetName>,
    /// The answer's status
    #[arg(long, value_name = "CODE", requires = "explain",
          value_parser = clap::value_parser!(u16).range(100..=999))]
    pub status: Option<u16>,
    /// A header of the answer; may be given several times
    #[arg(long = "header", short = 'H', value_name = "NAME:VALUE", requires = "explain",
          value_parser = header)]
    pub headers: Vec<HeaderArg>,
    /// The answer's body: text, @FILE, or - for standard input
    #[arg(long, value_name = "TEXT|@FILE|-", requires = "explain", allow_hyphen_values = true)]
    pub body: Option<String>,
    /// It is the answer to a question, not to the job's own request
    #[arg(long, value_name = "QUESTION", requires = "explain")]
    pub question: Option<Question>,
    /// Of a job with a delivery of its own
    #[arg(long, value_name = "DELIVERY", requires = "explain", value_parser = delivery_parser())]
    pub delivery: Option<Delivery>,
    /// The path that the job was sent to; a relative status address starts there
    #[arg(
        long,
        value_name = "PATH",
        requires = "explain",
        default_value = "/",
        hide_default_value = true
    )]
    pub path: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Question {
    /// After an unknown outcome: was it done?
    Verify,
    /// After a 202: how does it go?
    Poll,
}
