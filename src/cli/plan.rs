//! `tollgate plan`.

use std::fmt::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::args::PlanArgs;
use super::error::CliError;
use super::table::{Align, Cell, Table};
use super::terminal::{Paint, Tone, clean};
use super::values::encode;
use super::wire::{When, one_line};
use super::{Outside, ages, when};

#[derive(Debug, Deserialize)]
struct Plan {
    #[serde(default)]
    target: String,
    #[serde(default)]
    priority: String,
    #[serde(default)]
    jobs: u64,
    at: Option<When>,
    first_start: Option<When>,
    last_start: Option<When>,
    never: Option<String>,
    #[serde(default)]
    delays: Vec<Delay>,
    #[serde(default)]
    phases: Vec<Phase>,
    #[serde(default)]
    more_phases: u64,
}

#[derive(Debug, Deserialize)]
struct Delay {
    #[serde(default)]
    priority: String,
    #[serde(default)]
    jobs: u64,
    last_start_without: Option<When>,
    last_start_with: Option<When>,
    delay_seconds: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Phase {
    from: Option<When>,
    to: Option<When>,
    #[serde(default)]
    jobs: u64,
    #[serde(default)]
    by: String,
    #[serde(default)]
    limit: String,
}

pub(super) async fn plan(args: &PlanArgs, outside: &mut Outside) -> Result<(), CliError> {
    let (now, zone) = (Timestamp::now(), TimeZone::system());
    let mut path = format!("/v1/targets/{}/plan?jobs={}", args.target.encoded(), args.jobs);
    if let Some(at) = &args.at {
        let at = at.instant(now, &zone).map_err(|why| CliError::Usage(format!("--at: {why}")))?;
        let _ = write!(path, "&at={}", encode(&at.to_string()));
    }
    if let Some(priority) = args.priority {
        let _ = write!(path, "&priority={priority}");
    }
    let answer = outside.client(&args.admin.admin_url.0)?.get(&path).await?;
    let plan: Plan = answer.read()?;
    let text = if args.format.json {
        one_line(answer.text())
    } else {
        Told { plan: &plan, now, zone: &zone, paint: outside.terminal.paint }.text()
    };
    outside.terminal.print(&text)?;
    // It was told in full; scripts see that it comes to nothing.
    if plan.last_start.is_some() { Ok(()) } else { Err(CliError::Told) }
}

struct Told<'a> {
    plan: &'a Plan,
    now: Timestamp,
    zone: &'a TimeZone,
    paint: Paint,
}

impl Told<'_> {
    /// Phases that are shown: more than a screen full helps nobody.
    const PHASES: usize = 15;

    fn text(&self) -> String {
        let plan = self.plan;
        let mut text = format!(
            "{}: {} more {} job{}, handed in {}\n",
            clean(&plan.target),
            plan.jobs,
            clean(&plan.priority),
            if plan.jobs == 1 { "" } else { "s" },
            self.dated(plan.at.as_ref()),
        );
        if plan.jobs > 1 || plan.last_start.is_none() {
            let _ = writeln!(text, "  first start  {}", self.dated(plan.first_start.as_ref()));
        }
        let _ = writeln!(
            text,
            "  last start   {}{}",
            self.dated(plan.last_start.as_ref()),
            self.took()
        );
        if let Some(never) = &plan.never {
            let line = format!("  never: {}", clean(never));
            let _ = writeln!(text, "{}", self.paint.dress(&line, Tone::Bad));
        }
        self.delays(&mut text);
        self.phases(&mut text);
        let zone = when::name(self.zone);
        let _ = writeln!(
            text,
            "\nTimes are those of {zone}. An estimate: without failures, retries, and jobs that come later."
        );
        text
    }

    /// After they came.
    fn took(&self) -> String {
        let ends = [&self.plan.at, &self.plan.last_start].map(|when| when.as_ref()?.at());
        match ends {
            [Some(from), Some(to)] => format!(", {} later", ages::short(ages::between(from, to))),
            _ => String::new(),
        }
    }

    fn delays(&self, text: &mut String) {
        if self.plan.delays.is_empty() {
            text.push_str("\nNothing that waits now would wait longer.\n");
            return;
        }
        text.push_str("\nWhat waits now and would wait longer:\n");
        let mut table = Table::new(&[
            ("QUEUE", Align::Left),
            ("JOBS", Align::Right),
            ("LAST START", Align::Left),
            ("INSTEAD OF", Align::Left),
            ("LATER BY", Align::Left),
        ]);
        for delay in &self.plan.delays {
            let later = delay.delay_seconds.and_then(ages::seconds).map(ages::short);
            table.row(vec![
                Cell::new(&delay.priority),
                Cell::new(delay.jobs.to_string()),
                Cell::new(self.dated(delay.last_start_with.as_ref())),
                Cell::new(self.clock(delay.last_start_without.as_ref())),
                Cell::toned(later.unwrap_or_default(), Tone::Held),
            ]);
        }
        text.push_str(&table.take(self.paint));
    }

    fn phases(&self, text: &mut String) {
        if self.plan.phases.is_empty() {
            return;
        }
        text.push_str("\nWhat decides when:\n");
        let mut table = Table::new(&[
            ("FROM", Align::Left),
            ("TO", Align::Left),
            ("FOR", Align::Right),
            ("JOBS", Align::Right),
            ("LIMIT", Align::Left),
        ]);
        for phase in self.plan.phases.iter().take(Self::PHASES) {
            let ends = [&phase.from, &phase.to].map(|when| when.as_ref()?.at());
            let length = match ends {
                [Some(from), Some(to)] => ages::short(ages::between(from, to)),
                _ => String::new(),
            };
            table.row(vec![
                Cell::new(self.clock(phase.from.as_ref())),
                Cell::new(self.clock(phase.to.as_ref())),
                Cell::new(length),
                Cell::new(phase.jobs.to_string()),
                Cell::new(format!("{}: {}", phase.by, phase.limit)),
            ]);
        }
        text.push_str(&table.take(self.paint));
        let hidden = self.plan.phases.len().saturating_sub(Self::PHASES) as u64;
        let more = hidden.saturating_add(self.plan.more_phases);
        if more > 0 {
            let _ = writeln!(text, "… and {more} more");
        }
    }

    fn clock(&self, at: Option<&When>) -> String {
        match at {
            None => "never".into(),
            Some(When::At(at)) => when::on_clock(*at, self.zone),
            Some(When::Text(text)) => clean(text),
        }
    }

    fn dated(&self, at: Option<&When>) -> String {
        match at.and_then(When::at) {
            Some(instant) => {
                format!("{} ({})", self.clock(at), ages::relative(instant, self.now))
            }
            None => self.clock(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(json: &str) -> String {
        let plan: Plan = serde_json::from_str(json).unwrap();
        let zone = jiff::tz::TimeZoneDatabase::bundled().get("Europe/Berlin").unwrap();
        let now = "2026-11-27T12:00:00Z".parse().unwrap();
        Told { plan: &plan, now, zone: &zone, paint: Paint::NONE }.text()
    }

    #[test]
    fn a_plan_reads_as_a_plan() {
        let text = rendered(
            r#"{"target":"erp","priority":"NORMAL","jobs":20000,"at":"2026-11-27T17:00:00Z",
            "first_start":"2026-11-27T17:00:00.1Z","last_start":"2026-11-27T21:00:00Z","never":null,
            "delays":[{"priority":"BATCH","jobs":100,"last_start_without":"2026-11-27T17:00:10Z",
                "last_start_with":"2026-11-27T21:00:10Z","delay_seconds":14400.0}],
            "phases":[{"from":"2026-11-27T17:00:00Z","to":"2026-11-27T17:00:10Z","jobs":100,
                "by":"rate","limit":"10/s"},
               {"from":"2026-11-27T17:00:10Z","to":"2026-11-27T21:00:00Z","jobs":19900,
                "by":"window","limit":"100/min"}],"more_phases":2}"#,
        );
        let expected = "\
erp: 20000 more NORMAL jobs, handed in 2026-11-27 18:00:00+01:00 (in 5h00m)
  first start  2026-11-27 18:00:00+01:00 (in 5h00m)
  last start   2026-11-27 22:00:00+01:00 (in 9h00m), 4h00m later

What waits now and would wait longer:
QUEUE  JOBS  LAST START                             INSTEAD OF                 LATER BY
BATCH   100  2026-11-27 22:00:10+01:00 (in 9h00m)  2026-11-27 18:00:10+01:00  4h00m

What decides when:
FROM                       TO                             FOR   JOBS  LIMIT
2026-11-27 18:00:00+01:00  2026-11-27 18:00:10+01:00      10s    100  rate: 10/s
2026-11-27 18:00:10+01:00  2026-11-27 22:00:00+01:00  3h59m  19900  window: 100/min
… and 2 more

Times are those of Europe/Berlin. An estimate: without failures, retries, and jobs that come later.
";
        // Columns are the table's own affair.
        let words = |text: &str| {
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
        };
        let (told, expected): (Vec<String>, Vec<String>) = (words(&text), words(expected));
        assert_eq!(told, expected, "{text}");
    }

    #[test]
    fn a_plan_that_comes_to_nothing_says_why_and_steers_no_terminal() {
        let text = rendered(
            r#"{"target":"e\u001b[31m","priority":"HIGH","jobs":1,"at":"late",
            "never":"the target is paused\u0007","phases":[{"by":"\u001b[2J"}]}"#,
        );
        assert!(text.contains("never: the target is paused"), "{text}");
        assert!(text.contains("last start   never"), "{text}");
        assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'), "{text}");
    }
}
