use std::sync::atomic::Ordering;

use super::world::{World, expired, failed, id, record};
use crate::admin::pages;
use crate::admin::params::Paging;
use crate::admin::records::{Part, Records};
use crate::broker::job::JobState;
use crate::store::Filter;

fn fill(world: &World, limit: usize, after: Option<String>) -> Part {
    let filter = Filter { state: Some(JobState::Expired), ..Filter::default() };
    let paging = Paging { limit, after };
    pages::fill(paging, |after, limit| world.shelf.list(&filter, after, limit)).unwrap()
}

#[test]
fn pages_make_one_list_whatever_a_look_takes() {
    let world = World::new();
    let mut wanted = Vec::new();
    for n in 1..=100 {
        // Uneven: long stretches of what is not asked for.
        let is_wanted = n % 7 == 0 || (40..60).contains(&n);
        world.shelf.put(record(n, if is_wanted { expired() } else { failed() }));
        if is_wanted {
            wanted.push(n);
        }
    }
    for rows_a_look in [0, 1, 3, 10, 99] {
        world.shelf.rows_a_look.store(rows_a_look, Ordering::SeqCst);
        for limit in [1, 2, 7, 50, 500] {
            let mut walked = Vec::new();
            let mut page = fill(&world, limit, None);
            loop {
                assert!(page.jobs.len() <= limit);
                walked.extend(page.jobs.iter().map(|job| job.header.id.0 - id(0).0));
                match page.next {
                    Some(next) => page = fill(&world, limit, Some(next)),
                    None => break,
                }
            }
            assert_eq!(walked, wanted, "{rows_a_look} rows a look, {limit} jobs a page");
        }
    }
}

#[test]
fn a_page_takes_a_bounded_effort() {
    let world = World::new();
    for n in 1..=1_000 {
        world.shelf.put(record(n, failed()));
    }
    world.shelf.rows_a_look.store(10, Ordering::SeqCst);
    let page = fill(&world, 50, None);
    assert!(page.jobs.is_empty());
    assert_eq!(page.next, Some(format!("+{}", id(40))), "4 looks of 10 rows");
    assert_eq!(world.shelf.lists.load(Ordering::SeqCst), 4);
}
