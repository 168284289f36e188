//! Where the demo is watched: the whole terminal, or lines on standard output.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use super::snapshot::{Scene, Snapshot};
use super::view;

pub(super) struct Screen {
    scene: Scene,
    kind: Kind,
}

enum Kind {
    /// On the alternate screen, in raw mode. Given back when it is dropped; also by ratatui's
    /// hook where anything panics.
    Full(Box<DefaultTerminal>),
    Lines,
}

/// Standard output is gone: a pipe that nobody reads any more.
#[derive(Debug)]
pub(super) struct NobodyWatches;

impl Screen {
    /// The whole terminal if there is one that can be had, else lines.
    pub(super) fn open(scene: Scene) -> Screen {
        let kind = if fills_the_terminal() {
            match ratatui::try_init() {
                Ok(terminal) => Kind::Full(Box::new(terminal)),
                Err(error) => {
                    // Half of it may have been done.
                    let _ = ratatui::try_restore();
                    tracing::debug!(%error, "this terminal shows lines only");
                    Kind::Lines
                }
            }
        } else {
            Kind::Lines
        };
        let screen = Screen { scene, kind };
        if matches!(screen.kind, Kind::Lines) {
            // If nobody reads it, the first line will tell.
            let _ = say(&view::introduction(&screen.scene));
        }
        screen
    }

    /// How often there is something new to show.
    pub(super) fn period(&self) -> Duration {
        match self.kind {
            Kind::Full(_) => Duration::from_millis(100),
            Kind::Lines => Duration::from_secs(1),
        }
    }

    pub(super) fn show(&mut self, now: &Snapshot) -> Result<(), NobodyWatches> {
        match &mut self.kind {
            Kind::Full(terminal) => {
                let scene = &self.scene;
                match terminal.draw(|frame| view::draw(frame, scene, now)) {
                    Ok(_) => Ok(()),
                    Err(_) => Err(NobodyWatches),
                }
            }
            Kind::Lines => say(&view::line(&self.scene, now)),
        }
    }

    /// Whether somebody pressed `q`, Escape or Ctrl-C; in raw mode the last is a key, no signal.
    pub(super) fn is_told_to_end(&mut self) -> bool {
        if matches!(self.kind, Kind::Lines) {
            return false;
        }
        while let Ok(true) = event::poll(Duration::ZERO) {
            let Ok(event) = event::read() else { return false };
            let Event::Key(key) = event else { continue };
            let control = key.modifiers.contains(KeyModifiers::CONTROL);
            let ends = match key.code {
                KeyCode::Char('q') | KeyCode::Esc => true,
                KeyCode::Char('c') => control,
                _ => false,
            };
            if ends && key.kind == KeyEventKind::Press {
                return true;
            }
        }
        false
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if matches!(self.kind, Kind::Full(_)) {
            // Where the terminal is gone there is nothing to give back.
            let _ = ratatui::try_restore();
        }
    }
}

/// Keys come from standard input, so both ends must be a terminal.
pub(super) fn fills_the_terminal() -> bool {
    io::stdout().is_terminal() && io::stdin().is_terminal()
}

/// `println!` would panic where standard output is closed.
pub(super) fn say(line: &str) -> Result<(), NobodyWatches> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|_| NobodyWatches)
}
