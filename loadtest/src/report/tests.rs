use std::collections::BTreeMap;
use std::time::Duration;

use super::compare::{Comparison, Difference, difference};
use super::*;
use crate::load::Latencies;

fn measure(turns: &[f64]) -> Measure {
    Measure {
        name: "jobs".into(),
        unit: "1/s".into(),
        better: Better::Higher,
        turns: turns.to_vec(),
        expected: None,
    }
}

fn report(turns: &[f64]) -> Report {
    let outcome = Outcome {
        name: "enqueue".into(),
        title: "Enqueue ceiling".into(),
        parameters: serde_json::json!({ "connections": 64 }),
        measures: vec![measure(turns)],
        plots: vec![],
        notes: vec![],
        error: None,
    };
    Report {
        at: "2026-01-01T00:00:00Z".into(),
        machine: Machine::default(),
        daemon: "tollgate 0.1.0".into(),
        binary_bytes: 0,
        scenarios: vec![outcome],
    }
}

#[test]
fn a_median_is_the_middle_and_is_judged() {
    assert!((measure(&[3.0, 1.0, 2.0]).median() - 2.0).abs() < f64::EPSILON);
    assert!((measure(&[4.0, 1.0, 2.0, 3.0]).median() - 2.5).abs() < f64::EPSILON);
    let judged = |at_least, at_most| {
        let expected = Some(Range { at_least, at_most });
        Measure { expected, ..measure(&[1.0, 2.0, 9.0]) }.verdict()
    };
    assert_eq!(judged(Some(2.0), None), Verdict::Met);
    assert_eq!(judged(Some(2.1), None), Verdict::Missed);
    assert_eq!(judged(None, Some(1.9)), Verdict::Missed);
    assert_eq!(judged(Some(1.0), Some(2.0)), Verdict::Met);
    let nothing =
        Measure { expected: Some(Range { at_least: Some(0.0), at_most: None }), ..measure(&[]) };
    assert_eq!(nothing.verdict(), Verdict::Missed, "what was not measured is not met");
}

#[test]
fn only_sets_that_do_not_overlap_are_different() {
    let difference = |a: &[f64], b: &[f64]| difference(&measure(a), &measure(b));
    let a = [1.0, 1.1, 1.2, 1.3, 1.4];
    assert_eq!(difference(&a, &[1.5, 1.6, 1.7, 1.8, 2.0]), Difference::Significant);
    assert_eq!(difference(&a, &[1.3, 1.6, 1.7, 1.8, 2.0]), Difference::WithinTheSpread);
    assert_eq!(difference(&a, &[0.1, 0.2, 0.3]), Difference::TooFewTurns);
}

#[test]
fn a_comparison_names_what_got_worse_and_what_cannot_be_compared() {
    let (a, mut b) = (report(&[10.0, 11.0, 12.0, 13.0]), report(&[5.0, 5.0, 5.0, 6.0]));
    let text = Comparison { a: &a, b: &b }.to_string();
    assert!(text.contains("WORSE") && text.contains("0.435"), "{text}");
    assert!(!text.contains("differ"), "{text}");
    b.machine.cores = 99;
    b.scenarios[0].parameters = serde_json::json!({});
    let text = Comparison { a: &a, b: &b }.to_string();
    assert!(text.contains("the machines differ") && text.contains("the parameters differ"));
}

#[test]
fn a_report_survives_its_file() {
    let path = std::env::temp_dir().join(format!("loadtest-{}.json", uuid::Uuid::now_v7()));
    let report = report(&[1.5, 2.5]);
    report.write(&path).unwrap();
    assert_eq!(Report::read(&path).unwrap(), report);
    std::fs::write(&path, "{}").unwrap();
    assert!(Report::read(&path).unwrap_err().to_string().contains("is no report"));
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn turns_become_an_outcome() {
    let turn = |value: f64| {
        let mut turn = Turn::default();
        turn.higher("rate", "1/s", value);
        let mut latencies = Latencies::default();
        latencies.record(Duration::from_millis(value as u64));
        turn.latencies("daemon", &latencies);
        turn.plot("rss", "jobs", "MiB", vec![]);
        turn.note("the same in each");
        turn
    };
    let range = Range { at_least: Some(15.0), at_most: None };
    let expected: BTreeMap<_, _> = [("rate".to_owned(), range), ("gone".to_owned(), range)].into();
    let turns = [turn(10.0), turn(20.0), turn(30.0)];
    let outcome = Outcome::of("x", "X", serde_json::Value::Null, &turns, &expected);
    assert_eq!(outcome.measures.len(), 1);
    assert_eq!(outcome.measures[0].turns, [10.0, 20.0, 30.0]);
    assert_eq!(outcome.measures[0].verdict(), Verdict::Met);
    assert_eq!(outcome.notes, ["the same in each", "gone was expected and not measured"]);
    let names: Vec<&str> = outcome.plots.iter().map(|plot| plot.name.as_str()).collect();
    assert_eq!(names, ["rss", "latency"]);
    let table = outcome.to_string();
    assert!(table.contains("| rate |") && table.contains("| met "), "{table}");
    assert!(table.contains("≥ 15"), "{table}");
}

#[test]
fn plots_are_drawn_whatever_is_in_them() {
    let line = |points: &[(f64, f64)]| Line { label: "a <b>".into(), points: points.to_vec() };
    for scale in [Scale::Linear, Scale::Percentiles] {
        for points in [&[][..], &[(0.0, 0.0)], &[(0.0, 1.0), (4.0, 1000.0)], &[(0.0, f64::NAN)]] {
            let plot = Plot {
                name: "p".into(),
                x: "x".into(),
                y: "y".into(),
                scale,
                lines: vec![line(points), line(points)],
            };
            let svg = plot::svg(&plot, "title").unwrap();
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{points:?}");
            assert!(!svg.contains("<b>"), "text is escaped");
        }
    }
}
