//! The `tollgate` program. Client commands are in `tollgate::cli`; here is the daemon's story:
//! arguments, configuration, log, start, addresses, until told to stop, drain, exit code.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use tollgate::cli::args::{Cli, Command, DemoArgs, ServeArgs};
use tollgate::cli::{self, Exit, complain};
use tollgate::config::{Config, Listen, LogFormat, Telemetry};
use tollgate::demo::{self, Verdict};
use tollgate::serve::{self, Running};

fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(Cli { command }) => command,
        Err(said) => {
            // Help, the version, or what is wrong; a closed pipe (`| head`) is no reason to panic.
            let _ = said.print();
            return ExitCode::from(if said.use_stderr() { Exit::Usage } else { Exit::Done } as u8);
        }
    };
    let exit = match &command {
        Command::Serve(args) => serve(args),
        Command::Demo(args) => demo(args),
        other => cli::run(other),
    };
    ExitCode::from(exit as u8)
}

fn serve(args: &ServeArgs) -> Exit {
    let config = match cli::load(&args.config) {
        Ok(config) => config,
        Err(errors) => {
            complain(errors.to_string().trim_end());
            complain("tollgate: not started; `tollgate check` tells when the file is right");
            return Exit::Failed;
        }
    };
    let result =
        log_to_stderr(&config.telemetry).and_then(|()| in_runtime(|| daemon(config, &args.config)));
    told(result)
}

fn demo(args: &DemoArgs) -> Exit {
    match try_demo(args) {
        Ok(Verdict::Kept) => Exit::Done,
        // The summary has said what was not.
        Ok(Verdict::Broken) => Exit::Failed,
        Err(error) => told(Err(error)),
    }
}

fn try_demo(args: &DemoArgs) -> anyhow::Result<Verdict> {
    let config = demo::configuration()?;
    // Lines of a log would be written across the live view.
    if !demo::fills_the_terminal() {
        log_to_stderr(&config.telemetry)?;
    }
    in_runtime(|| demo::run(demo::Options { for_: args.run_for, config, dir: None }))
}

/// From start to end. An error means that the daemon did not start, or did not end in order.
async fn daemon(config: Config, file: &Path) -> anyhow::Result<()> {
    // First of all, so that no signal meets a daemon that has begun and does not listen to it.
    let mut signals = Signals::listen()?;
    let running = serve::start(config, Some(file.to_owned())).await?;
    announce(&running);
    match until_stop(&running, &mut signals).await {
        Stop::Told(signal) => tracing::info!(signal, "draining; a second signal exits at once"),
        Stop::Failed(error) => return Err(error),
    }
    running.drain().await?;
    tracing::info!("drained");
    Ok(())
}

enum Stop {
    Told(&'static str),
    /// The store or the loop failed: what is under way cannot be recorded, so nothing is drained.
    Failed(anyhow::Error),
}

async fn until_stop(running: &Running, signals: &mut Signals) -> Stop {
    let failed = running.failed();
    tokio::pin!(failed);
    loop {
        tokio::select! {
            signal = &mut signals.stop => return Stop::Told(signal.unwrap_or("none")),
            error = &mut failed => return Stop::Failed(error),
            Some(()) = signals.hangup.recv() => match running.reloader().reload().await {
                Ok(_) => tracing::info!("the configuration was read again and is in force"),
                Err(error) => tracing::error!("the configuration stays as it was:\n{error}"),
            },
        }
    }
}

/// One line an address on standard output, for scripts that wait for it.
fn announce(running: &Running) {
    let shown = |listen: &Listen| match listen {
        Listen::Tcp(address) if running.tls => format!("https://{address}"),
        Listen::Tcp(address) => format!("http://{address}"),
        Listen::Unix(_) => listen.to_string(),
    };
    let (data, admin) = (shown(&running.data), shown(&running.admin));
    tracing::info!(data, admin, "serving");
    let mut out = std::io::stdout();
    let lines = format!("listening on {data} (data)\nlistening on {admin} (admin)\n");
    if let Err(error) = out.write_all(lines.as_bytes()).and_then(|()| out.flush()) {
        tracing::debug!("the addresses could not be printed: {error}");
    }
}

struct Signals {
    /// SIGTERM or SIGINT came, for the first time.
    stop: oneshot::Receiver<&'static str>,
    hangup: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Signals> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        let terminate = listen(SignalKind::terminate())?;
        let interrupt = listen(SignalKind::interrupt())?;
        let hangup = listen(SignalKind::hangup())?;
        let (first, stop) = oneshot::channel();
        tokio::spawn(leave(terminate, interrupt, first));
        Ok(Signals { stop, hangup })
    }
}

/// Passes the first signal on; the second ends the process, whatever else it is doing.
async fn leave(mut terminate: Signal, mut interrupt: Signal, first: oneshot::Sender<&'static str>) {
    let mut first = Some(first);
    loop {
        let (name, kind) = tokio::select! {
            Some(()) = terminate.recv() => ("SIGTERM", SignalKind::terminate()),
            Some(()) = interrupt.recv() => ("SIGINT", SignalKind::interrupt()),
            else => return,
        };
        let Some(first) = first.take() else {
            complain(&format!("tollgate: {name} again: leaving at once"));
            // As a shell reports a process that a signal ended.
            std::process::exit(128 + kind.as_raw_value());
        };
        // Nobody waits for it once the daemon is on its way out by itself.
        let _ = first.send(name);
    }
}

/// RUST_LOG, where it is set, outranks the configuration.
fn log_to_stderr(telemetry: &Telemetry) -> anyhow::Result<()> {
    let from_outside = std::env::var("RUST_LOG").ok().filter(|text| !text.trim().is_empty());
    let (source, directives) = match &from_outside {
        Some(text) => ("RUST_LOG", text.as_str()),
        None => ("[telemetry] log", telemetry.log.as_str()),
    };
    let filter = EnvFilter::try_new(directives)
        .with_context(|| format!("{source} is {directives:?}, which is no log filter"))?;
    // Below this the AWS SDK writes requests out, and with them task tokens and credentials. No
    // directive may ask for it, however exactly.
    let harmless =
        filter_fn(|event| *event.level() <= Level::INFO || !event.target().starts_with("aws_"));
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let to_stderr = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(!refused && std::io::stderr().is_terminal())
        // Else a closed standard error would be complained about there, with a panic.
        .log_internal_errors(false);
    match telemetry.log_format {
        LogFormat::Text => to_stderr.finish().with(harmless).try_init(),
        LogFormat::Json => to_stderr.json().finish().with(harmless).try_init(),
    }
    .map_err(|error| anyhow::anyhow!("cannot set up the log: {error}"))
}

fn in_runtime<T, F>(story: impl FnOnce() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let runtime: Runtime =
        Builder::new_multi_thread().enable_all().build().context("cannot start tokio")?;
    let result = runtime.block_on(story());
    // All that matters is done or lost by now; a thread that hangs must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

fn told(result: anyhow::Result<()>) -> Exit {
    match result {
        Ok(()) => Exit::Done,
        Err(error) => {
            complain(&format!("tollgate: {error:#}"));
            Exit::Failed
        }
    }
}
