//! The screen: a line about the daemon, a page, and a line for keys and questions.

use std::fmt::Write;
use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style as Look;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};

use super::detail;
use super::state::{Contact, Known, Over, Page, Top};
use super::style::{Style, brief, exact, left, rate, right, sparkline, width};
use crate::cli::ages;
use crate::cli::targets::{drained_in, in_flight, state, workflows};
use crate::cli::terminal::{Tone, clean};
use crate::cli::wire::{Queue, Target};

const PRIORITIES: [&str; 3] = ["HIGH", "NORMAL", "BATCH"];
/// Lines of a target with all its queues, and the blank one below.
const CARD: u16 = 5;

/// Draws everything that fits.
pub(super) fn draw(frame: &mut Frame<'_>, top: &mut Top, style: Style) {
    let troubles = troubles(top, style);
    // As many as there are, but the page keeps most of the screen.
    let shown = u16::try_from(troubles.len()).unwrap_or(u16::MAX).min(frame.area().height / 4);
    let [head, notes, page, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(shown),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(heading(top, style, head.width), head);
    frame.render_widget(Paragraph::new(troubles), notes);
    match &top.page {
        Page::Overview => overview(frame, page, top, style),
        Page::Target { name, .. } => {
            let lines = detail::lines(top, &name.clone(), style, page.width);
            let from = top.first_line(lines.len(), page.height);
            frame.render_widget(Paragraph::new(lines).scroll((from, 0)), page);
        }
    }
    frame.render_widget(footer(top, style, foot.width), foot);
    if top.over == Some(Over::Help) {
        help(frame, style);
    }
}

fn heading(top: &Top, style: Style, columns: u16) -> Line<'static> {
    let contact = match &top.contact {
        Contact::Asking => Span::styled("asking", style.quiet()),
        Contact::Live => match &top.daemon {
            Some(daemon) if daemon.state != "ready" => {
                Span::styled(clean(&daemon.state), style.tone(Tone::Bad))
            }
            _ => Span::styled("live", style.tone(Tone::Good)),
        },
        Contact::Away { .. } => Span::styled("no answer", style.tone(Tone::Bad)),
    };
    let all = top.known.values();
    let waiting: u64 = all.clone().map(|known| waiting(&known.target)).sum();
    let dead: u64 = all.clone().map(|known| known.target.dead).sum();
    let sent: f64 = all.clone().map(Known::pace).sum();
    let (count, targets) = (all.len(), if all.len() == 1 { "target" } else { "targets" });
    let text = format!(
        "  {count} {targets}  {} waiting  {} sent  {} dead",
        brief(waiting),
        rate(sent),
        brief(dead)
    );
    let name = " tollgate top ";
    let used = width(name) + width(&text) + contact.width() + 2;
    let room = usize::from(columns).saturating_sub(used);
    // The address gives way to what changes.
    let address = match room.checked_sub(2) {
        Some(room @ 16..) => format!("  {}", right(&clean(&top.address), room)),
        _ => " ".repeat(room),
    };
    Line::from(vec![
        Span::styled(name, style.chosen()),
        Span::raw(text),
        Span::styled(address, style.quiet()),
        Span::raw("  "),
        contact,
    ])
}

/// What is wrong with more than one target.
fn troubles(top: &Top, style: Style) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if let Contact::Away { since, why } = &top.contact {
        let text = format!(
            "no answer for {}: {}; trying again. What is shown is old.",
            ages::age(top.ticked.saturating_duration_since(*since)),
            clean(why)
        );
        lines.push(Line::styled(text, style.tone(Tone::Bad)));
    }
    let reason = top.daemon.as_ref().and_then(|daemon| daemon.reason.as_ref());
    if let Some(reason) = reason {
        lines.push(Line::styled(format!("the daemon: {}", clean(reason)), style.tone(Tone::Bad)));
    }
    let known = top.step_functions.as_ref().and_then(|known| workflows(known, top.now()));
    if let Some((text, tone)) = known {
        lines.push(Line::styled(text, style.tone(tone)));
    }
    lines
}

fn overview(frame: &mut Frame<'_>, area: Rect, top: &Top, style: Style) {
    let shown = top.shown();
    if shown.is_empty() {
        let text = match (&top.contact, top.filter.is_empty()) {
            (Contact::Asking, _) => "Asking the daemon…".to_owned(),
            (_, true) => "No targets: the configuration names none.".to_owned(),
            (_, false) => format!("No target is named like {:?}; Esc shows all.", top.filter),
        };
        frame.render_widget(Paragraph::new(vec![Line::raw(""), Line::raw(text)]), area);
        return;
    }
    let place = top.place();
    let cards = usize::from(area.height / CARD);
    if shown.len() <= cards {
        let lines = shown.iter().enumerate().flat_map(|(index, known)| {
            card(known, index == place, top, style, area.width).into_iter().chain([Line::raw("")])
        });
        frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), area);
        return;
    }
    // Too many for that: a line each, and the chosen one below with all its queues.
    let below = if area.height >= 3 + CARD { CARD } else { 0 };
    let [list, chosen] =
        Layout::vertical([Constraint::Min(0), Constraint::Length(below)]).areas(area);
    let height = usize::from(list.height.saturating_sub(1)).max(1);
    let first = place.saturating_sub(height / 2).min(shown.len().saturating_sub(height));
    let mut lines = vec![columns_named(style, area.width)];
    for (index, known) in shown.iter().enumerate().skip(first).take(height) {
        lines.push(row(known, index == place, top, style, area.width));
    }
    frame.render_widget(Paragraph::new(lines), list);
    let card = card(shown[place], false, top, style, area.width);
    let lines = std::iter::once(Line::raw("")).chain(card).collect::<Vec<_>>();
    frame.render_widget(Paragraph::new(lines), chosen);
}

/// A target with all its queues, in four lines.
fn card(known: &Known, chosen: bool, top: &Top, style: Style, columns: u16) -> Vec<Line<'static>> {
    let target = &known.target;
    let columns = usize::from(columns);
    let pace = pace(known);
    let spark = columns.saturating_sub(60).clamp(8, 60);
    let name = clean(&target.name);
    let name_room = width(&name).clamp(1, 20);
    let state_room = columns.saturating_sub(name_room + 4 + width(&pace) + 2 + spark).max(8);
    let (told, tone) = state(target, top.now());
    let head = Line::from(vec![
        Span::raw(if chosen { "▸ " } else { "  " }),
        Span::styled(left(&name, name_room), if chosen { style.chosen() } else { style.strong() }),
        Span::raw("  "),
        Span::styled(left(&told, state_room), style.tone(tone)),
        Span::raw(format!("{pace}  ")),
        Span::styled(line_of_pace(known, spark), style.tone(Tone::Good)),
    ]);
    let mut lines = vec![head];
    let facts = facts(target, style);
    for (index, priority) in PRIORITIES.iter().enumerate() {
        let mut spans =
            vec![Span::raw("    "), Span::styled(left(priority, 8), style.priority(priority))];
        spans.extend(queue(target.priorities.get(*priority), style));
        spans.push(Span::raw("   "));
        spans.extend(facts[index].clone());
        lines.push(Line::from(spans));
    }
    lines
}

/// Depth, oldest age and time to drain, in 42 columns.
fn queue(queue: Option<&Queue>, style: Style) -> Vec<Span<'static>> {
    let Some(queue) = queue.filter(|queue| queue.depth > 0) else {
        return vec![Span::styled(left(&right("0", 8), 42), style.quiet())];
    };
    let age = |seconds: Option<f64>| seconds.and_then(ages::seconds);
    let oldest = age(queue.oldest_age_seconds).map_or_else(|| "-".into(), ages::age);
    let drained = age(queue.estimated_drain_seconds);
    let drained = drained.map_or_else(
        || "no end in sight".into(),
        |time| format!("drained in {}", ages::short(time)),
    );
    vec![
        Span::styled(right(&brief(queue.depth), 8), style.strong()),
        Span::raw(format!("  {}", left(&format!("oldest {oldest}"), 14))),
        Span::raw(left(&drained, 18)),
    ]
}

/// What else there is to say of a target: three lines, beside its queues.
fn facts(target: &Target, style: Style) -> [Vec<Span<'static>>; 3] {
    let mut later = Vec::new();
    for (count, what) in [
        (target.waiting, "to retry"),
        (target.scheduled, "scheduled"),
        (target.verifying, "verifying"),
    ] {
        if count > 0 {
            later.push(format!("{} {what}", brief(count)));
        }
    }
    let mut bad = Vec::new();
    if target.dead > 0 {
        bad.push(Span::styled(format!("{} dead", brief(target.dead)), style.tone(Tone::Bad)));
    }
    if target.breaker_open {
        bad.push(Span::styled("breaker open", style.tone(Tone::Bad)));
    }
    if target.held_groups > 0 {
        let held = format!("{} held", target.held_groups);
        bad.push(Span::styled(held, style.tone(Tone::Held)));
    }
    let bad = bad
        .into_iter()
        .enumerate()
        .flat_map(|(index, span)| [Span::raw(if index > 0 { ", " } else { "" }), span]);
    [
        vec![Span::raw(format!("{} under way", in_flight(target)))],
        vec![Span::raw(later.join(", "))],
        bad.collect(),
    ]
}

/// Widths of a row's columns: name, state, pace, line of pace, three depths, dead, drained in.
fn widths(columns: u16) -> [usize; 9] {
    let columns = usize::from(columns);
    let wide = columns >= 70;
    let drained = if wide { 8 } else { 0 };
    let rest = columns.saturating_sub(2 + 13 + 6 + 7 + 6 + 6 + drained);
    let spark = if wide { (rest / 6).min(40) } else { 0 };
    let name = (rest.saturating_sub(spark) / 2).clamp(6, 30);
    let state = rest.saturating_sub(spark + name);
    [name, state, 13, spark, 6, 7, 6, 6, drained]
}

fn columns_named(style: Style, columns: u16) -> Line<'static> {
    let [name, state, pace, spark, high, normal, batch, dead, drained] = widths(columns);
    let text = format!(
        "  {}{}{}{}{}{}{}{}{}",
        left("TARGET", name),
        left("STATE", state),
        right("RATE", pace),
        " ".repeat(spark),
        right("HIGH", high),
        right("NORMAL", normal),
        right("BATCH", batch),
        right("DEAD", dead),
        right("DRAIN", drained),
    );
    Line::styled(text, style.quiet())
}

fn row(known: &Known, chosen: bool, top: &Top, style: Style, columns: u16) -> Line<'static> {
    let target = &known.target;
    let [name, state_room, pace_room, spark, high, normal, batch, dead, drained] = widths(columns);
    let (told, tone) = state(target, top.now());
    let told = told.strip_prefix("blocked: ").unwrap_or(&told).to_owned();
    let pad = |text: &str, room: usize| format!("{} ", left(text, room.saturating_sub(1)));
    let line =
        if spark > 1 { format!(" {}", line_of_pace(known, spark - 1)) } else { String::new() };
    let depth = |priority: &str| target.priorities.get(priority).map_or(0, |queue| queue.depth);
    let number = |count: u64, room: usize| {
        let look = if count == 0 { style.quiet() } else { Look::new() };
        Span::styled(right(&brief(count), room), look)
    };
    let dead_look = if target.dead > 0 { style.tone(Tone::Bad) } else { style.quiet() };
    let breaker = if target.breaker_open { "!" } else { "" };
    Line::from(vec![
        Span::raw(if chosen { "▸ " } else { "  " }),
        Span::styled(
            pad(&clean(&target.name), name),
            if chosen { style.chosen() } else { style.strong() },
        ),
        Span::styled(pad(&format!("{breaker}{told}"), state_room), style.tone(tone)),
        Span::raw(right(&pace(known), pace_room)),
        Span::styled(line, style.tone(Tone::Good)),
        number(depth("HIGH"), high),
        number(depth("NORMAL"), normal),
        number(depth("BATCH"), batch),
        Span::styled(right(&brief(target.dead), dead), dead_look),
        Span::raw(right(&drained_in(target), drained)),
    ])
}

/// `9.8/s of 10/s`.
pub(super) fn pace(known: &Known) -> String {
    let sent = rate(known.pace());
    match limit_of(&known.target) {
        Some(limit) => format!("{} of {}", sent.trim_end_matches("/s"), rate(limit)),
        None => sent,
    }
}

/// What may be sent in a second as things stand.
pub(super) fn limit_of(target: &Target) -> Option<f64> {
    let own = target.limit.as_ref().and_then(|limit| limit.rate_per_second);
    target.rate_in_force_per_second.or(own)
}

pub(super) fn line_of_pace(known: &Known, columns: usize) -> String {
    let values: Vec<f64> = known.sent.iter().copied().collect();
    let most = values.iter().copied().fold(0.0, f64::max);
    sparkline(&values, limit_of(&known.target).unwrap_or(most), columns)
}

pub(super) fn waiting(target: &Target) -> u64 {
    target.priorities.values().map(|queue| queue.depth).sum()
}

fn footer(top: &Top, style: Style, columns: u16) -> Line<'static> {
    match &top.over {
        Some(Over::Confirm { target, pause }) => {
            return Line::styled(question(top, target, *pause), style.tone(Tone::Held));
        }
        Some(Over::Typing) => {
            let text = format!(" find: {}_   Enter keeps it, Esc shows all", clean(&top.filter));
            return Line::styled(text, style.strong());
        }
        Some(Over::Help) | None => {}
    }
    match &top.said {
        Some(Ok(text)) => return Line::styled(format!(" {}", clean(text)), style.tone(Tone::Good)),
        Some(Err(text)) => return Line::styled(format!(" {}", clean(text)), style.tone(Tone::Bad)),
        None => {}
    }
    let paused = |name: &str| top.known.get(name).is_some_and(|known| known.target.paused);
    let keys = match &top.page {
        Page::Overview => {
            " ↑↓ choose  Enter look into it  p pause or resume  / find  ? help  q leave".to_owned()
        }
        Page::Target { name, .. } => {
            let verb = if paused(name) { "resume" } else { "pause" };
            format!(" ↑↓ scroll  p {verb}  Esc back  ? help  q leave")
        }
    };
    let mut keys = left(&keys, usize::from(columns));
    if !top.filter.is_empty() && top.page == Page::Overview {
        let text = format!("  only {:?}", top.filter);
        keys = left(&keys, usize::from(columns).saturating_sub(width(&text))) + &text;
    }
    Line::styled(keys, style.quiet())
}

fn question(top: &Top, target: &str, pause: bool) -> String {
    let name = clean(target);
    let jobs = top.known.get(target).map_or(0, |known| waiting(&known.target));
    let mut text = if pause {
        format!(" Pause {name}: nothing more is sent to it, also after a restart")
    } else {
        format!(" Resume {name}")
    };
    let _ = match jobs {
        0 => Ok(()),
        1 => write!(text, "; 1 job waits"),
        _ => write!(text, "; {} jobs wait", exact(jobs)),
    };
    text + "? [y/N]"
}

const KEYS: [(&str, &str); 9] = [
    ("↑ ↓  j k", "choose a target; scroll inside one"),
    ("PgUp PgDn", "ten at a time; Home and End: all the way"),
    ("Enter", "look into it: limits, schedule, jobs"),
    ("Esc", "back; on the overview: show all again"),
    ("p", "pause or resume it, after a question"),
    ("/", "only targets named like this"),
    ("?", "this help; any key closes it"),
    ("q  Ctrl-C", "leave"),
    ("", "The line beside a rate is a second a column."),
];

fn help(frame: &mut Frame<'_>, style: Style) {
    let area = frame.area();
    let height = u16::try_from(KEYS.len() + 2).unwrap_or(u16::MAX).min(area.height);
    let columns = 58.min(area.width);
    let place = Rect {
        x: (area.width - columns) / 2,
        y: (area.height - height) / 2,
        width: columns,
        height,
    };
    let lines: Vec<Line<'_>> = KEYS
        .iter()
        .map(|(key, what)| {
            Line::from(vec![
                Span::styled(format!(" {}", left(key, 11)), style.strong()),
                Span::raw(*what),
            ])
        })
        .collect();
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" keys ")), place);
}

/// For a length of time that is known or not.
pub(super) fn told(time: Option<Duration>) -> String {
    time.map_or_else(|| "-".into(), ages::short)
}
