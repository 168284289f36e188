//! The jobs that are handed in: a mix, and the bytes of requests that bring them.
//!
//! A job's number decides everything about it, so that the same mix brings the same jobs in every
//! turn; and it is in the job's path, so that the sink knows which job it sees.

use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tollgate::broker::job::Priority;
use tollgate::demo::rng::Rng;

use crate::scenarios::units::{not_all_zero, not_empty};

/// In the path; with leading zeros, so that a number takes the place of another.
const DIGITS: usize = 12;
const PATH: &str = "/n/";
const NUMBER: &str = "000000000000";
const GROUP: &str = "group-000000";
const TARGET: &str = "t00000";

/// What kinds of jobs there are, and how many of each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Mix {
    /// Parts of HIGH, NORMAL and BATCH.
    #[serde(deserialize_with = "not_all_zero")]
    pub(crate) priorities: [u32; 3],
    /// Of a job's body, in bytes; one is chosen for each job, all alike.
    #[serde(deserialize_with = "not_empty")]
    pub(crate) sizes: Vec<usize>,
    /// So many groups; 0: jobs belong to none.
    pub(crate) groups: u32,
    /// In milliseconds; one is chosen for each job, all alike.
    #[serde(deserialize_with = "not_empty")]
    pub(crate) delays_ms: Vec<u64>,
    /// Jobs go to each target in turn.
    pub(crate) targets: u32,
}

impl Default for Mix {
    fn default() -> Mix {
        let (sizes, delays_ms) = (vec![1024], vec![0]);
        Mix { priorities: [0, 1, 0], sizes, groups: 0, delays_ms, targets: 1 }
    }
}

impl Mix {
    pub(crate) fn of(priority: Priority, size: usize) -> Mix {
        let mut priorities = [0; 3];
        priorities[priority.index()] = 1;
        Mix { priorities, sizes: vec![size], ..Mix::default() }
    }
}

/// The name of the `n`th target.
pub(crate) fn target(n: u32) -> String {
    format!("t{n:05}")
}

/// The number of the job whose path this is.
pub(crate) fn number_in(path: &str) -> Option<u64> {
    path.strip_prefix(PATH)?.get(..DIGITS)?.parse().ok()
}

/// One kind of job as JSON, with places for what differs.
#[derive(Clone, Debug)]
struct Fragment {
    json: Vec<u8>,
    number_at: usize,
    target_at: usize,
    group_at: Option<usize>,
}

/// Makes the bytes of requests.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    mix: Mix,
    /// By delay, size, priority.
    fragments: Vec<Fragment>,
    batch: Option<usize>,
    /// An address or `localhost`, unless it is in the daemon's `allowed_hosts`: the daemon refuses
    /// other names.
    host: String,
    token: Option<String>,
}

impl Requests {
    /// `batch`: so many jobs in each request, by the batch API; without it, one by the other.
    pub(crate) fn new(mix: Mix, batch: Option<usize>) -> Requests {
        let fragments = fragments(&mix, TARGET);
        Requests { mix, fragments, batch, host: "localhost".into(), token: None }
    }

    /// For a daemon that is not our own, which is known by the name `host`: all jobs go to this
    /// target.
    pub(crate) fn to(mut self, host: &str, target: &str, token: Option<String>) -> Requests {
        host.clone_into(&mut self.host);
        self.token = token;
        self.mix.targets = 1;
        self.fragments = fragments(&self.mix, target);
        self
    }

    pub(crate) fn jobs_each(&self) -> u64 {
        self.batch.unwrap_or(1) as u64
    }

    /// Writes the request that brings `count` jobs from number `first` on into `out`.
    pub(crate) fn write(&self, out: &mut Vec<u8>, first: u64, count: u64) {
        out.clear();
        let (path, edges) = match self.batch {
            Some(_) => ("/v1/jobs/batch", 1 + usize::try_from(count).unwrap_or(0)),
            None => ("/v1/jobs", 0),
        };
        let length: usize =
            edges + self.each(first, count).map(|(f, _)| f.json.len()).sum::<usize>();
        let mut head = String::with_capacity(192);
        let host = &self.host;
        // Writing to a String cannot fail.
        let _ = write!(
            head,
            "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n"
        );
        if let Some(token) = &self.token {
            let _ = write!(head, "authorization: Bearer {token}\r\n");
        }
        head.push_str("\r\n");
        out.extend_from_slice(head.as_bytes());
        for (fragment, number) in self.each(first, count) {
            if self.batch.is_some() {
                out.push(if number == first { b'[' } else { b',' });
            }
            let start = out.len();
            out.extend_from_slice(&fragment.json);
            self.fill(&mut out[start..], fragment, number);
        }
        if self.batch.is_some() {
            out.push(b']');
        }
    }

    fn each(&self, first: u64, count: u64) -> impl Iterator<Item = (&Fragment, u64)> {
        (first..first + count).map(|number| (self.kind(number), number))
    }

    fn kind(&self, number: u64) -> &Fragment {
        // Nothing to draw, which is so for most runs.
        if self.mix.sizes.len() == 1 && self.mix.delays_ms.len() == 1 {
            return &self.fragments[self.priority(number).index()];
        }
        let mut rng = Rng::nth(!0, number);
        let delay = below(&mut rng, self.mix.delays_ms.len());
        let size = below(&mut rng, self.mix.sizes.len());
        let row = delay * self.mix.sizes.len() + size;
        &self.fragments[row * Priority::ALL.len() + self.priority(number).index()]
    }

    pub(crate) fn priority(&self, number: u64) -> Priority {
        let parts = self.mix.priorities;
        let all: u64 = parts.iter().map(|part| u64::from(*part)).sum();
        let mut drawn = Rng::nth(1, number).below(all);
        for (priority, part) in Priority::ALL.into_iter().zip(parts) {
            match drawn.checked_sub(u64::from(part)) {
                Some(rest) => drawn = rest,
                None => return priority,
            }
        }
        Priority::Normal
    }

    /// A group has one target, so that its order can be kept.
    pub(crate) fn group(&self, number: u64) -> Option<u64> {
        (self.mix.groups > 0).then(|| number % u64::from(self.mix.groups))
    }

    fn fill(&self, json: &mut [u8], fragment: &Fragment, number: u64) {
        digits(&mut json[fragment.number_at..][..DIGITS], number);
        let group = self.group(number);
        if let (Some(at), Some(group)) = (fragment.group_at, group) {
            digits(&mut json[at..][..6], group);
        }
        if self.mix.targets > 1 {
            let target = group.unwrap_or(number) % u64::from(self.mix.targets);
            digits(&mut json[fragment.target_at..][..5], target);
        }
    }
}

fn below(rng: &mut Rng, n: usize) -> usize {
    usize::try_from(rng.below(n as u64)).unwrap_or(0)
}

/// Decimal, with leading zeros; what does not fit is left out at the front.
fn digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// By delay, size, priority.
fn fragments(mix: &Mix, target: &str) -> Vec<Fragment> {
    let mut fragments = Vec::new();
    for delay in &mix.delays_ms {
        for size in &mix.sizes {
            for priority in Priority::ALL {
                fragments.push(fragment(priority, *size, *delay, mix.groups > 0, target));
            }
        }
    }
    fragments
}

fn fragment(priority: Priority, size: usize, delay: u64, group: bool, target: &str) -> Fragment {
    let mut json = format!("{{\"target\":\"{target}\",\"path\":\"{PATH}{NUMBER}\"");
    let number_at = json.len() - 1 - DIGITS;
    let target_at = "{\"target\":\"t".len();
    if priority != Priority::Normal {
        let _ = write!(json, ",\"priority\":\"{priority}\"", priority = priority.as_str());
    }
    let group_at = group.then(|| {
        let _ = write!(json, ",\"group\":\"{GROUP}\"");
        json.len() - 1 - 6
    });
    if delay > 0 {
        let _ = write!(json, ",\"delay\":\"{:?}\"", Duration::from_millis(delay));
    }
    // What a job's body is like: an object with a few fields and some text. Two characters of
    // the size are quotes.
    let lead = "{\"order\":4711,\"text\":\"";
    let text = size.saturating_sub(lead.len() + 2);
    let _ = write!(json, ",\"body\":{lead}");
    json.extend((0..text).map(|n| char::from(b'a' + (n * 7 % 26) as u8)));
    json.push_str("\"}}");
    Fragment { json: json.into_bytes(), number_at, target_at, group_at }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn body(request: &[u8]) -> Value {
        let text = std::str::from_utf8(request).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let length = format!("content-length: {}", body.len());
        assert!(head.lines().any(|line| line == length), "{head}");
        serde_json::from_str(body).unwrap()
    }

    #[test]
    fn a_job_is_what_its_number_says() {
        let mix = Mix {
            priorities: [1, 2, 1],
            sizes: vec![100, 1024],
            groups: 10,
            delays_ms: vec![0, 1_500],
            targets: 4,
        };
        let requests = Requests::new(mix, None);
        let (mut bytes, mut again) = (Vec::new(), Vec::new());
        let mut seen = std::collections::BTreeSet::new();
        for number in [0, 7, 123_456_789_012].into_iter().chain(100..300) {
            requests.write(&mut bytes, number, 1);
            requests.write(&mut again, number, 1);
            assert_eq!(bytes, again);
            let job = body(&bytes);
            assert_eq!(number_in(job["path"].as_str().unwrap()), Some(number));
            assert_eq!(job["group"], format!("group-{:06}", number % 10));
            assert_eq!(job["target"], target((number % 10 % 4) as u32));
            let priority = requests.priority(number).as_str();
            assert_eq!(job["priority"].as_str().unwrap_or("NORMAL"), priority);
            let size = job["body"].to_string().len();
            assert!([100, 1024].contains(&size), "{size}");
            let delay = job["delay"].as_str();
            assert!([None, Some("1.5s")].contains(&delay), "{delay:?}");
            seen.insert((size, priority, delay.is_some()));
        }
        assert_eq!(seen.len(), 12, "each kind is there: {seen:?}");
    }

    #[test]
    fn a_batch_brings_its_jobs_in_order() {
        let requests = Requests::new(Mix::default(), Some(1000));
        let mut bytes = Vec::new();
        requests.write(&mut bytes, 41, 1000);
        let jobs = body(&bytes);
        let jobs = jobs.as_array().unwrap();
        assert_eq!(jobs.len(), 1000);
        for (number, job) in (41..).zip(jobs) {
            assert_eq!(number_in(job["path"].as_str().unwrap()), Some(number));
        }
        assert_eq!(requests.jobs_each(), 1000);
    }

    #[test]
    fn a_strange_daemon_gets_its_own_target_and_token() {
        let requests =
            Requests::new(Mix::default(), None).to("gate:7070", "erp", Some("t0ken".into()));
        let mut bytes = Vec::new();
        requests.write(&mut bytes, 1, 1);
        assert_eq!(body(&bytes)["target"], "erp");
        let head = String::from_utf8(bytes).unwrap();
        assert!(head.contains("authorization: Bearer t0ken\r\n"), "{head}");
        assert!(head.contains("host: gate:7070\r\n"), "{head}");
    }

    #[test]
    fn a_path_of_others_has_no_number() {
        for path in ["/", "/n/", "/n/12", "/orders/000000000001"] {
            assert_eq!(number_in(path), None, "{path}");
        }
    }
}
