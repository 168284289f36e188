//! `loadtest fragile-api`: the fake API of `tollgate demo` alone, on an address.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tollgate::config::parse_duration;
use tollgate::demo::auditor::{Auditor, Books, Fate};
use tollgate::demo::fragile_api::{Failures, FragileApi, Fragility};

use crate::args::FragileArgs;

/// A part of all, from 0 to 1, kept in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share(u16);

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Share, String> {
        Share::of(text.parse().map_err(|_| "not a number from 0 to 1".to_owned())?)
    }
}

impl Share {
    pub(crate) fn of(part: f64) -> Result<Share, String> {
        if !(0.0..=1.0).contains(&part) {
            return Err("not within 0 and 1".to_owned());
        }
        // In range by the line above.
        Ok(Share((part * 1000.0).round() as u16))
    }

    /// All the ways in which a request can go wrong, in the proportions of the demo. There are
    /// few of those that stop a whole target: a 503 holds it for a second, and a request that
    /// hangs holds a place until it times out.
    pub(crate) fn failures(self) -> Failures {
        let of = |parts: u16| {
            // Parts of 300; at most 1000 * 130 / 300, so it fits.
            u16::try_from((u32::from(self.0) * u32::from(parts) + 150) / 300).unwrap_or(u16::MAX)
        };
        let (unavailable, broken, half, hung) = (of(10), of(70), of(70), of(20));
        let error = self.0.saturating_sub(unavailable + broken + half + hung);
        Failures { error, unavailable, broken, half, hung }
    }
}

/// So many in any sliding second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PerSecond(usize);

impl FromStr for PerSecond {
    type Err = String;

    fn from_str(text: &str) -> Result<PerSecond, String> {
        let count = text.strip_suffix("/s").and_then(|count| count.trim().parse().ok());
        count.map(PerSecond).ok_or_else(|| "not a whole number a second, like 10/s".to_owned())
    }
}

/// Another limit, so long after the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Then {
    after: Duration,
    limit: PerSecond,
}

impl FromStr for Then {
    type Err = String;

    fn from_str(text: &str) -> Result<Then, String> {
        let wrong = || "not a time and a limit, like 60s:8/s".to_owned();
        let (after, limit) = text.split_once(':').ok_or_else(wrong)?;
        Ok(Then { after: parse_duration(after).ok_or_else(wrong)?, limit: limit.parse()? })
    }
}

/// Sets one limit after the other. Never ends.
async fn change(api: &FragileApi, mut limits: Vec<Then>) {
    let start = tokio::time::Instant::now();
    limits.sort_by_key(|then| then.after);
    for Then { after, limit: PerSecond(limit) } in limits {
        tokio::time::sleep_until(start + after).await;
        api.set_limit(Some(limit));
        println!("{:8.1} s  the limit is {limit}/s now", after.as_secs_f64());
    }
    std::future::pending::<()>().await;
}

pub(crate) async fn run(args: &FragileArgs) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let fragility = Fragility {
        seed: args.seed,
        limit: args.limit.map(|PerSecond(limit)| limit),
        latency: args.latency,
        failures: args.failing.failures(),
        ..Fragility::SOUND
    };
    let auditor = Arc::<Auditor>::default();
    let api = FragileApi::start_at(args.listen, fragility, auditor.clone())
        .await
        .with_context(|| format!("cannot serve {}", args.listen))?;
    println!("the fragile API listens on http://{}", api.address());
    let mut ticks = tokio::time::interval(args.every);
    ticks.tick().await;
    let mut said = 0;
    let mut changes = Box::pin(change(&api, args.then.clone()));
    loop {
        tokio::select! {
            () = &mut changes => {}
            _ = ticks.tick() => {}
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
        }
        // Nothing new is not worth a line.
        let now = auditor.now();
        said = auditor.read(|books| {
            if books.total() != said {
                println!("{}", Counts { books, at: now.as_nanos() });
            }
            books.total()
        });
    }
    let now = auditor.now();
    auditor.read(|books| println!("in all: {}", Counts { books, at: now.as_nanos() }));
    drop(changes);
    api.stop().await;
    Ok(())
}

/// One line about the books.
struct Counts<'a> {
    books: &'a Books,
    /// On the API's clock, in nanoseconds.
    at: u64,
}

impl fmt::Display for Counts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { books, at } = self;
        let seconds = Duration::from_nanos(*at).as_secs_f64();
        let (total, peak) = (books.total(), books.peak().arrivals);
        write!(f, "{seconds:8.1} s  {total} arrivals, most in a second {peak}; answers:")?;
        let mut fates = Fate::ALL.into_iter().filter(|fate| books.count(*fate) > 0).peekable();
        if fates.peek().is_none() {
            return f.write_str(" none");
        }
        for (n, fate) in fates.enumerate() {
            let comma = if n > 0 { "," } else { "" };
            write!(f, "{comma} {} x {}", books.count(fate), fate.as_str())?;
        }
        let (repeats, faults) = (books.repeats(), books.fault_count());
        if repeats > 0 {
            write!(f, "; {repeats} repeats")?;
        }
        if faults > 0 {
            write!(f, "; {faults} without Tollgate's headers or against its promises")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate::broker::time::Mono;
    use tollgate::demo::auditor::Caller;

    #[test]
    fn a_share_is_spread_over_every_way_to_fail() {
        let failures = |text: &str| text.parse::<Share>().unwrap().failures();
        assert_eq!(failures("0"), Failures::NONE);
        let demo = Failures { error: 130, unavailable: 10, broken: 70, half: 70, hung: 20 };
        assert_eq!(failures("0.3"), demo);
        for text in ["0.001", "0.017", "0.5", "1"] {
            let share: Share = text.parse().unwrap();
            assert_eq!(share.failures().total(), u32::from(share.0), "{text}");
        }
        for wrong in ["-0.1", "1.1", "NaN", "all", ""] {
            assert!(wrong.parse::<Share>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_limit_is_a_whole_number_a_second() {
        assert_eq!("10/s".parse(), Ok(PerSecond(10)));
        for wrong in ["10", "/s", "1.5/s", "10/min", "-1/s"] {
            assert!(wrong.parse::<PerSecond>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_change_is_a_time_and_a_limit() {
        let then = Then { after: Duration::from_secs(60), limit: PerSecond(8) };
        assert_eq!("60s:8/s".parse(), Ok(then));
        for wrong in ["60s", "8/s", "60:8/s", "60s:8", ":"] {
            assert!(wrong.parse::<Then>().is_err(), "{wrong}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn limits_change_in_their_order() {
        let api =
            FragileApi::start(Fragility { limit: Some(0), ..Fragility::SOUND }).await.unwrap();
        let limits = ["2m:0/s", "60s:5/s"].map(|text| text.parse().unwrap()).to_vec();
        let within =
            |time| tokio::time::timeout(Duration::from_secs(time), change(&api, limits.clone()));
        assert!(within(59).await.is_err());
        assert_eq!(api.limit(), Some(0));
        assert!(within(61).await.is_err());
        assert_eq!(api.limit(), Some(5));
        assert!(within(121).await.is_err());
        assert_eq!(api.limit(), Some(0));
    }

    #[test]
    fn the_line_names_what_came_and_what_was_answered() {
        let mut books = Books::default();
        let caller = Caller::default;
        books.arrive(Mono::ZERO, caller(), |_, _| Fate::Done);
        books.arrive(Mono::ZERO, caller(), |_, _| Fate::Limited);
        let line = Counts { books: &books, at: 1_500_000_000 }.to_string();
        assert_eq!(
            line.trim(),
            "1.5 s  2 arrivals, most in a second 2; answers: 1 x 200, 1 x 429; 2 without \
             Tollgate's headers or against its promises"
        );
    }
}
