//! A scenario: a file that says what is done, why, and what is expected.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::report::Range;
use crate::scenarios::Procedure;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// The file's name without its end.
    #[serde(skip)]
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) why: String,
    pub(crate) turns: usize,
    pub(crate) run: Procedure,
    #[serde(default)]
    pub(crate) expect: BTreeMap<String, Range>,
}

/// `--set [SCENARIO.]KEY=VALUE`: another value for a parameter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Setting {
    pub(crate) scenario: Option<String>,
    pub(crate) key: String,
    pub(crate) value: toml::Value,
}

impl std::str::FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Setting, String> {
        let (key, value) = text.split_once('=').ok_or("not KEY=VALUE")?;
        let (scenario, key) = match key.trim().split_once('.') {
            Some((scenario, key)) => (Some(scenario.to_owned()), key),
            None => (None, key.trim()),
        };
        // What is no number, list or the like is a text, so that nobody must quote in a shell.
        let value = format!("v = {value}")
            .parse::<toml::Table>()
            .ok()
            .and_then(|mut table| table.remove("v"))
            .unwrap_or_else(|| toml::Value::String(value.to_owned()));
        Ok(Setting { scenario, key: key.to_owned(), value })
    }
}

impl Scenario {
    pub(crate) fn parse(name: &str, text: &str, settings: &[Setting]) -> anyhow::Result<Scenario> {
        let mut table: toml::Table = text.parse().with_context(|| format!("scenario {name}"))?;
        for setting in settings {
            if setting.scenario.as_deref().is_some_and(|wanted| wanted != name) {
                continue;
            }
            let run = table.get_mut("run").and_then(toml::Value::as_table_mut);
            match run.and_then(|run| run.get_mut(&setting.key)) {
                Some(value) => value.clone_from(&setting.value),
                // Meant for another scenario, unless it names this one.
                None if setting.scenario.is_none() => {}
                None => bail!("scenario {name} has no parameter {}", setting.key),
            }
        }
        let mut scenario: Scenario = toml::Value::Table(table)
            .try_into()
            .with_context(|| format!("scenario {name} cannot be understood"))?;
        name.clone_into(&mut scenario.name);
        Ok(scenario)
    }

    /// All of a directory, by name; or those that are named.
    pub(crate) fn read(
        dir: &Path,
        names: &[String],
        settings: &[Setting],
    ) -> anyhow::Result<Vec<Scenario>> {
        let mut all = BTreeMap::new();
        let entries = std::fs::read_dir(dir)
            .with_context(|| format!("cannot read the scenarios in {}", dir.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "toml") {
                continue;
            }
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path)?;
            all.insert(name.clone(), Scenario::parse(&name, &text, settings)?);
        }
        for setting in settings {
            let known = setting.scenario.as_ref().is_none_or(|wanted| all.contains_key(wanted));
            if !known {
                bail!("--set: there is no scenario {:?}", setting.scenario);
            }
        }
        if names.is_empty() {
            return Ok(all.into_values().collect());
        }
        let wanted = |name: &String| {
            all.get(name).cloned().with_context(|| {
                let known: Vec<&str> = all.keys().map(String::as_str).collect();
                format!("no scenario {name}; there are {}", known.join(", "))
            })
        };
        names.iter().map(wanted).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped() -> Vec<Scenario> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        Scenario::read(&dir, &[], &[]).unwrap()
    }

    #[test]
    fn every_shipped_scenario_can_be_read_and_says_why() {
        let all = shipped();
        assert!(all.len() >= 15, "{}", all.len());
        for scenario in all {
            assert!(scenario.turns >= 1, "{}", scenario.name);
            assert!(scenario.why.len() > 40, "{}: {}", scenario.name, scenario.why);
        }
    }

    const TEXT: &str = "title = 'T'\nwhy = 'W'\nturns = 2\n[run]\nkind = 'idle'\njobs = 5\n\
                        seconds = 1.0\n[expect.rss_mib]\nat_most = 40\n";

    fn with(settings: &[&str]) -> anyhow::Result<Scenario> {
        let settings: Vec<Setting> = settings.iter().map(|text| text.parse().unwrap()).collect();
        Scenario::parse("calm", TEXT, &settings)
    }

    fn jobs(scenario: &Scenario) -> u64 {
        match &scenario.run {
            Procedure::Idle(idle) => idle.jobs,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_parameter_can_be_set_from_outside() {
        assert_eq!(jobs(&with(&[]).unwrap()), 5);
        assert_eq!(jobs(&with(&["jobs=7"]).unwrap()), 7);
        assert_eq!(jobs(&with(&["calm.jobs=8", "other.jobs=9"]).unwrap()), 8);
        assert_eq!(jobs(&with(&["cows=9"]).unwrap()), 5);
        let error = with(&["calm.cows=9"]).unwrap_err().to_string();
        assert!(error.contains("no parameter cows"), "{error}");
        assert!(with(&["jobs=many"]).is_err());
        assert!("jobs".parse::<Setting>().is_err());
    }

    #[test]
    fn a_mistake_is_an_error() {
        for (right, wrong) in [("seconds", "secnds"), ("idle", "idel"), ("at_most", "at_mast")] {
            let text = TEXT.replace(right, wrong);
            assert!(Scenario::parse("calm", &text, &[]).is_err(), "{wrong}");
        }
    }
}
