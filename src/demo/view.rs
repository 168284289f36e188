//! A moment of the demo, drawn in a terminal or told in a line.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Sparkline, SparklineBar, Table};

use super::auditor::{Arrival, Fate};
use super::snapshot::{Scene, Snapshot};
use crate::broker::io::BlockedOn;
use crate::broker::job::Priority;
use crate::broker::time::Mono;

/// Draws everything that fits.
pub(super) fn draw(frame: &mut Frame<'_>, scene: &Scene, now: &Snapshot) {
    let [head, queues, rate, outcomes, last, foot] = Layout::vertical([
        Constraint::Length(3),
        Constraint::Length(6),
        Constraint::Length(7),
        Constraint::Length(4),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(heading(scene, now)), head);
    draw_queues(frame, queues, now);
    draw_rate(frame, rate, scene, now);
    draw_outcomes(frame, outcomes, now);
    draw_last(frame, last, now);
    frame.render_widget(Line::from(" q or Ctrl-C ends the demo").dim(), foot);
}

fn heading<'a>(scene: &'a Scene, now: &Snapshot) -> Vec<Line<'a>> {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    vec![
        Line::from(vec![
            Span::styled(" tollgate demo ", bold.add_modifier(Modifier::REVERSED)),
            Span::from(format!("  {}   {}", time_of(scene, now), now.phase.as_str())),
        ]),
        Line::from(vec![
            Span::from(" console "),
            Span::styled(format!("http://{}/", scene.admin), bold),
            Span::from(format!("   jobs http://{}/v1/jobs", scene.data)),
        ]),
        Line::from(format!(
            " target {}: {} a second, burst {}, {} at once   {}",
            scene.target,
            plain_number(scene.limit.rate.per_second()),
            scene.limit.burst,
            scene.limit.max_concurrent,
            blocked(now),
        )),
    ]
}

fn draw_queues(frame: &mut Frame<'_>, area: Rect, now: &Snapshot) {
    let header = ["", "queued", "for retry", "oldest", "running", "done", "dead"];
    let rows = Priority::ALL.map(|priority| {
        let queue = now.queues[priority.index()];
        Row::new(vec![
            Cell::from(priority.as_str()).style(color_of(priority)),
            Cell::from((queue.depth - queue.waiting_for_retry).to_string()),
            Cell::from(queue.waiting_for_retry.to_string()),
            Cell::from(queue.oldest.map_or_else(|| "-".into(), age)),
            Cell::from(queue.running.to_string()),
            Cell::from(queue.succeeded.to_string()),
            Cell::from(queue.dead.to_string()),
        ])
    });
    let table = Table::new(rows, [Constraint::Length(10); 7])
        .header(Row::new(header).style(Style::new().dim()))
        .block(Block::bordered().title(" queues "));
    frame.render_widget(table, area);
}

/// How many columns wide a second is.
const BAR: usize = 2;

/// The bars are scaled so that the top row is over the limit: its lower edge is the limit.
fn draw_rate(frame: &mut Frame<'_>, area: Rect, scene: &Scene, now: &Snapshot) {
    let limit = scene.most_in_a_second;
    let block = Block::bordered().title(format!(
        " requests at the API: {} in the last second, {} at most, limit {limit} (dashes) ",
        now.in_last_second, now.peak
    ));
    let inside = block.inner(area);
    frame.render_widget(block, area);
    if inside.height < 2 {
        return;
    }
    let rows = u64::from(inside.height);
    // In thousandths of a request, because the scale is seldom a whole number of them.
    let scale = (limit as u64).saturating_mul(1000).saturating_mul(rows) / (rows - 1);
    let hidden = now.per_second.len().saturating_sub(usize::from(inside.width) / BAR);
    let columns = now.per_second[hidden..].iter().flat_map(|count| [count; BAR]);
    let bars = columns.map(|count| {
        let color = if *count > limit as u64 { Color::Red } else { Color::Green };
        SparklineBar::from(count.saturating_mul(1000)).style(Some(Style::new().fg(color)))
    });
    frame.render_widget(Sparkline::default().data(bars).max(scale), inside);
    for x in inside.left()..inside.right() {
        if let Some(cell) = frame.buffer_mut().cell_mut((x, inside.top()))
            && cell.symbol() == " "
        {
            cell.set_symbol("╌").set_fg(Color::DarkGray);
        }
    }
}

fn draw_outcomes(frame: &mut Frame<'_>, area: Rect, now: &Snapshot) {
    let mut counts = Vec::new();
    for (fate, count) in now.fates {
        counts.push(Span::styled(format!(" {}: ", fate.as_str()), color_of_fate(fate)));
        counts.push(Span::from(format!("{count} ")));
    }
    let jobs = now.jobs;
    let mut sums = vec![Span::from(format!(
        " jobs in {}, done {}, dead {}; requests repeated {}",
        jobs.acknowledged, jobs.done, jobs.dead, now.repeats
    ))];
    if jobs.lost > 0 || now.faults > 0 {
        let text = format!("  LOST {}  FAULTS {}", jobs.lost, now.faults);
        sums.push(Span::styled(text, Style::new().fg(Color::Red).bold()));
    }
    let text = vec![Line::from(counts), Line::from(sums)];
    frame.render_widget(Paragraph::new(text).block(Block::bordered().title(" outcomes ")), area);
}

fn draw_last(frame: &mut Frame<'_>, area: Rect, now: &Snapshot) {
    let lines: Vec<Line<'_>> = now.last.iter().map(arrival).collect();
    let block = Block::bordered().title(" last requests ");
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn arrival(arrival: &Arrival) -> Line<'static> {
    let Arrival { at, caller, fate } = arrival;
    let at = format!(" {:>7.2} s  ", at.since(Mono::ZERO).as_secs_f64());
    let priority = caller.priority.map_or_else(Span::default, |priority| {
        Span::styled(format!("{:<7}", priority.as_str()), color_of(priority))
    });
    let job = caller.job.map_or_else(|| "a request that says nothing".into(), |id| id.to_string());
    let attempt = caller.attempt.map_or_else(String::new, |number| format!("  attempt {number}"));
    Line::from(vec![
        Span::styled(at, Style::new().dim()),
        priority,
        Span::from(format!("{job}{attempt}  → ")),
        Span::styled(fate.as_str(), color_of_fate(*fate)),
    ])
}

/// One line for those who watch a log.
pub(super) fn line(scene: &Scene, now: &Snapshot) -> String {
    let queues: Vec<String> = Priority::ALL
        .iter()
        .map(|priority| {
            let queue = now.queues[priority.index()];
            let oldest = queue.oldest.map_or_else(String::new, |age_| format!(" ({})", age(age_)));
            format!("{} {}{oldest}", priority.as_str(), queue.depth)
        })
        .collect();
    let count =
        |wanted: Fate| now.fates.iter().find(|(fate, _)| *fate == wanted).map_or(0, |f| f.1);
    let wrong: u64 =
        [Fate::Error, Fate::Broken, Fate::Half, Fate::Hung].into_iter().map(count).sum();
    let refused = count(Fate::Limited) + count(Fate::Unavailable);
    let jobs = now.jobs;
    let mut line = format!(
        "{:>6}  waiting: {}  |  rate {} of {}  |  jobs in {} done {} dead {}  |  refused {} wrong {}",
        age(now.elapsed),
        queues.join(" "),
        now.in_last_second,
        scene.most_in_a_second,
        jobs.acknowledged,
        jobs.done,
        jobs.dead,
        refused,
        wrong,
    );
    if jobs.lost > 0 || now.faults > 0 {
        line += &format!("  |  LOST {} FAULTS {}", jobs.lost, now.faults);
    }
    line
}

/// What is said before the first line.
pub(super) fn introduction(scene: &Scene) -> String {
    format!(
        "tollgate demo: a fake API that bears {} requests in any second and fails three in ten\n\
         console http://{}/   jobs http://{}/v1/jobs   target {}",
        scene.most_in_a_second, scene.admin, scene.data, scene.target
    )
}

fn time_of(scene: &Scene, now: &Snapshot) -> String {
    match scene.duration {
        Some(whole) => format!("{} of {}", age(now.elapsed), age(whole)),
        None => age(now.elapsed),
    }
}

fn blocked(now: &Snapshot) -> &'static str {
    let waits = now.queues.iter().any(|queue| queue.oldest.is_some());
    match now.blocked.filter(|_| waits) {
        None => "",
        Some(BlockedOn::Rate) => "held back by the rate",
        Some(BlockedOn::Concurrency) => "held back: all places are taken",
        Some(BlockedOn::Window) => "held back: a window is full",
        Some(BlockedOn::Quota) => "held back: the quota is used up",
        Some(BlockedOn::Breaker) => "held back: the breaker is open",
        Some(BlockedOn::Closed) => "closed by its schedule",
        Some(BlockedOn::Refused) => "held back: the API asked for a pause",
        Some(BlockedOn::Paused) => "paused",
        Some(BlockedOn::Draining) => "draining",
    }
}

fn age(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        all @ 60..3600 => format!("{} m {:02} s", all / 60, all % 60),
        all => format!("{} h {:02} m", all / 3600, all / 60 % 60),
    }
}

/// Without a fraction where there is none.
fn plain_number(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn color_of(priority: Priority) -> Style {
    Style::new().fg(match priority {
        Priority::High => Color::Magenta,
        Priority::Normal => Color::Cyan,
        Priority::Batch => Color::Blue,
    })
}

fn color_of_fate(fate: Fate) -> Style {
    Style::new().fg(match fate {
        Fate::Done => Color::Green,
        Fate::Limited => Color::Red,
        Fate::Missing | Fate::Unavailable => Color::Yellow,
        Fate::Error | Fate::Broken | Fate::Half | Fate::Hung => Color::LightRed,
    })
}

#[cfg(test)]
mod tests;
