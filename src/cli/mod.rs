//! The command line: its words, the client commands, and their exit codes.
//!
//! `serve` and `demo` are told in `main.rs`; everything else is run from here.

pub mod args;

mod ages;
mod callbacks;
mod care;
mod check;
mod client;
mod connect;
mod control;
mod dead;
mod error;
mod explain;
mod jobs;
mod plan;
mod problem;
mod store;
mod submit;
mod table;
mod targets;
mod terminal;
mod timeline;
mod top;
mod values;
mod when;
mod wire;

use std::path::PathBuf;

use clap::CommandFactory;

use args::{Cli, Command, CompletionsArgs};
use client::{Client, Token};
use terminal::Terminal;
use values::Address;

pub use check::load;
use error::CliError;
pub use error::Exit;
pub use terminal::complain;

/// What a command has around it.
pub(crate) struct Outside {
    terminal: Terminal,
    token: Option<Token>,
    ca_file: Option<PathBuf>,
}

impl Outside {
    fn client(&self, address: &Address) -> Result<Client, CliError> {
        Client::new(address, self.token.clone(), self.ca_file.as_deref())
    }
}

/// Runs a command that needs no daemon of its own, and says what went wrong.
pub fn run(command: &Command) -> Exit {
    let error = match try_run(command) {
        Ok(()) => return Exit::Done,
        Err(error) => error,
    };
    if !matches!(error, CliError::ClosedPipe | CliError::Told) {
        complain(&format!("tollgate: {error}"));
    }
    error.exit()
}

fn try_run(command: &Command) -> Result<(), CliError> {
    let mut terminal = Terminal::outside();
    match command {
        Command::Check(args) => check::check(args, &mut terminal),
        Command::Store(args) => store::store(args, &mut terminal),
        Command::Completions(args) => completions(args, &mut terminal),
        asking => {
            let (token, ca_file) = (Token::from_outside()?, asking.ca_file());
            let mut outside = Outside { terminal, token, ca_file };
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| CliError::Failed(format!("cannot start: {error}")))?
                .block_on(ask(asking, &mut outside))
        }
    }
}

/// Commands that ask a running daemon.
async fn ask(command: &Command, outside: &mut Outside) -> Result<(), CliError> {
    match command {
        Command::Submit(args) => submit::submit(args, outside).await,
        Command::Jobs(args) => jobs::jobs(args, outside).await,
        Command::Dead(args) => dead::dead(args, outside).await,
        Command::Targets(args) => targets::targets(args, outside).await,
        Command::Callbacks(args) => callbacks::callbacks(args, outside).await,
        Command::Top(args) => top::top(args, outside).await,
        Command::Plan(args) => plan::plan(args, outside).await,
        Command::Pause(args) => control::pause(args, true, outside).await,
        Command::Resume(args) => control::pause(args, false, outside).await,
        Command::Reload(args) => control::reload(args, outside).await,
        Command::Serve(_)
        | Command::Demo(_)
        | Command::Check(_)
        | Command::Store(_)
        | Command::Completions(_) => Err(CliError::Usage("this command asks no daemon".into())),
    }
}

fn completions(args: &CompletionsArgs, terminal: &mut Terminal) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tollgate", &mut script);
    terminal.print(&String::from_utf8_lossy(&script))
}
