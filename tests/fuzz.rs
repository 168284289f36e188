//! The corpus of the fuzzer, and some thousand mutations of it for each door, without the fuzzer.
//!
//! `TOLLGATE_FUZZ_INPUTS=1000000 cargo test --release --test fuzz` goes on for longer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use tollgate::fuzz::{DOORS, Door};

/// Mutations of each corpus, where the environment says nothing else.
const INPUTS: usize = 3_000;
/// No input is made longer, in bytes.
const LONGEST: usize = 4_096;

/// What is between two things, or means something to one reader or another.
const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\0",
    b"\r\n\r\n",
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"null",
    b"1e999",
    b"-0",
    b"18446744073709551616",
    b"%2e%2e",
    b"%00",
    b"..",
    b"/",
    b"//",
    b"?",
    b"#",
    b";",
    b"@",
    b"\xff",
    b"\xc3\x28",
    "٣".as_bytes(),
    "\u{202e}".as_bytes(),
    b"${A}",
    b"${B}",
    b"TaskToken",
    b"target",
    b"erp",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 1\r\n",
    b"0\r\n\r\n",
    b"\x7f",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
];

/// xorshift64: the same every time.
struct Seed(u64);

impl Seed {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|file| (file.clone(), std::fs::read(file).unwrap())).collect()
}

/// One to eight changes, each as a fuzzer would make it.
fn mutated(seed: &mut Seed, corpus: &[(PathBuf, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = corpus[seed.below(corpus.len())].1.clone();
    for _ in 0..=seed.below(8) {
        let at = seed.below(bytes.len() + 1);
        let to = at + seed.below(bytes.len() + 1 - at).min(64);
        match seed.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << seed.below(8),
            1 if at < bytes.len() => bytes[at] = seed.next() as u8,
            2 => drop(bytes.drain(at..to)),
            3 => {
                let word = WORDS[seed.below(WORDS.len())];
                bytes.splice(at..at, word.iter().copied());
            }
            4 => {
                let part = bytes[at..to].to_vec();
                bytes.splice(at..at, part);
            }
            5 => {
                let other = &corpus[seed.below(corpus.len())].1;
                let from = seed.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => bytes.truncate(at),
        }
    }
    bytes.truncate(LONGEST);
    bytes
}

fn knock(&(name, door): &Door, bytes: &[u8], what: &str) {
    if catch_unwind(AssertUnwindSafe(|| door(bytes))).is_err() {
        let shown = String::from_utf8_lossy(bytes).into_owned();
        panic!("{name} fails on {what}: {shown:?} = {bytes:?}");
    }
}

fn go_through(name: &str) {
    let door = DOORS.iter().find(|(own, _)| *own == name).unwrap();
    let corpus = corpus(name);
    assert!(corpus.len() >= 3, "{name} has {} seeds", corpus.len());
    for (file, bytes) in &corpus {
        knock(door, bytes, &file.display().to_string());
    }
    let inputs = std::env::var("TOLLGATE_FUZZ_INPUTS").ok();
    let inputs = inputs.map_or(INPUTS, |text| text.parse().unwrap());
    let mut seed = Seed(0x9e37_79b9_7f4a_7c15);
    for number in 0..inputs {
        let bytes = mutated(&mut seed, &corpus);
        knock(door, &bytes, &format!("mutation {number}"));
    }
    println!("{name}: {} seeds, {inputs} mutations", corpus.len());
}

macro_rules! doors {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                go_through(stringify!($name));
            }
        )*

        #[test]
        fn every_door_is_gone_through_and_has_its_fuzz_target() {
            let here = [$(stringify!($name)),*];
            let all: Vec<&str> = DOORS.iter().map(|(name, _)| *name).collect();
            assert_eq!(all, here);
            let root = Path::new(env!("CARGO_MANIFEST_DIR"));
            for name in all {
                let target = root.join(format!("fuzz/fuzz_targets/{name}.rs"));
                let text = std::fs::read_to_string(target).unwrap();
                assert!(text.contains(&format!("fuzz::{name}(bytes)")), "{text}");
            }
        }
    };
}

doors!(config job lines message paths rate_limit record retry_after schedule wire);
