//! Pages of jobs: full ones where that takes a bounded effort.

use serde::Serialize;
use utoipa::ToSchema;

use crate::broker::job::JobId;
use crate::handle::Directory;
use crate::http_api::json::JobJson;
use crate::store::{Filter, JobRecord, Page};

use super::params::Paging;
use super::records::{ReadError, Records};

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JobPage {
    /// Without their answers.
    jobs: Vec<JobJson>,
    /// To be given as `after` for the next page; null at the end.
    next: Option<String>,
}

impl JobPage {
    pub(super) fn new(page: &Page, directory: &Directory) -> JobPage {
        JobPage {
            jobs: page.jobs.iter().map(|record| JobJson::new(record, directory, None)).collect(),
            next: page.next.map(|id| id.to_string()),
        }
    }
}

/// How often the store is asked for one page. It looks at a bounded number of rows each time.
const MOST_READS: usize = 16;

/// The jobs that pass any of `filters`, by id. No job may pass two of them.
pub(super) fn fill(
    records: &dyn Records,
    filters: &[Filter],
    paging: Paging,
) -> Result<Page, ReadError> {
    let mut full = Page { jobs: Vec::new(), next: paging.after };
    for _ in 0..MOST_READS {
        let wanted = paging.limit - full.jobs.len();
        let mut parts = Vec::with_capacity(filters.len());
        for filter in filters {
            parts.push(records.list(filter, full.next, wanted)?);
        }
        let page = merge(parts, wanted);
        full.jobs.extend(page.jobs);
        full.next = page.next;
        if full.next.is_none() || full.jobs.len() >= paging.limit {
            break;
        }
    }
    Ok(full)
}

/// Pages that were read from the same place into one. What lies beyond the end of a part that has
/// more is left for the next page, because that part may have something to put before it.
fn merge(parts: Vec<Page>, limit: usize) -> Page {
    let end: Option<JobId> = parts.iter().filter_map(|part| part.next).min();
    let mut jobs: Vec<JobRecord> = parts.into_iter().flat_map(|part| part.jobs).collect();
    jobs.sort_by_key(|job| job.header.id);
    if let Some(end) = end {
        jobs.retain(|job| job.header.id <= end);
    }
    if jobs.len() > limit {
        jobs.truncate(limit);
        return Page { next: jobs.last().map(|job| job.header.id), jobs };
    }
    Page { jobs, next: end }
}
