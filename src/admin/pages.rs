//! Pages of jobs: full ones where that takes a bounded effort.

use serde::Serialize;
use utoipa::ToSchema;

use crate::handle::Directory;
use crate::http_api::json::JobJson;

use super::params::Paging;
use super::records::{Part, ReadError};

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JobPage {
    /// Without their answers.
    jobs: Vec<JobJson>,
    /// To be given as `after` for the next page, with the same filters; null at the end.
    next: Option<String>,
}

impl JobPage {
    pub(super) fn new(part: &Part, directory: &Directory) -> JobPage {
        JobPage {
            jobs: part.jobs.iter().map(|record| JobJson::new(record, directory, None)).collect(),
            next: part.next.clone(),
        }
    }
}

/// How often the store is asked for one page. It looks at a bounded number of rows each time.
const MOST_READS: usize = 4;

/// Reads on until the page is full, the list ends or the effort is spent.
pub(super) fn fill(
    paging: Paging,
    mut read: impl FnMut(Option<&str>, usize) -> Result<Part, ReadError>,
) -> Result<Part, ReadError> {
    let mut page = Part { jobs: Vec::new(), next: paging.after };
    for _ in 0..MOST_READS {
        let part = read(page.next.as_deref(), paging.limit - page.jobs.len())?;
        page.jobs.extend(part.jobs);
        page.next = part.next;
        if page.next.is_none() || page.jobs.len() >= paging.limit {
            break;
        }
    }
    Ok(page)
}
