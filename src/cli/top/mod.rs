//! `tollgate top`: the console's overview in a terminal, live, with keys to steer by.
//!
//! One loop takes one word after the other: news of the daemon ([`feed`]), keys ([`keys`]), and what
//! came of what was asked. [`state`] says what each word changes, and [`view`] draws the result.

mod detail;
mod feed;
mod keys;
mod news;
mod state;
mod style;
mod view;

#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::Outside;
use super::args::TopArgs;
use super::client::Client;
use super::error::CliError;
use super::values::encode;
use news::{News, TargetJobs};
use state::{Do, Top};
use style::Style;

/// How often the screen is drawn though nothing came: what is far away comes closer.
const REDRAW: Duration = Duration::from_secs(1);
/// How often the jobs of the target that is looked into are asked for.
const JOBS_EVERY: Duration = Duration::from_secs(2);
/// How many words wait at most; keys and news come slower than they are taken.
const WORDS: usize = 64;

/// What makes a difference to what is shown.
enum Word {
    News(Box<News>),
    /// The daemon cannot be heard, and why.
    Away(String),
    Key(ratatui::crossterm::event::KeyEvent),
    /// The terminal has another size.
    Resized,
    /// Nobody is there to press a key any more.
    Left,
    Jobs(String, Result<Box<TargetJobs>, String>),
    /// What came of what was asked.
    Did(Result<String, String>),
}

pub(super) async fn top(args: &TopArgs, outside: &mut Outside) -> Result<(), CliError> {
    if !(io::stdout().is_terminal() && io::stdin().is_terminal()) {
        return Err(CliError::Usage(
            "top needs a terminal to draw on and keys to listen to; `tollgate targets` says the \
             same once, and with --json to a script"
                .into(),
        ));
    }
    let address = &args.at.admin_url.0;
    let client = Arc::new(outside.client(address)?);
    // A daemon that is not there, or does not let us in, is said as any command says it.
    let begun = client.stream(feed::PATH).await?;
    let (words, mut heard) = mpsc::channel(WORDS);
    let mut stop = Stop::listen()?;
    let screen = Screen::open()?;
    keys::listen(words.clone());
    let feed = tokio::spawn(feed::follow(client.clone(), begun, words.clone()));
    let top = Top::new(&address.to_string(), Instant::now());
    let told = Running { top, client, words, screen }.run(&mut heard, &mut stop).await;
    feed.abort();
    told
}

struct Running {
    top: Top,
    client: Arc<Client>,
    words: mpsc::Sender<Word>,
    screen: Screen,
}

impl Running {
    async fn run(
        mut self,
        heard: &mut mpsc::Receiver<Word>,
        stop: &mut Stop,
    ) -> Result<(), CliError> {
        let mut redraw = tokio::time::interval(REDRAW);
        let mut jobs = tokio::time::interval(JOBS_EVERY);
        loop {
            self.top.tick(Instant::now());
            self.screen.draw(&mut self.top)?;
            let word = tokio::select! {
                word = heard.recv() => word.unwrap_or(Word::Left),
                _ = redraw.tick() => continue,
                _ = jobs.tick() => {
                    if let Some(name) = self.top.looked_into() {
                        self.act(Do::Look(name.to_owned()));
                    }
                    continue;
                }
                () = stop.told() => return Ok(()),
            };
            self.top.tick(Instant::now());
            match word {
                Word::News(news) => self.top.hear(*news),
                Word::Away(why) => self.top.lose(why),
                Word::Resized => {}
                Word::Left => return Ok(()),
                Word::Jobs(name, jobs) => self.top.see_jobs(&name, jobs),
                Word::Did(what) => self.top.say(what),
                Word::Key(key) => match self.top.press(key) {
                    Some(Do::Leave) => return Ok(()),
                    Some(what) => self.act(what),
                    None => {}
                },
            }
        }
    }

    /// Asks the daemon, and hears of it later: the screen never waits.
    fn act(&self, what: Do) {
        let (client, words) = (self.client.clone(), self.words.clone());
        tokio::spawn(async move {
            let word = match what {
                Do::Leave => return,
                Do::Pause { target, pause } => Word::Did(set_paused(&client, &target, pause).await),
                Do::Look(target) => {
                    let jobs = look(&client, &target).await;
                    Word::Jobs(target, jobs.map(Box::new).map_err(|error| error.to_string()))
                }
            };
            // Whoever asked has left.
            let _ = words.send(word).await;
        });
    }
}

async fn set_paused(client: &Client, target: &str, pause: bool) -> Result<String, String> {
    let (verb, told) = if pause { ("pause", "paused") } else { ("resume", "resumed") };
    let path = format!("/v1/targets/{}/{verb}", encode(target));
    match client.post(&path, None).await {
        Ok(_) => Ok(format!("{target} is {told}")),
        Err(error) => Err(error.to_string()),
    }
}

async fn look(client: &Client, target: &str) -> Result<TargetJobs, CliError> {
    let name = encode(target);
    let list = |state: &str| format!("/v1/jobs?target={name}&state={state}&limit=10");
    let running = client.get(&list("running")).await?.read()?;
    let waiting = client.get(&list("waiting")).await?.read()?;
    let dead = client.get(&format!("/v1/targets/{name}/dead?limit=10")).await?.read()?;
    Ok(TargetJobs::new(running, waiting, dead))
}

/// The whole terminal, given back when this is dropped; also by ratatui's hook where anything
/// panics.
struct Screen {
    terminal: Box<DefaultTerminal>,
    style: Style,
}

impl Screen {
    fn open() -> Result<Screen, CliError> {
        match ratatui::try_init() {
            Ok(terminal) => {
                Ok(Screen { terminal: Box::new(terminal), style: Style::from_outside() })
            }
            Err(error) => {
                // Half of it may have been done.
                let _ = ratatui::try_restore();
                Err(CliError::Failed(format!(
                    "this terminal cannot be drawn on: {error}; `tollgate targets` prints lines"
                )))
            }
        }
    }

    fn draw(&mut self, top: &mut Top) -> Result<(), CliError> {
        let style = self.style;
        self.terminal.draw(|frame| view::draw(frame, top, style)).map_err(CliError::from)?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Where the terminal is gone there is nothing to give back.
        let _ = ratatui::try_restore();
    }
}

/// Signals that end a program; in raw mode Ctrl-C is a key.
struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Stop {
    fn listen() -> Result<Stop, CliError> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                CliError::Failed(format!("signals cannot be listened for: {error}"))
            })
        };
        Ok(Stop {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
