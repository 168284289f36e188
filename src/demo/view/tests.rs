use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Cell;

use super::*;
use crate::broker::job::JobId;
use crate::demo::auditor::{Books, Caller, SECOND};
use crate::demo::ledger::Glance;
use crate::demo::snapshot::{Phase, QueueLine};
use crate::demo::stage;

fn scene() -> Scene {
    Scene {
        data: ([127, 0, 0, 1], 7070).into(),
        admin: ([127, 0, 0, 1], 7071).into(),
        target: "erp".into(),
        limit: stage::tests::limit(20, SECOND, 1),
        most_in_a_second: 20,
        duration: Some(30 * SECOND),
    }
}

fn moment() -> Snapshot {
    let mut books = Books::default();
    for n in 0..25_u32 {
        let caller = Caller {
            job: Some(JobId(u128::from(n))),
            attempt: Some(n + 1),
            idempotency_key: Some("key".into()),
            priority: Some(Priority::High),
        };
        let at = Mono::ZERO + 8 * SECOND + n * SECOND / 50;
        books.arrive(at, caller, |number, _| if number < 20 { Fate::Done } else { Fate::Limited });
    }
    let now = Mono::ZERO + 9 * SECOND;
    let jobs = Glance { acknowledged: 61, done: 20, dead: 1, lost: 0 };
    let mut snapshot = Snapshot::take(&scene(), Phase::Traffic, now, None, &books, jobs);
    snapshot.blocked = Some(BlockedOn::Refused);
    let queue = QueueLine { depth: 42, waiting_for_retry: 2, running: 3, ..QueueLine::default() };
    snapshot.queues[2] = QueueLine { oldest: Some(75 * SECOND), ..queue };
    snapshot
}

fn drawn(width: u16, height: u16, now: &Snapshot) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, &scene(), now)).unwrap();
    let buffer = terminal.backend().buffer();
    let cells = buffer.content.chunks(usize::from(width));
    cells.map(|row| row.iter().map(Cell::symbol).collect()).collect()
}

#[test]
fn everything_that_matters_is_on_the_screen() {
    let screen = drawn(100, 36, &moment());
    let has = |wanted: &str| {
        let row = screen.iter().find(|row| row.contains(wanted));
        row.unwrap_or_else(|| panic!("no {wanted:?} in\n{}", screen.join("\n"))).clone()
    };
    has("9.0 s of 30.0 s   jobs come in");
    has("console http://127.0.0.1:7071/");
    has("target erp: 20 a second, burst 1, 4 at once   held back: the API asked for a pause");
    let batch = has("BATCH");
    let cells: Vec<&str> = batch.split_whitespace().collect();
    assert_eq!(cells, ["│BATCH", "40", "2", "1", "m", "15", "s", "3", "0", "0", "│"]);
    has("24 in the last second, 25 at most, limit 20");
    has("200: 20");
    has("429: 5");
    has("jobs in 61, done 20, dead 1; requests repeated 0");
    has(&format!("8.48 s  HIGH   {}  attempt 25  → 429", JobId(24)));
    has("q or Ctrl-C ends");
}

#[test]
fn only_what_is_over_the_limit_reaches_above_its_line() {
    let limit_row = |now: &Snapshot| {
        let screen = drawn(100, 36, now);
        let row = screen.iter().find(|row| row.contains('╌')).cloned();
        row.unwrap().chars().filter(|symbol| !"╌│".contains(*symbol)).count()
    };
    let mut now = moment();
    now.per_second = vec![0, 19, 20, 20, 1];
    assert_eq!(limit_row(&now), 0);
    now.per_second = vec![0, 19, 24, 20, 25];
    assert_eq!(limit_row(&now), 2 * BAR);
}

#[test]
fn no_terminal_is_too_small() {
    for (width, height) in [(1, 1), (3, 2), (20, 5), (40, 12), (300, 4), (10, 100)] {
        assert_eq!(drawn(width, height, &moment()).len(), usize::from(height));
    }
}

#[test]
fn a_line_says_the_same_in_short() {
    let mut now = moment();
    assert_eq!(
        line(&scene(), &now),
        " 9.0 s  waiting: HIGH 0 NORMAL 0 BATCH 42 (1 m 15 s)  |  rate 24 of 20  |  jobs in 61 \
         done 20 dead 1  |  refused 5 wrong 0"
    );
    now.jobs.lost = 1;
    assert!(line(&scene(), &now).ends_with("  |  LOST 1 FAULTS 0"));
    assert!(introduction(&scene()).contains("http://127.0.0.1:7071/"));
}

#[test]
fn times_and_rates_are_short() {
    assert_eq!(age(Duration::from_millis(59_949)), "59.9 s");
    assert_eq!(age(61 * SECOND), "1 m 01 s");
    assert_eq!(age(3_660 * SECOND), "1 h 01 m");
    assert_eq!([20.0, 0.5, 16.666].map(plain_number), ["20", "0.5", "16.67"]);
}
