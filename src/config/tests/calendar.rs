//! Quotas and schedules.

use super::*;
use crate::broker::calendar::{Per, Rule};
use crate::broker::time::Wall;

fn policy(more: &str) -> crate::broker::policy::Policy {
    good(&format!("{ERP}{more}")).targets["erp"].policy.clone()
}

#[test]
fn a_quota_is_of_a_day_or_a_month_of_a_place() {
    let text = "limit.quota = { count = 20, per = \"month\", timezone = \"Europe/Berlin\" }\n";
    let quota = policy(text).limit.ceilings.quota.unwrap();
    let said = (quota.count.get(), quota.per, quota.zone.name());
    assert_eq!(said, (20, Per::Month, "Europe/Berlin"));
    let plain = policy("limit.quota = { count = 1, per = \"day\" }\n").limit.ceilings.quota;
    assert_eq!(plain.unwrap().zone.name(), "UTC");
}

#[test]
fn a_quota_that_means_nothing_is_an_error() {
    for (quota, expected) in [
        ("{ per = \"day\" }", "limit.quota.count: missing"),
        ("{ count = 0, per = \"day\" }", "out of range; expected a whole number from 1"),
        ("{ count = 5 }", "limit.quota.per: missing"),
        ("{ count = 5, per = \"week\" }", "write \"day\" or \"month\""),
        ("{ count = 5, per = \"day\", timezone = \"Mars/Base\" }", "is not a time zone"),
        ("{ count = 5, per = \"day\", zone = \"UTC\" }", "unknown key; known here: count"),
    ] {
        let fault = fault(&format!("{ERP}limit.quota = {quota}\n"));
        assert!(fault.contains(expected), "{fault}");
    }
}

#[test]
fn a_schedule_has_rates_and_closed_times_in_order() {
    let tempo = policy(
        "[[targets.erp.schedule]]\nwhen = \"Mon-Fri 08:00-18:00\"\nrate = \"5/s\"\n\
         [[targets.erp.schedule]]\nwhen = \"daily 00:00-02:00\"\ntimezone = \"Europe/Berlin\"\n\
         closed = true\n",
    )
    .tempo;
    // 2023-11-15, a Wednesday.
    let at = |hour: u64| Wall::from_millis(1_700_006_400_000 + hour * 3_600_000);
    let rule = |hour| tempo.schedule.at(at(hour)).rule;
    assert!(matches!(rule(9), Rule::Rate(rate) if rate.count().get() == 5));
    assert_eq!((rule(0), rule(1), rule(23)), (Rule::Closed, Rule::Default, Rule::Closed));
    assert_eq!(tempo.lasting.as_secs(), 30, "its timeout");
    assert!(policy("finish_before_close = false\n").tempo.lasting.is_zero());
}

#[test]
fn a_schedule_that_cannot_be_obeyed_is_an_error() {
    for (entry, expected) in [
        ("rate = \"5/s\"", "targets.erp.schedule.when: missing"),
        ("when = \"daily\"", "says nothing; add rate = \"5/s\" or closed = true"),
        ("when = \"daily\"\nrate = \"5/s\"\nclosed = true", "closed already says"),
        ("when = \"Mo 25:00\"\nclosed = true", "is no "),
        ("when = \"daily\"\nclosed = 1", "expected true or false"),
        ("when = \"daily\"\nclosed = true", "it is always closed"),
        ("when = \"daily 00:00-24:00\"\nrate = \"5/s\"\ncolour = 1", "known here: when, timezone"),
    ] {
        let fault = fault(&format!("{ERP}[[targets.erp.schedule]]\n{entry}\n"));
        assert!(fault.contains(expected), "{fault}");
    }
    let narrow = "timeout = \"1h\"\n[[targets.erp.schedule]]\nwhen = \"daily 00:30-24:00\"\n\
                  closed = true\n";
    let fault = fault(&format!("{ERP}{narrow}"));
    assert!(fault.contains("never open for as long as a request may take (1h)"), "{fault}");
}
