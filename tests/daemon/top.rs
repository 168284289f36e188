//! `tollgate top` in a terminal: keys are pressed, and the screen is read.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::support::Daemon;

const ROWS: usize = 24;
const COLUMNS: usize = 80;
/// A screen that does not come within this does not come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A terminal as far as it has to be one: text, and where it goes (ECMA-48).
struct Screen {
    cells: Vec<Vec<char>>,
    row: usize,
    column: usize,
    /// What was begun and not ended.
    rest: Vec<u8>,
}

impl Screen {
    fn blank() -> Screen {
        Screen { cells: vec![vec![' '; COLUMNS]; ROWS], row: 0, column: 0, rest: Vec::new() }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.rest) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        let text = String::from_utf8(self.rest[..whole].to_vec()).unwrap();
        let mut chars = text.chars();
        loop {
            let before = chars.as_str();
            match chars.next() {
                None => break,
                Some('\u{1b}') if chars.as_str().starts_with('[') => {
                    let Some(end) = chars.as_str()[1..].find(|c| matches!(c, '@'..='~')) else {
                        self.rest = before.as_bytes().to_vec();
                        return;
                    };
                    let sequence = chars.as_str()[1..end + 2].to_owned();
                    chars = before[end + 3..].chars();
                    self.obey(&sequence);
                }
                Some('\u{1b}') => {
                    self.rest = before.as_bytes().to_vec();
                    return;
                }
                Some('\r') => self.column = 0,
                Some('\n') => self.row = (self.row + 1).min(ROWS - 1),
                Some(c) => {
                    if self.column < COLUMNS {
                        self.cells[self.row][self.column] = c;
                    }
                    self.column += 1;
                }
            }
        }
        self.rest.drain(..whole);
    }

    fn obey(&mut self, sequence: &str) {
        let (numbers, what) = sequence.split_at(sequence.len() - 1);
        let mut numbers = numbers.split(';').map(|number| number.parse::<usize>().unwrap_or(1));
        match what {
            "H" => {
                self.row = numbers.next().unwrap_or(1).clamp(1, ROWS) - 1;
                self.column = numbers.next().unwrap_or(1).max(1) - 1;
            }
            "J" => self.cells = vec![vec![' '; COLUMNS]; ROWS],
            _ => {}
        }
    }

    fn text(&self) -> String {
        let line = |row: &Vec<char>| row.iter().collect::<String>();
        self.cells.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// The program, its keyboard, and what it writes.
struct Seat {
    child: Child,
    keyboard: std::fs::File,
    output: Receiver<Vec<u8>>,
    screen: Screen,
}

impl Seat {
    fn sit_down(admin: &str) -> Seat {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&ours, size).unwrap();
        let name = Path::new(name.to_str().unwrap());
        let theirs = || std::fs::File::options().read(true).write(true).open(name).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .args(["top", "--admin-url", admin])
            .env("TERM", "xterm-256color")
            .env_remove("TOLLGATE_TOKEN")
            .stdin(theirs())
            .stdout(theirs())
            .stderr(theirs())
            .spawn()
            .unwrap();
        let keyboard = std::fs::File::from(ours);
        let mut output = keyboard.try_clone().unwrap();
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // An error: the last one at the other end has left.
            while let Ok(read) = output.read(&mut buffer) {
                if read == 0 || sender.send(buffer[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Seat { child, keyboard, output: receiver, screen: Screen::blank() }
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    #[track_caller]
    fn see(&mut self, wanted: &str) {
        while !self.screen.text().contains(wanted) {
            match self.output.recv_timeout(PATIENCE) {
                Ok(bytes) => self.screen.take(&bytes),
                Err(_) => panic!("no {wanted:?} in\n{}", self.screen.text()),
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_paused(admin: &str) -> bool {
    let told = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["targets", "erp", "--json", "--admin-url", admin])
        .env_remove("TOLLGATE_TOKEN")
        .output()
        .unwrap();
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    told["paused"].as_bool().unwrap()
}

#[test]
fn keys_steer_the_daemon_and_it_may_come_and_go() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("admin.sock");
    let admin = format!("unix:{}", socket.display());
    let mut daemon = Daemon::start_listening(
        &format!("listen = \"127.0.0.1:0\"\nadmin_listen = {admin:?}\n"),
        "[targets.crm]\nurl = \"http://127.0.0.1:9\"\nlimit.rate = \"1/s\"\n\
         [targets.erp]\nurl = \"http://127.0.0.1:9\"\nlimit.rate = \"10/s\"\n",
    );
    let mut seat = Seat::sit_down(&admin);
    seat.see("2 targets");
    seat.see("▸ crm");
    seat.press("j");
    seat.see("▸ erp");

    seat.press("p");
    seat.see("Pause erp: nothing more is sent to it, also after a restart? [y/N]");
    seat.press("n");
    seat.see("q leave");
    assert!(!is_paused(&admin));
    seat.press("py");
    seat.see("erp is paused");
    assert!(is_paused(&admin));
    seat.see("erp  paused");

    seat.press("\r");
    seat.see("Limits in force");
    seat.see("0 of 10 places taken");

    daemon.kill();
    seat.see("no answer for");
    daemon.restart();
    seat.see("  live");
    seat.press("py");
    seat.see("erp is resumed");
    assert!(!is_paused(&admin));

    seat.press("q");
    assert_eq!(seat.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_daemon_that_is_not_there_is_said_before_the_terminal_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let nowhere = format!("unix:{}", directory.path().join("admin.sock").display());
    let mut seat = Seat::sit_down(&nowhere);
    seat.see("cannot reach Tollgate");
    assert_eq!(seat.child.wait().unwrap().code(), Some(3));
}
