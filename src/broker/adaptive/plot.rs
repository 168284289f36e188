//! Draws docs/adaptive.svg:
//! `cargo test --lib adaptive::plot -- --ignored --nocapture | sed -n '/^<svg/,/^<\/svg/p'`

use std::fmt::Write as _;

use super::sim::{Aimd, Law, Limiter, Second, World, run};
use super::tests::law;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 46.0;
const TOP: f64 = 34.0;
const MOST: f64 = 30.0;

fn world(limiter: Limiter) -> World {
    World {
        limiter,
        limits: vec![(0.0, 20.0), (300.0, 8.0), (600.0, 15.0)],
        end: 900.0,
        configured: 50.0,
        concurrency: 10,
        latency: 0.08,
        jitter: 0.15,
        pause: 1.0,
        faults: 0.0,
    }
}

fn panel(svg: &mut String, top: f64, title: &str, story: &[Second]) {
    let x = |second: usize| LEFT + second as f64 * (WIDTH - LEFT - 10.0) / story.len() as f64;
    let y = |rate: f64| top + TOP + (HEIGHT - TOP - 24.0) * (1.0 - rate.min(MOST) / MOST);
    // A point where something changes, and one before it.
    let line = |of: &dyn Fn(&Second) -> f64| {
        let mut path = format!("M{:.0} {:.1}", x(0), y(story.first().map_or(0.0, of)));
        for (second, two) in (1..).zip(story.windows(2)) {
            let (before, after) = (y(of(&two[0])), y(of(&two[1])));
            if before != after {
                let _ = write!(path, "H{:.1}V{after:.1}", x(second));
            }
        }
        let _ = write!(path, "H{:.1}", x(story.len()));
        path
    };
    let settled = |at: usize| at % 300 >= 60;
    let sum = |of: fn(&Second) -> f64| -> f64 {
        story.iter().enumerate().filter(|(at, _)| settled(*at)).map(|(_, s)| of(s)).sum()
    };
    let refused = sum(|s| f64::from(s.refused));
    let taken = sum(|s| f64::from(s.taken));
    let used = 100.0 * taken / sum(|s| s.limit);
    let share = 100.0 * refused / (taken + refused);
    let _ = writeln!(
        svg,
        "<text x='{LEFT}' y='{:.0}' class='t'>{title}: {share:.2} % refused, {used:.0} % used</text>",
        top + 18.0
    );
    for rate in [0.0, 10.0, 20.0, 30.0] {
        let at = y(rate);
        let _ = writeln!(
            svg,
            "<path d='M{LEFT} {at:.1}H{:.0}' class='g'/><text x='{:.0}' y='{:.1}' class='e'>{rate}/s</text>",
            WIDTH - 10.0,
            LEFT - 6.0,
            at + 4.0
        );
    }
    for minute in (0..=story.len()).step_by(60) {
        let _ = writeln!(
            svg,
            "<text x='{:.1}' y='{:.0}' class='m'>{}</text>",
            x(minute),
            top + HEIGHT - 8.0,
            minute / 60
        );
    }
    let _ = writeln!(svg, "<path d='{}' class='l'/>", line(&|s| s.limit));
    let _ = writeln!(svg, "<path d='{}' class='r'/>", line(&|s| s.rate));
    for (second, _) in story.iter().enumerate().filter(|(_, seen)| seen.refused > 0) {
        let _ = writeln!(svg, "<path d='M{:.1} {:.1}v-6' class='x'/>", x(second), y(0.0));
    }
}

fn filled(mut story: Vec<Second>, world: &World) -> Vec<Second> {
    for (second, seen) in story.iter_mut().enumerate() {
        seen.limit = world.limit(second as f64);
    }
    story
}

#[test]
#[ignore = "prints docs/adaptive.svg"]
fn draws() {
    let panels: [(&str, Limiter, Box<dyn Law>); 4] = [
        ("Tollgate, sliding window of a second", Limiter::Sliding(1.0), Box::new(law())),
        (
            "The same by AIMD (+1/s a second, half)",
            Limiter::Sliding(1.0),
            Box::new(Aimd::new(50.0, 1.0)),
        ),
        ("Tollgate, fixed windows of a second", Limiter::Fixed(1.0), Box::new(law())),
        ("Tollgate, token bucket of a second", Limiter::Bucket(1.0), Box::new(law())),
    ];
    let height = HEIGHT * panels.len() as f64 + 24.0;
    let mut svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' role='img'>\n\
         <title>The rate in force under an unknown limit that changes</title>\n\
         <style>text{{font:12px sans-serif;fill:#333}}.t{{font-weight:bold}}.e{{text-anchor:end}}\
         .m{{text-anchor:middle}}path{{fill:none}}.g{{stroke:#ddd}}.l{{stroke:#999;stroke-width:3}}\
         .r{{stroke:#0b62c4;stroke-width:1.5}}.x{{stroke:#c4320b;stroke-width:2}}</style>\n\
         <rect width='{WIDTH}' height='{height}' fill='#fff'/>\n"
    );
    for (nth, (title, limiter, mut law)) in panels.into_iter().enumerate() {
        let world = world(limiter);
        let story = filled(run(&world, &mut *law, 7), &world);
        panel(&mut svg, nth as f64 * HEIGHT, title, &story);
    }
    let _ = writeln!(
        svg,
        "<text x='{LEFT}' y='{:.0}'>minutes; grey: the true limit, blue: the rate in force, red: \
         seconds with a refusal. The figures leave out a minute after each change.</text>\n</svg>",
        height - 8.0
    );
    println!("\n{svg}");
}
