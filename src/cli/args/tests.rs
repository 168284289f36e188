use clap::CommandFactory;
use clap::error::ErrorKind;

use super::*;

const ID: &str = "0197a3b0-6d1e-7c55-b1b2-6f5a4f0c9e11";

fn parsed(line: &str) -> Result<Command, clap::Error> {
    let line = line.replace("$ID", ID);
    let argv = std::iter::once("tollgate").chain(line.split_whitespace());
    Cli::try_parse_from(argv).map(|cli| cli.command)
}

/// What a line means, in as few words as tell it from others.
fn gist(line: &str) -> String {
    match parsed(line).unwrap_or_else(|error| panic!("{line}: {error}")) {
        Command::Serve(args) => format!("serve {}", args.config.display()),
        Command::Demo(args) => format!("demo {:?}", args.run_for),
        Command::Check(args) => format!("check {} {}", args.config.display(), args.json),
        Command::Submit(args) => format!(
            "submit {} {:?} {:?} {:?} wait {:?} at {} json {}",
            args.target,
            args.request,
            args.priority,
            args.data,
            args.wait,
            args.at.url.0,
            args.format.json
        ),
        Command::Jobs(args) => {
            let what = match &args.command {
                JobsCommand::List(list) => format!(
                    "list {:?} {:?} {:?} {} {}",
                    list.target.as_ref().map(TargetName::as_str),
                    list.state,
                    list.priority,
                    list.paging.limit,
                    list.paging.all
                ),
                JobsCommand::Show(arg) => format!("show {}", arg.id),
                JobsCommand::Cancel(arg) => format!("cancel {}", arg.id),
                JobsCommand::Redrive(arg) => format!("redrive {}", arg.id),
                JobsCommand::Priority(arg) => format!("priority {} {}", arg.id, arg.priority),
            };
            let (data, admin) = (&args.data.url.0, &args.admin.admin_url.0);
            format!("jobs {what} at {data} {admin} json {}", args.format.json)
        }
        Command::Dead(args) => {
            let what = match &args.command {
                DeadCommand::List(list) => format!("list {} {}", list.target, list.paging.limit),
                DeadCommand::Show(arg) => format!("show {}", arg.id),
                DeadCommand::Redrive(args) => format!("redrive {:?} {}", args.which, args.all),
                DeadCommand::Purge(args) => format!("purge {:?} {}", args.which, args.yes),
            };
            format!("dead {what} at {} json {}", args.admin.admin_url.0, args.format.json)
        }
        Command::Store(args) => match &args.command {
            StoreCommand::Export(args) => {
                let StoreFile { file, config, .. } = &args.store;
                format!("export {file:?} {} {}", config.display(), args.with_secrets)
            }
            StoreCommand::Check(args) => format!("check {:?} json {}", args.store.file, args.json),
            StoreCommand::Compact(args) => {
                let StoreFile { file, encrypt_key_file, .. } = &args.store;
                format!("compact {file:?} {encrypt_key_file:?} json {}", args.json)
            }
        },
        Command::Targets(args) => {
            format!("targets {:?} {}", args.name.as_ref().map(TargetName::as_str), args.format.json)
        }
        Command::Callbacks(args) => {
            format!("callbacks {:?} {}", args.command, args.admin.admin_url.0)
        }
        Command::Top(args) => format!("top {}", args.at.admin_url.0),
        Command::Plan(args) => format!(
            "plan {} {} {:?} {:?} at {} json {}",
            args.target,
            args.jobs,
            args.at,
            args.priority,
            args.admin.admin_url.0,
            args.format.json
        ),
        Command::Pause(args) => format!("pause {}", args.target),
        Command::Resume(args) => format!("resume {}", args.target),
        Command::Reload(args) => format!("reload {}", args.at.admin_url.0),
        Command::Completions(args) => format!("completions {}", args.shell),
    }
}

#[test]
fn clap_finds_no_fault_in_it() {
    Cli::command().debug_assert();
}

#[test]
fn lines_mean_what_they_say() {
    let data = "http://127.0.0.1:7070";
    let admin = "http://127.0.0.1:7071";
    for (line, meaning) in [
        ("serve", "serve config/tollgate.toml".to_owned()),
        ("serve --config a.toml", "serve a.toml".into()),
        ("demo", "demo None".into()),
        ("top --admin-url unix:/run/a.sock", "top unix:/run/a.sock".into()),
        ("demo --for 30s", "demo Some(30s)".into()),
        ("check --json", "check config/tollgate.toml true".into()),
        (
            "submit erp /a",
            format!(r#"submit erp ["/a"] None None wait None at {data} json false"#),
        ),
        (
            "submit erp GET /a --wait --json",
            format!(r#"submit erp ["GET", "/a"] None None wait Some(None) at {data} json true"#),
        ),
        (
            "submit --wait=5s --url http://x:1/ erp /a --priority high --data -1",
            r#"submit erp ["/a"] Some(High) Some("-1") wait Some(Some(5s)) at http://x:1 json false"#
                .into(),
        ),
        (
            "submit erp /a --data -",
            format!(r#"submit erp ["/a"] None Some("-") wait None at {data} json false"#),
        ),
        ("jobs list", format!("jobs list None None None 50 false at {data} {admin} json false")),
        (
            "jobs list --target erp --state Waiting --priority batch --all --json",
            format!(
                r#"jobs list Some("erp") Some(Waiting) Some(Batch) 50 true at {data} {admin} json true"#
            ),
        ),
        (
            "jobs --json --admin-url http://a:2 show $ID",
            format!("jobs show {ID} at {data} http://a:2 json true"),
        ),
        ("jobs cancel $ID", format!("jobs cancel {ID} at {data} {admin} json false")),
        ("jobs redrive $ID", format!("jobs redrive {ID} at {data} {admin} json false")),
        ("jobs priority $ID high", format!("jobs priority {ID} HIGH at {data} {admin} json false")),
        ("dead list erp --limit 7", format!("dead list erp 7 at {admin} json false")),
        ("dead show $ID", format!("dead show {ID} at {admin} json false")),
        ("dead redrive erp --all", format!(r#"dead redrive ["erp"] true at {admin} json false"#)),
        ("dead purge erp -y", format!(r#"dead purge ["erp"] true at {admin} json false"#)),
        ("store export", "export None config/tollgate.toml false".into()),
        ("store export a --with-secrets", r#"export Some("a") config/tollgate.toml true"#.into()),
        ("store check --json", "check None json true".into()),
        ("store compact a", r#"compact Some("a") None json false"#.into()),
        (
            "store compact --encrypt-key-file k",
            r#"compact None Some("k") json false"#.into(),
        ),
        ("targets", "targets None false".into()),
        ("targets erp --json", r#"targets Some("erp") true"#.into()),
        ("plan erp", format!("plan erp 1 None None at {admin} json false")),
        (
            "plan erp --jobs 20000 --at +2h --priority batch --json",
            format!("plan erp 20000 Some(In(7200s)) Some(Batch) at {admin} json true"),
        ),
        ("pause erp", "pause erp".into()),
        ("resume erp", "resume erp".into()),
        ("reload --admin-url https://gate/t/", "reload https://gate/t".into()),
        ("completions zsh", "completions zsh".into()),
    ] {
        assert_eq!(gist(line), meaning, "{line}");
    }
}

#[test]
fn slips_are_usage_errors() {
    for line in [
        "sevre",
        "top erp",
        "store mend",
        "plan",
        "plan erp --jobs 0",
        "plan erp --at tomorrow",
        "plan erp --priority urgent",
        "serve x",
        "serve --json",
        "serve --url http://x",
        "demo --for soon",
        "submit",
        "submit erp",
        "submit erp GET / more",
        "submit .. /",
        "submit erp / --priority urgent",
        "submit erp / --delay 5",
        "submit erp / --deadline tomorrow",
        "submit erp / --header nocolon",
        "submit erp / --max-attempts 0",
        "submit erp / --wait=soon",
        "submit erp / --url 127.0.0.1:7070",
        "submit erp / --content-type text",
        "jobs show 17",
        "jobs list --limit 0",
        "jobs list --limit 5 --all",
        "jobs list --state dead",
        "jobs priority $ID",
        "dead redrive",
        "dead purge",
        "pause",
        "targets a b",
        "reload now",
        "completions ksh",
    ] {
        let error = parsed(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}: {error}");
    }
}

#[test]
fn a_command_alone_shows_what_there_is() {
    for line in ["", "jobs", "dead"] {
        let error = parsed(line).expect_err(line);
        let shown = ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
        assert_eq!((error.kind(), error.exit_code()), (shown, 2), "{line}");
    }
}

#[test]
fn help_of_each_command_has_an_example() {
    fn walk(command: &clap::Command, path: &str) {
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            let path = format!("{path} {}", sub.get_name());
            if sub.has_subcommands() {
                walk(sub, &path);
            } else {
                let help = sub.clone().render_long_help().to_string();
                assert!(help.contains(&format!("  {path}")), "{path} has no example: {help}");
            }
        }
    }
    let mut all = Cli::command();
    all.build();
    walk(&all, "tollgate");
}
