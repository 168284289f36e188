//! What the screen shows, and what keys do to it.

use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Cell;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;

use super::feed::Events;
use super::news::{News, TargetJobs};
use super::state::{Contact, Do, Over, Page, Top};
use super::style::Style;
use super::view;

fn news(json: &str) -> News {
    serde_json::from_str(json).unwrap()
}

/// Two targets: one with something of everything, and one that is idle.
fn all() -> News {
    news(
        r#"{"at":"2026-01-31T08:00:00Z","full":true,
        "daemon":{"version":"0.1.0","state":"ready"},
        "step_functions":{"state":"retrying","pending_answers":3,
            "trouble":{"with":"answers","since":"2026-01-31T07:59:00Z","error":"Rate exceeded"}},
        "recent":{"erp":[0,1,5,10,10,9]},
        "targets":[
          {"name":"crm","configured":true,"url":"http://crm","rate_in_force_per_second":50,
           "priorities":{"HIGH":{"depth":0},"NORMAL":{"depth":0},"BATCH":{"depth":0}},
           "limit":{"rate":"50/s","rate_per_second":50,"max_concurrent":8},
           "totals":{"sent":0}},
          {"name":"erp","configured":true,"url":"https://erp.example/api","in_flight":3,
           "priorities":{
             "HIGH":{"depth":12,"oldest_age_seconds":2.4,"estimated_drain_seconds":1.2},
             "NORMAL":{"depth":1204,"oldest_age_seconds":192,"estimated_drain_seconds":121},
             "BATCH":{"depth":50000,"oldest_age_seconds":7500,"estimated_drain_seconds":null}},
           "blocked":{"on":"window","window":"100/min","until":"2026-01-31T08:00:30Z"},
           "held_back_by":{"on":"window","share":0.617,"hint":"a window of its limit"},
           "waiting":7,"scheduled":2,"dead":41,"breaker_open":true,"held_groups":1,
           "rate_in_force_per_second":5,
           "limit":{"rate":"10/s","rate_per_second":10,"max_concurrent":10,"held_places":1,
             "windows":[{"window":"100/min","left":0,"free_again_at":"2026-01-31T08:00:30Z"}],
             "quota":{"count":20000,"per":"day","timezone":"Europe/Berlin","left":4321,
               "reserved_high":4000,"resets_at":"2026-01-31T23:00:00Z"}},
           "share":[{"name":"mainframe","rate":"1000/min","max_concurrent":8,"in_flight":5}],
           "schedule":{"timezone":"Europe/Berlin","today":[
             {"from":"2026-01-30T23:00:00Z","to":"2026-01-31T01:00:00Z","rate":null},
             {"from":"2026-01-31T01:00:00Z","to":"2026-01-31T23:00:00Z","rate":"10/s"}]},
           "totals":{"sent":1000,"done":900,"refused":60,"rejected":10,"unknown":30}}]}"#,
    )
}

fn many(count: usize) -> News {
    let targets: Vec<String> = (0..count)
        .map(|number| {
            format!(
                r#"{{"name":"target-{number:02}","dead":{number},
                "priorities":{{"HIGH":{{"depth":{number}}},"NORMAL":{{"depth":20000}}}},
                "limit":{{"rate":"1/s","rate_per_second":1}},"totals":{{"sent":0}}}}"#
            )
        })
        .collect();
    let targets = targets.join(",");
    news(&format!(r#"{{"at":"2026-01-31T08:00:00Z","full":true,"targets":[{targets}]}}"#))
}

fn fresh() -> Top {
    Top::new("http://127.0.0.1:7071", Instant::now())
}

fn top(heard: News) -> Top {
    let mut top = fresh();
    top.hear(heard);
    top
}

fn buffer(top: &mut Top, width: u16, height: u16, style: Style) -> ratatui::buffer::Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view::draw(frame, top, style)).unwrap();
    terminal.backend().buffer().clone()
}

/// Line by line.
fn drawn(top: &mut Top, width: u16, height: u16) -> Vec<String> {
    let buffer = buffer(top, width, height, Style::PLAIN);
    let rows = buffer.content.chunks(usize::from(width));
    rows.map(|row| row.iter().map(Cell::symbol).collect::<String>()).collect()
}

#[track_caller]
fn line<'a>(screen: &'a [String], wanted: &str) -> &'a str {
    let found = screen.iter().find(|line| line.contains(wanted));
    found.unwrap_or_else(|| panic!("no {wanted:?} in\n{}", screen.join("\n")))
}

fn press(top: &mut Top, keys: &str) -> Option<Do> {
    let mut last = None;
    for key in keys.split(' ') {
        let code = match key {
            "Enter" => KeyCode::Enter,
            "Esc" => KeyCode::Esc,
            "Up" => KeyCode::Up,
            "Down" => KeyCode::Down,
            "End" => KeyCode::End,
            "Home" => KeyCode::Home,
            "Backspace" => KeyCode::Backspace,
            other => KeyCode::Char(other.chars().next().unwrap()),
        };
        last = top.press(KeyEvent::new(code, KeyModifiers::NONE));
    }
    last
}

#[test]
fn what_is_stuck_is_seen_at_once() {
    let screen = drawn(&mut top(all()), 80, 24);
    assert!(screen[0].starts_with(" tollgate top   2 targets  51.2k waiting  9.7/s sent  41 dead"));
    assert!(screen[0].ends_with("  live"), "{:?}", screen[0]);
    line(&screen, "Step Functions: retrying for 1m00s, 3 answers are pending: Rate exceeded");
    let erp = line(&screen, "erp  ");
    assert!(erp.contains("blocked: window 100/min"), "{erp}");
    assert!(erp.contains("9.7 of 5/s"), "{erp}");
    assert!(erp.trim_end().ends_with("▂████"), "{erp:?}");
    assert!(line(&screen, "HIGH          12  oldest 2s").contains("drained in 1.2s"));
    let normal = line(&screen, "NORMAL      1204  oldest 3m12s");
    assert!(normal.contains("7 to retry, 2 scheduled"), "{normal}");
    let batch = line(&screen, "BATCH      50.0k  oldest 2h05m  no end in sight");
    assert!(batch.contains("41 dead, breaker open"), "{batch}");
    assert!(line(&screen, "crm  ").contains("open"));
    assert!(screen[23].starts_with(" ↑↓ choose  Enter look into it  p pause or resume"));
}

#[test]
fn colour_only_where_it_is_wanted_and_never_alone() {
    let coloured = |style| {
        let buffer = buffer(&mut top(all()), 80, 24, style);
        buffer.content.iter().any(|cell| cell.fg != Color::Reset)
    };
    assert!(coloured(Style::COLOURED));
    assert!(!coloured(Style::PLAIN));
}

#[test]
fn no_target_one_target_and_nothing_heard_yet() {
    let mut asking = fresh();
    line(&drawn(&mut asking, 80, 24), "Asking the daemon…");
    let none = r#"{"at":"2026-01-31T08:00:00Z","full":true,"targets":[]}"#;
    let screen = drawn(&mut top(news(none)), 80, 24);
    line(&screen, "No targets: the configuration names none.");
    line(&screen, "0 targets  0 waiting");
    let screen = drawn(&mut top(many(1)), 80, 24);
    line(&screen, "1 target  20.0k waiting");
    line(&screen, "▸ target-00");
}

#[test]
fn many_targets_have_a_line_each_and_the_chosen_one_its_queues() {
    let mut top = top(many(40));
    let screen = drawn(&mut top, 80, 24);
    let rows = screen.iter().filter(|line| line.contains("target-")).count();
    assert_eq!(rows, 16 + 1, "{}", screen.join("\n"));
    line(&screen, "TARGET ");
    assert!(line(&screen, "▸ target-00").contains("20.0k"));
    line(&screen, "NORMAL     20.0k");

    press(&mut top, "End");
    let screen = drawn(&mut top, 80, 24);
    assert!(line(&screen, "▸ target-39").contains("39"), "{}", screen.join("\n"));
    assert!(!screen.iter().any(|line| line.contains("target-00")));
    press(&mut top, "k k j");
    line(&drawn(&mut top, 80, 24), "▸ target-38");
    // Who is chosen stays so when others go.
    top.hear(news(r#"{"at":"2026-01-31T08:00:01Z","gone":["target-00","target-01"]}"#));
    line(&drawn(&mut top, 80, 24), "▸ target-38");
    // When it goes itself, another is.
    top.hear(news(r#"{"at":"2026-01-31T08:00:02Z","gone":["target-38"]}"#));
    line(&drawn(&mut top, 80, 24), "▸ target-02");
}

#[test]
fn it_can_be_drawn_at_any_size() {
    for (width, height) in [(1, 1), (10, 3), (40, 10), (79, 23), (200, 60), (300, 2)] {
        for count in [0, 1, 40] {
            let mut top = top(many(count));
            for keys in ["?", "Esc", "Enter", "p", "n", "/"] {
                press(&mut top, keys);
                top.lose("connection refused".into());
                drawn(&mut top, width, height);
            }
        }
        let mut one = top(all());
        press(&mut one, "Down Enter");
        drawn(&mut one, width, height);
    }
    // What matters most is still there on a narrow screen.
    let screen = drawn(&mut top(many(40)), 60, 12);
    let row = line(&screen, "▸ target-");
    assert!(row.contains("20.0k"), "{row}");
}

#[test]
fn a_pause_needs_a_yes() {
    let mut top = top(all());
    press(&mut top, "Down p");
    let screen = drawn(&mut top, 80, 24);
    line(&screen, "Pause erp: nothing more is sent to it, also after a restart; 51,216 jobs wait");
    assert_eq!(press(&mut top, "n"), None);
    assert_eq!(top.over, None);
    let pause = Do::Pause { target: "erp".into(), pause: true };
    assert_eq!(press(&mut top, "p y"), Some(pause));
    top.say(Ok("erp is paused".into()));
    line(&drawn(&mut top, 80, 24), "erp is paused");

    top.hear(news(r#"{"at":"2026-01-31T08:00:01Z","targets":[{"name":"erp","paused":true}]}"#));
    line(&drawn(&mut top, 80, 24), "erp  paused");
    let resume = Do::Pause { target: "erp".into(), pause: false };
    assert_eq!(press(&mut top, "p y"), Some(resume));
    top.say(Err("the daemon is draining".into()));
    line(&drawn(&mut top, 80, 24), "the daemon is draining");
    // The next key has read it.
    press(&mut top, "Down");
    assert!(!drawn(&mut top, 80, 24).iter().any(|line| line.contains("draining")));
}

#[test]
fn a_target_is_looked_into_line_by_line() {
    let mut top = top(all());
    assert_eq!(press(&mut top, "Down Enter"), Some(Do::Look("erp".into())));
    let jobs = r#"{"jobs":[{"id":"0197a3b0-6d1e-7c55-b1b2-6f5a4f0c9e11","priority":"HIGH",
        "state":"waiting","attempts":2,"next_attempt_at":"2026-01-31T08:00:10Z",
        "history":[{"at":"2026-01-31T07:59:50Z","event":"unknown","attempt":2,"status":500},
                   {"at":"2026-01-31T07:59:50Z","event":"waiting"}]}],"next":null}"#;
    let none = || serde_json::from_str(r#"{"jobs":[]}"#).unwrap();
    let jobs = TargetJobs::new(none(), serde_json::from_str(jobs).unwrap(), none());
    top.see_jobs("crm", Err("of another".into()));
    assert!(top.jobs.is_none());
    top.see_jobs("erp", Ok(Box::new(jobs)));

    let screen = drawn(&mut top, 100, 60);
    line(&screen, "erp  blocked: window 100/min for 30s  https://erp.example/api");
    line(&screen, "held back 62 % of the time lately by a window of its limit");
    line(&screen, "1 group is held by a dead job");
    line(&screen, "BATCH               50,000       2h05m             -");
    line(&screen, "10/s  5/s in force now");
    line(&screen, "██████░░░░░░░░░░  3 of 10 places taken, 1 kept for what timed out");
    line(&screen, "window 100/min ░░░░░░░░░░░░░░░░  0 of 100 left, next in 30s");
    line(&screen, "4,321 of 20,000 left, 4,000 for HIGH only, full again in 15h00m");
    line(&screen, "open: one job at a time tries");
    line(&screen, "shared mainframe: 1000/min, with other targets");
    line(&screen, "5 of 8 places taken");
    line(&screen, "Today's schedule, Europe/Berlin");
    let strip = line(&screen, "░░░█");
    let cells = ['░', '█'].map(|part| strip.matches(part).count());
    assert_eq!(cells, [7, 87], "two hours of 24, and the others, in {strip}");
    line(&screen, "▲ now 09:00");
    line(&screen, "00:00-02:00  closed");
    line(&screen, "02:00-24:00  10/s");
    line(&screen, "1,000 sent: 900 done, 60 refused, 10 rejected, 30 unknown");
    let job = line(&screen, "0197a3b0-6d1e-7c55-b1b2-6f5a4f0c9e11 HIGH");
    assert!(job.contains("2× unknown 500 10s ago, next in 10s"), "{job}");

    // On a small screen it is scrolled, to its end and no further.
    press(&mut top, "End");
    let screen = drawn(&mut top, 80, 24);
    line(&screen, "0197a3b0");
    press(&mut top, "Up");
    let above = drawn(&mut top, 80, 24);
    assert_eq!(above[3..22], screen[2..21], "one line up");
    press(&mut top, "Esc");
    assert_eq!(top.page, Page::Overview);
    line(&drawn(&mut top, 80, 24), "▸ erp");

    // One that goes while it is looked into.
    press(&mut top, "Enter");
    top.hear(news(r#"{"at":"2026-01-31T08:00:02Z","gone":["erp"]}"#));
    line(&drawn(&mut top, 80, 24), "There is no target erp any more");
    assert_eq!(press(&mut top, "p"), None);
    assert_eq!(top.over, None, "nothing to pause");
}

#[test]
fn a_filter_is_typed_kept_and_cleared() {
    let mut top = top(many(40));
    assert_eq!(press(&mut top, "/ q p 3 Backspace Backspace Backspace T A R G E T - 3"), None);
    assert_eq!((top.filter.as_str(), &top.over), ("TARGET-3", &Some(Over::Typing)));
    let screen = drawn(&mut top, 80, 60);
    assert_eq!(screen.iter().filter(|line| line.contains("  target-")).count(), 9);
    line(&screen, "find: TARGET-3_");
    press(&mut top, "Enter");
    let screen = drawn(&mut top, 80, 24);
    line(&screen, "▸ target-30");
    line(&screen, "only \"TARGET-3\"");
    press(&mut top, "/ 9 9 Enter");
    line(&drawn(&mut top, 80, 24), "No target is named like \"TARGET-399\"");
    assert_eq!(press(&mut top, "Enter"), None);
    press(&mut top, "Esc");
    assert_eq!(top.shown().len(), 40);
}

#[test]
fn a_daemon_that_goes_away_is_said_and_what_was_known_stays() {
    let mut top = top(all());
    top.lose("connection refused".into());
    let Contact::Away { since, .. } = top.contact.clone() else { panic!() };
    top.tick(since + Duration::from_secs(72));
    top.lose("silent for 5 s".into());
    assert!(matches!(&top.contact, Contact::Away { since: still, .. } if *still == since));
    let screen = drawn(&mut top, 80, 24);
    line(&screen, "no answer for 1m12s: silent for 5 s; trying again. What is shown is old.");
    assert!(screen[0].ends_with("no answer"), "{:?}", screen[0]);
    line(&screen, "▸ crm");
    top.hear(all());
    assert!(drawn(&mut top, 80, 24)[0].ends_with("live"));
    let draining = r#"{"at":"2026-01-31T08:00:01Z",
        "daemon":{"state":"store_failed","reason":"the disk is full\u001b[2J"}}"#;
    top.hear(news(draining));
    let screen = drawn(&mut top, 80, 24);
    assert!(screen[0].ends_with("store_failed"), "{:?}", screen[0]);
    line(&screen, "the daemon: the disk is full\\u{1b}[2J");
}

#[test]
fn the_pace_goes_on_from_what_the_daemon_recorded() {
    let mut top = top(all());
    let sent = |top: &Top| top.known["erp"].sent.iter().copied().collect::<Vec<_>>();
    assert_eq!(sent(&top), [0.0, 1.0, 5.0, 10.0, 10.0, 9.0]);
    let at = |second: u32, sent: u32| {
        news(&format!(
            r#"{{"at":"2026-01-31T08:00:0{second}Z","targets":[{{"name":"erp","totals":{{"sent":{sent}}}}}]}}"#
        ))
    };
    top.hear(at(2, 1_010));
    assert_eq!(sent(&top)[6..], [5.0], "ten in two seconds");
    // No news is: nothing was sent.
    top.hear(news(r#"{"at":"2026-01-31T08:00:03Z"}"#));
    assert_eq!(sent(&top)[7..], [0.0]);
    // A restarted daemon counts from nought again.
    top.hear(at(4, 3));
    assert_eq!(sent(&top).len(), 8);
}

#[test]
fn help_tells_the_keys_and_leaving_is_told_apart() {
    let mut top = top(all());
    press(&mut top, "?");
    line(&drawn(&mut top, 80, 24), "pause or resume it, after a question");
    assert_eq!(press(&mut top, "x"), None);
    assert_eq!(top.over, None);
    assert_eq!(press(&mut top, "q"), Some(Do::Leave));
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(top.press(interrupt), Some(Do::Leave));
}

#[test]
fn names_steer_no_terminal() {
    let mut top = top(news(
        r#"{"at":"2026-01-31T08:00:00Z","full":true,"targets":[{"name":"a\u001b]0;x\u0007"}]}"#,
    ));
    for keys in ["p", "n", "Enter"] {
        press(&mut top, keys);
        let screen = drawn(&mut top, 80, 24).join("\n");
        assert!(!screen.contains(['\u{1b}', '\u{7}']), "{screen}");
    }
}

#[test]
fn events_come_in_parts_of_any_size() {
    let text =
        "event: targets\nid: 1\ndata: {\"a\":1}\n\n: a comment\n\ndata: 2\ndata: 3\n\ndata: 4";
    for size in [1, 2, 7, 1_000] {
        let (mut events, mut told) = (Events::default(), Vec::new());
        for part in text.as_bytes().chunks(size) {
            events.take(part).unwrap();
            told.extend(std::iter::from_fn(|| events.next()));
        }
        assert_eq!(told, ["{\"a\":1}", "2\n3"], "in parts of {size}");
    }
}
