//! The times of a week as people write them: `Mon-Fri 08:00-18:00`.
//!
//! ```text
//! when  = days [ times ]
//! days  = "daily" | day [ "-" day ] { "," … }          Mon … Sun, in any case; Sat-Mon is three
//! times = time "-" time { "," … }                      00:00 … 24:00; none: the whole day
//! ```
//! A range of times that ends at or before its begin goes over midnight, and belongs to the day on
//! which it begins: `Fri 22:00-06:00` ends on Saturday at six.

use std::fmt;
use std::str::FromStr;

use super::week::{DAY, Week};

/// Times of a week, on the clock of a place that is said elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct When {
    text: Box<str>,
    pub(super) week: Week,
}

impl fmt::Display for When {
    /// As it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What is wrong with the text, for people. Pieces of it are shown in quotes, on one line, and cut
/// where they are long.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhenError {
    #[error("it is empty; write days and times, like \"Mon-Fri 08:00-18:00\" or \"daily\"")]
    Empty,
    #[error("it is longer than {MOST} characters; make several [[…schedule]] entries of it")]
    TooLong,
    #[error("no days stand before the times; write \"daily {0}\" if every day is meant")]
    NoDays(Piece),
    #[error("{0} is no day; write Mon, Tue, Wed, Thu, Fri, Sat or Sun, or daily")]
    NotADay(Piece),
    #[error("{0} is no day; write it as {1}")]
    LongDay(Piece, &'static str),
    #[error("{0}: put a comma between days, or a hyphen from the first to the last")]
    NoComma(Piece),
    #[error("{0} is one day; write {1}, or daily for the whole week")]
    OneDay(Piece, &'static str),
    #[error("daily is every day, and stands alone before the times")]
    DailyAndMore,
    #[error("something is missing before or after a comma")]
    NothingAtComma,
    #[error("{0} is no range of days; write it like Mon-Fri")]
    NotDays(Piece),
    #[error("{0} comes after times; days that have times of their own need another entry")]
    DaysAfterTimes(Piece),
    #[error("{0} is no range of times; write it like 08:00-18:00")]
    NotTimes(Piece),
    #[error("{0} is no time; write hours and minutes in two digits each, 00:00 to 24:00")]
    NotATime(Piece),
    #[error("a range cannot begin at 24:00; write 00:00 and the next day")]
    BeginsAtEnd,
    #[error("{0} begins and ends at the same time; for a whole day leave the times away")]
    NoLength(Piece),
}

/// Part of what was written.
#[derive(Clone, PartialEq, Eq)]
pub struct Piece(String);

impl Piece {
    fn of(text: &str) -> Piece {
        const MOST: usize = 30;
        let text = text.trim();
        let mut piece: String = text.chars().take(MOST).flat_map(char::escape_debug).collect();
        if text.chars().nth(MOST).is_some() {
            piece.push('…');
        }
        Piece(piece)
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// In bytes: a week of ranges has room.
const MOST: usize = 512;

const DAYS: [(&str, &str); 7] = [
    ("Mon", "monday"),
    ("Tue", "tuesday"),
    ("Wed", "wednesday"),
    ("Thu", "thursday"),
    ("Fri", "friday"),
    ("Sat", "saturday"),
    ("Sun", "sunday"),
];

impl FromStr for When {
    type Err = WhenError;

    fn from_str(text: &str) -> Result<When, WhenError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(WhenError::Empty);
        }
        if text.len() > MOST {
            return Err(WhenError::TooLong);
        }
        let at = text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
        let (days, times) = (text[..at].trim(), &text[at..]);
        if days.is_empty() {
            return Err(WhenError::NoDays(Piece::of(times)));
        }
        let days = read_days(days)?;
        let times = if times.is_empty() { vec![(0, DAY)] } else { read_times(times)? };
        let stretches = (0_u32..).zip(days).filter(|(_, meant)| *meant).flat_map(|(day, _)| {
            times.iter().map(move |(from, to)| {
                let to = if to <= from { to + DAY } else { *to };
                (day * DAY + from, day * DAY + to)
            })
        });
        Ok(When { text: text.into(), week: Week::new(stretches) })
    }
}

fn read_days(text: &str) -> Result<[bool; 7], WhenError> {
    if text.eq_ignore_ascii_case("daily") {
        return Ok([true; 7]);
    }
    let mut meant = [false; 7];
    for item in text.split(',').map(str::trim) {
        if item.is_empty() {
            return Err(WhenError::NothingAtComma);
        }
        let (first, last) = match item.split_once('-') {
            None => {
                let day = read_day(item)?;
                (day, day)
            }
            Some((first, last)) if first.trim().is_empty() || last.trim().is_empty() => {
                return Err(WhenError::NotDays(Piece::of(item)));
            }
            Some((_, last)) if last.contains('-') => {
                return Err(WhenError::NotDays(Piece::of(item)));
            }
            Some((first, last)) => {
                let (first, last) = (read_day(first)?, read_day(last)?);
                if first == last {
                    return Err(WhenError::OneDay(Piece::of(item), DAYS[first].0));
                }
                (first, last)
            }
        };
        // Over the end of the week: Sat-Mon.
        let days = (last + 7 - first) % 7;
        for day in first..=first + days {
            meant[day % 7] = true;
        }
    }
    Ok(meant)
}

fn read_day(text: &str) -> Result<usize, WhenError> {
    let text = text.trim();
    let lower = text.to_ascii_lowercase();
    if let Some(day) = DAYS.iter().position(|(short, _)| short.eq_ignore_ascii_case(text)) {
        return Ok(day);
    }
    if lower == "daily" {
        return Err(WhenError::DailyAndMore);
    }
    let long = |(_, long): &&(&str, &str)| lower.len() > 3 && long.starts_with(&lower);
    if let Some((short, _)) = DAYS.iter().find(long) {
        return Err(WhenError::LongDay(Piece::of(text), short));
    }
    let mut words = text.split_whitespace();
    if words.all(is_day) && text.contains(char::is_whitespace) {
        return Err(WhenError::NoComma(Piece::of(text)));
    }
    Err(WhenError::NotADay(Piece::of(text)))
}

fn is_day(word: &str) -> bool {
    DAYS.iter().any(|(short, _)| short.eq_ignore_ascii_case(word))
}

/// From and to, in minutes of the day; `to` may be at or before `from`.
fn read_times(text: &str) -> Result<Vec<(u32, u32)>, WhenError> {
    let mut times = Vec::new();
    for item in text.split(',').map(str::trim) {
        if item.is_empty() {
            return Err(WhenError::NothingAtComma);
        }
        if let Some(letter) = item.find(|c: char| c.is_ascii_alphabetic()) {
            return Err(WhenError::DaysAfterTimes(Piece::of(&item[letter..])));
        }
        let Some((from, to)) = item.split_once('-') else {
            return Err(WhenError::NotTimes(Piece::of(item)));
        };
        let (from, to) = (read_time(from)?, read_time(to)?);
        if from == DAY {
            return Err(WhenError::BeginsAtEnd);
        }
        if from == to {
            return Err(WhenError::NoLength(Piece::of(item)));
        }
        times.push((from, to));
    }
    Ok(times)
}

/// In minutes of the day, up to 24:00.
fn read_time(text: &str) -> Result<u32, WhenError> {
    let text = text.trim();
    let wrong = || WhenError::NotATime(Piece::of(text));
    let two = |digits: &str| -> Option<u32> {
        let right = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        right.then(|| digits.parse().ok()).flatten()
    };
    let (hour, minute) = text.split_once(':').ok_or_else(wrong)?;
    let (hour, minute) = (two(hour).ok_or_else(wrong)?, two(minute).ok_or_else(wrong)?);
    let time = hour * 60 + minute;
    if minute > 59 || time > DAY { Err(wrong()) } else { Ok(time) }
}
