//! Keys, from a thread of their own: the terminal is read with calls that block.

use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyEventKind};
use tokio::sync::mpsc;

use super::Word;

/// How often the thread looks whether anybody still listens.
const LOOK: Duration = Duration::from_millis(200);

/// Until nobody listens, or the terminal is gone.
pub(super) fn listen(words: mpsc::Sender<Word>) {
    std::thread::spawn(move || {
        while !words.is_closed() {
            let word = match event::poll(LOOK) {
                Ok(false) => continue,
                Ok(true) => match event::read() {
                    Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => Word::Key(key),
                    Ok(Event::Resize(..)) => Word::Resized,
                    Ok(_) => continue,
                    Err(_) => Word::Left,
                },
                Err(_) => Word::Left,
            };
            let last = matches!(word, Word::Left);
            if words.blocking_send(word).is_err() || last {
                return;
            }
        }
    });
}
