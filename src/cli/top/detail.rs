//! One target: why it stands still, what its limits have left, its day, and its jobs.

use jiff::Timestamp;
use ratatui::text::{Line, Span};

use super::news::TargetJobs;
use super::state::{Known, Top};
use super::style::{Style, brief, exact, gauge, left, rate, right};
use super::view::{limit_of, line_of_pace, pace, told};
use crate::cli::ages;
use crate::cli::targets::state;
use crate::cli::terminal::{Tone, clean};
use crate::cli::wire::{Job, Limit, Schedule, Target, When};

/// Columns of the names on the left.
const NAMES: usize = 14;
/// Columns of a gauge.
const GAUGE: usize = 16;

/// From top to bottom; the screen shows a part of it.
pub(super) fn lines(top: &Top, name: &str, style: Style, columns: u16) -> Vec<Line<'static>> {
    let Some(known) = top.known.get(name) else {
        let text = format!("There is no target {} any more; Esc leads back.", clean(name));
        return vec![Line::raw(""), Line::raw(text)];
    };
    let mut page = Page { lines: Vec::new(), style, now: top.now(), columns: usize::from(columns) };
    page.head(known);
    page.queues(&known.target);
    page.limits(&known.target);
    if let Some(schedule) = &known.target.schedule {
        page.schedule(schedule);
    }
    page.outcomes(&known.target);
    match &top.jobs {
        None => page.note("Looking for its jobs…"),
        Some(Err(why)) => page.bad(&format!("its jobs cannot be told: {}", clean(why))),
        Some(Ok(jobs)) => page.jobs(jobs),
    }
    page.lines
}

struct Page {
    lines: Vec<Line<'static>>,
    style: Style,
    now: Timestamp,
    columns: usize,
}

impl Page {
    fn blank(&mut self) {
        self.lines.push(Line::raw(""));
    }

    fn title(&mut self, text: &str) {
        self.blank();
        self.lines.push(Line::styled(format!(" {text}"), self.style.strong()));
    }

    fn note(&mut self, text: &str) {
        self.blank();
        self.lines.push(Line::styled(format!(" {text}"), self.style.quiet()));
    }

    fn bad(&mut self, text: &str) {
        self.lines.push(Line::styled(format!(" {text}"), self.style.tone(Tone::Bad)));
    }

    fn fact(&mut self, name: &str, value: Vec<Span<'static>>) {
        let mut spans =
            vec![Span::styled(format!("   {} ", left(name, NAMES)), self.style.quiet())];
        spans.extend(value);
        self.lines.push(Line::from(spans));
    }

    fn head(&mut self, known: &Known) {
        let target = &known.target;
        let (told, tone) = state(target, self.now);
        self.blank();
        self.lines.push(Line::from(vec![
            Span::styled(format!(" {}", clean(&target.name)), self.style.strong()),
            Span::raw("  "),
            Span::styled(told, self.style.tone(tone)),
            Span::styled(
                format!("  {}", clean(target.url.as_deref().unwrap_or_default())),
                self.style.quiet(),
            ),
        ]));
        if let Some(held) = target.held_back_by.as_ref().filter(|held| held.on != "rate") {
            let hint = if held.hint.is_empty() { &held.on } else { &held.hint };
            let share = (held.share * 100.0).clamp(0.0, 100.0);
            let text = format!(" held back {share:.0} % of the time lately by {}", clean(hint));
            self.lines.push(Line::styled(text, self.style.tone(Tone::Held)));
        }
        if target.held_groups > 0 {
            let count = target.held_groups;
            let groups = if count == 1 { "group is" } else { "groups are" };
            self.bad(&format!(
                "{count} {groups} held by a dead job until that is redriven or purged"
            ));
        }
        let line = self.columns.saturating_sub(4 + 22).min(120);
        self.lines.push(Line::from(vec![
            Span::raw(format!(" {}", left(&format!("{} sent", pace(known)), 22))),
            Span::styled(line_of_pace(known, line), self.style.tone(Tone::Good)),
        ]));
    }

    fn queues(&mut self, target: &Target) {
        self.title("Queues");
        let head = format!(
            "   {}{}{}{}",
            left("", NAMES),
            right("WAITING", 12),
            right("OLDEST", 12),
            right("DRAINED IN", 14)
        );
        self.lines.push(Line::styled(head, self.style.quiet()));
        for name in ["HIGH", "NORMAL", "BATCH"] {
            let queue = target.priorities.get(name);
            let depth = queue.map_or(0, |queue| queue.depth);
            let seconds = |of: Option<f64>| told(of.and_then(ages::seconds).filter(|_| depth > 0));
            let oldest = seconds(queue.and_then(|queue| queue.oldest_age_seconds.map(f64::trunc)));
            let drained = seconds(queue.and_then(|queue| queue.estimated_drain_seconds));
            self.lines.push(Line::from(vec![
                Span::styled(format!("   {}", left(name, NAMES)), self.style.priority(name)),
                Span::raw(right(&exact(depth), 12)),
                Span::raw(right(&oldest, 12)),
                Span::raw(right(&drained, 14)),
            ]));
        }
        let later: Vec<String> = [
            (target.in_flight, "under way"),
            (target.waiting, "to retry"),
            (target.scheduled, "scheduled"),
            (target.verifying, "verifying"),
            (target.dead, "dead"),
        ]
        .iter()
        .map(|(count, what)| format!("{} {what}", brief(*count)))
        .collect();
        self.lines.push(Line::raw(format!("   {}", later.join(", "))));
    }

    fn limits(&mut self, target: &Target) {
        let Some(own) = &target.limit else { return };
        self.title("Limits in force");
        let mut pace = vec![Span::raw(clean(&own.rate))];
        match (limit_of(target), own.rate_per_second) {
            (Some(force), Some(rate_)) if (force - rate_).abs() > 1e-6 => {
                let text = format!("  {} in force now", rate(force));
                pace.push(Span::styled(text, self.style.tone(Tone::Held)));
            }
            _ => {}
        }
        self.fact("rate", pace);
        self.ceilings(own, target.in_flight);
        let breaker = if target.breaker_open {
            Span::styled("open: one job at a time tries", self.style.tone(Tone::Bad))
        } else {
            Span::raw("closed")
        };
        self.fact("breaker", vec![breaker]);
        for shared in &target.share {
            let name = clean(shared.name.as_deref().unwrap_or("?"));
            let rate = if shared.rate.is_empty() { "no rate" } else { &shared.rate };
            let text = format!("shared {name}: {}, with other targets", clean(rate));
            self.lines.push(Line::raw(format!("   {text}")));
            self.ceilings(shared, shared.in_flight);
        }
    }

    fn ceilings(&mut self, limit: &Limit, under_way: u64) {
        if let Some(most) = limit.max_concurrent {
            let taken = under_way.saturating_add(limit.held_places);
            let mut text = format!("  {under_way} of {most} places taken");
            if limit.held_places > 0 {
                text += &format!(", {} kept for what timed out", limit.held_places);
            }
            self.fact("under way", vec![self.gauge(taken, most, false), Span::raw(text)]);
        }
        for window in &limit.windows {
            let most = window.window.split('/').next().and_then(|count| count.parse().ok());
            let then = (window.left == 0)
                .then(|| window.free_again_at.as_ref().map(|at| self.at("next", at)))
                .flatten();
            let name = format!("window {}", clean(&window.window));
            self.left_of(&name, window.left, most, window.reserved_high, then);
        }
        if let Some(quota) = &limit.quota {
            let then = quota.resets_at.as_ref().map(|at| self.at("full again", at));
            let name = format!("quota a {}", clean(&quota.per));
            self.left_of(&name, quota.left, Some(quota.count), quota.reserved_high, then);
            if !quota.timezone.is_empty() {
                let text = format!("{}'s clock", clean(&quota.timezone));
                self.fact("", vec![Span::styled(text, self.style.quiet())]);
            }
        }
    }

    fn left_of(
        &mut self,
        name: &str,
        left: u64,
        most: Option<u64>,
        reserved: u64,
        then: Option<String>,
    ) {
        let most = most.unwrap_or(left);
        let mut text = format!("  {} of {} left", exact(left), exact(most));
        if reserved > 0 && left > 0 {
            text += &match left > reserved {
                true => format!(", {} for HIGH only", exact(reserved)),
                false => ", for HIGH only".to_owned(),
            };
        }
        if let Some(then) = then {
            text += &format!(", {then}");
        }
        let value = vec![self.gauge(left, most, true), Span::raw(text)];
        self.fact(name, value);
    }

    /// Coloured where little is left.
    fn gauge(&self, part: u64, whole: u64, low: bool) -> Span<'static> {
        let share = if whole > 0 { part as f64 / whole as f64 } else { 0.0 };
        let tone = if low && share < 0.1 { Tone::Held } else { Tone::Plain };
        Span::styled(gauge(share, GAUGE), self.style.tone(tone))
    }

    fn at(&self, what: &str, at: &When) -> String {
        match at.at() {
            Some(at) => format!("{what} {}", ages::relative(at, self.now)),
            None => format!("{what} {}", clean(&at.dated(self.now))),
        }
    }

    /// Today drawn to scale, and what holds now.
    fn schedule(&mut self, schedule: &Schedule) {
        let zone = jiff::tz::TimeZone::get(&schedule.timezone).ok();
        let clock = |at: Timestamp| match &zone {
            Some(zone) => at.to_zoned(zone.clone()).strftime("%R").to_string(),
            None => format!("{}Z", at.strftime("%R")),
        };
        let parts: Vec<_> = schedule
            .today
            .iter()
            .filter_map(|part| Some((part.from.at()?, part.to.at()?, part.rate.as_deref())))
            .collect();
        let (Some((midnight, ..)), Some((_, end, _))) = (parts.first(), parts.last()) else {
            return;
        };
        self.title(&format!("Today's schedule, {}", clean(&schedule.timezone)));
        let columns = self.columns.saturating_sub(6).clamp(12, 96);
        let whole = ages::between(*midnight, *end).as_secs_f64().max(1.0);
        let place = |at: Timestamp| {
            let share = ages::between(*midnight, at).as_secs_f64() / whole;
            ((share * columns as f64) as usize).min(columns - 1)
        };
        let mut strip = vec!['░'; columns];
        for (from, to, rate) in &parts {
            let last = if to == end { columns } else { place(*to) };
            let cells = place(*from)..last.max(place(*from) + 1).min(columns);
            strip[cells].fill(if rate.is_some() { '█' } else { '░' });
        }
        self.lines.push(Line::raw(format!("   {}", strip.iter().collect::<String>())));
        if self.now >= *midnight && self.now < *end {
            let here = " ".repeat(place(self.now));
            self.lines.push(Line::raw(format!("   {here}▲ now {}", clock(self.now))));
        }
        for (from, to, rate) in &parts {
            let now = self.now >= *from && self.now < *to;
            let until = if to == end { "24:00".into() } else { clock(*to) };
            let text = format!("   {}-{until}  {}", clock(*from), clean(rate.unwrap_or("closed")));
            let look = if now { self.style.strong() } else { self.style.quiet() };
            self.lines.push(Line::styled(text, look));
        }
    }

    fn outcomes(&mut self, target: &Target) {
        let Some(totals) = target.totals else { return };
        self.title("Attempts since the daemon started");
        let text = format!(
            "   {} sent: {} done, {} refused, {} rejected, {} unknown",
            exact(totals.sent),
            exact(totals.done),
            exact(totals.refused),
            exact(totals.rejected),
            exact(totals.unknown)
        );
        self.lines.push(Line::raw(text));
    }

    fn jobs(&mut self, jobs: &TargetJobs) {
        let lists = [("Under way", &jobs.running), ("To be retried", &jobs.waiting)];
        for (title, jobs) in lists.into_iter().chain([("Dead, newest first", &jobs.dead)]) {
            if !jobs.is_empty() {
                self.title(title);
                for job in jobs {
                    self.job(job);
                }
            }
        }
    }

    /// Its id whole, to be given to `tollgate jobs show`, and its last attempt.
    fn job(&mut self, job: &Job) {
        let last = job.history.iter().rev().find(|event| event.rest.contains_key("attempt"));
        let last = last.map(|event| {
            let status = event.rest.get("status").map(|status| format!(" {status}"));
            let at = event.at.as_ref().and_then(When::at);
            let at = at.map(|at| format!(" {}", ages::relative(at, self.now)));
            let what = clean(&event.event);
            format!("{what}{}{}", status.unwrap_or_default(), at.unwrap_or_default())
        });
        let next = job.next_attempt_at.as_ref().map(|at| self.at("next", at));
        let error = job.error.as_ref().map(|error| clean(&error.code));
        let told: Vec<String> = [last, error, next].into_iter().flatten().collect();
        self.lines.push(Line::from(vec![
            Span::raw(format!("   {} ", clean(&job.id))),
            Span::styled(left(&clean(&job.priority), 7), self.style.priority(&job.priority)),
            Span::raw(format!("{} {}", right(&format!("{}×", job.attempts), 3), told.join(", "))),
        ]));
    }
}
