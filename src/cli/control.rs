//! `tollgate pause`, `resume` and `reload`.

use serde::Deserialize;

use super::Outside;
use super::args::{PauseArgs, ReloadArgs};
use super::error::CliError;
use super::wire::one_line;

pub(super) async fn pause(
    args: &PauseArgs,
    paused: bool,
    outside: &mut Outside,
) -> Result<(), CliError> {
    let client = outside.client(&args.at.admin_url.0)?;
    let verb = if paused { "pause" } else { "resume" };
    let answer =
        client.post(&format!("/v1/targets/{}/{verb}", args.target.encoded()), None).await?;
    if args.format.json {
        return outside.terminal.print(&one_line(answer.text()));
    }
    let target = &args.target;
    outside.terminal.print(&if paused {
        format!("{target} is paused: its jobs wait until `tollgate resume {target}`")
    } else {
        format!("{target} is sent to again")
    })
}

/// A configuration that is not valid is a problem whose detail has all its errors.
#[derive(Deserialize)]
struct Reloaded {
    #[serde(default)]
    at_next_start: Vec<String>,
}

pub(super) async fn reload(args: &ReloadArgs, outside: &mut Outside) -> Result<(), CliError> {
    let client = outside.client(&args.at.admin_url.0)?;
    let answer = client.post("/v1/reload", None).await?;
    if args.format.json {
        return outside.terminal.print(&one_line(answer.text()));
    }
    let reloaded: Reloaded = answer.read()?;
    outside.terminal.print("the configuration was read again and is in force")?;
    for part in reloaded.at_next_start {
        outside
            .terminal
            .print(&format!("but {part} changed: that takes effect at the next start"))?;
    }
    Ok(())
}
