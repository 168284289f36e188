//! Parameters with a unit, checked once, when they are read.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

/// A time that is not zero and not endless; in the file, a number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub(crate) struct Seconds(Duration);

/// Four months.
const LONGEST: f64 = 1e7;

impl Seconds {
    pub(crate) fn time(self) -> Duration {
        self.0
    }

    pub(crate) fn count(self) -> f64 {
        self.0.as_secs_f64()
    }
}

impl TryFrom<f64> for Seconds {
    type Error = String;

    fn try_from(count: f64) -> Result<Seconds, String> {
        let time = Duration::try_from_secs_f64(count).ok();
        let time = time.filter(|time| !time.is_zero() && count <= LONGEST);
        time.map(Seconds).ok_or_else(|| format!("{count} is no number of seconds to measure for"))
    }
}

impl From<Seconds> for f64 {
    fn from(seconds: Seconds) -> f64 {
        seconds.count()
    }
}

/// The limit of a target; in the file, as the daemon's configuration has it: "50/s".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Rate(u32);

impl Rate {
    pub(crate) fn per_second(&self) -> f64 {
        f64::from(self.0)
    }

    pub(crate) fn interval(&self) -> Duration {
        Duration::from_secs(1) / self.0
    }
}

impl TryFrom<String> for Rate {
    type Error = String;

    fn try_from(text: String) -> Result<Rate, String> {
        let number = text.strip_suffix("/s").and_then(|number| number.parse().ok());
        let number = number.filter(|number| (1..=1_000_000).contains(number));
        number.map(Rate).ok_or_else(|| format!("a rate like \"50/s\" is needed, not {text:?}"))
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> String {
        rate.to_string()
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

/// For lists of which something is chosen.
pub(crate) fn not_empty<'de, D, T>(from: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let list = Vec::deserialize(from)?;
    match list.is_empty() {
        true => Err(serde::de::Error::custom("there must be at least one")),
        false => Ok(list),
    }
}

/// For parts of which something is drawn.
pub(crate) fn not_all_zero<'de, D: Deserializer<'de>>(from: D) -> Result<[u32; 3], D::Error> {
    let parts = <[u32; 3]>::deserialize(from)?;
    match parts == [0; 3] {
        true => Err(serde::de::Error::custom("one of the three must be more than 0")),
        false => Ok(parts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::Mix;

    #[test]
    fn what_cannot_be_run_is_not_read() {
        for count in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300] {
            assert!(Seconds::try_from(count).is_err(), "{count}");
        }
        assert_eq!(Seconds::try_from(1.5).unwrap().time(), Duration::from_millis(1500));
        for text in ["50", "0/s", "-1/s", "1.5/s", "50/min", "9999999/s"] {
            assert!(Rate::try_from(text.to_owned()).is_err(), "{text}");
        }
        let rate = Rate::try_from("50/s".to_owned()).unwrap();
        assert_eq!((rate.interval(), rate.to_string()), (Duration::from_millis(20), "50/s".into()));
        for mix in ["sizes = []", "delays_ms = []", "priorities = [0, 0, 0]"] {
            assert!(toml::from_str::<Mix>(mix).is_err(), "{mix}");
        }
        assert_eq!(toml::from_str::<Mix>("").unwrap(), Mix::default());
    }
}
