use crate::broker::calendar::When;
use crate::broker::calendar::week::{DAY, Week};

fn week(stretches: &[(u32, u32)]) -> Week {
    Week::new(stretches.iter().copied())
}

#[track_caller]
fn read(text: &str) -> Week {
    match text.parse::<When>() {
        Ok(when) => when.week,
        Err(error) => panic!("{text}: {error}"),
    }
}

const HOUR: u32 = 60;

#[test]
fn days_and_times_as_people_write_them() {
    let eight_to_six = |day: u32| (day * DAY + 8 * HOUR, day * DAY + 18 * HOUR);
    assert_eq!(read("Mon-Fri 08:00-18:00"), week(&[0, 1, 2, 3, 4].map(eight_to_six)));
    assert_eq!(read("mon - FRI  08:00 - 18:00 "), read("Mon-Fri 08:00-18:00"));
    assert_eq!(
        read("daily 00:00-02:00"),
        week(&[0, 1, 2, 3, 4, 5, 6].map(|d| (d * DAY, d * DAY + 120)))
    );
    assert_eq!(read("daily"), week(&[(0, 7 * DAY)]));
    assert_eq!(read("Daily 00:00-24:00"), read("daily"));
    assert_eq!(read("Mon,Wed,Sat-Sun"), week(&[(0, DAY), (2 * DAY, 3 * DAY), (5 * DAY, 7 * DAY)]));
    assert_eq!(read("Sat-Mon"), week(&[(0, DAY), (5 * DAY, 7 * DAY)]));
    assert_eq!(read("Tue-Mon"), read("daily"));
    assert_eq!(
        read("Tue 08:00-12:00, 13:30-17:00"),
        week(&[(DAY + 8 * HOUR, DAY + 12 * HOUR), (DAY + 13 * HOUR + 30, DAY + 17 * HOUR)])
    );
    assert_eq!(read("Tue 08:00-12:00,11:00-13:00"), read("Tue 08:00-13:00"));
    assert_eq!(read("Tue 08:00-12:00,12:00-13:00"), read("Tue 08:00-13:00"));
    assert_eq!(read("Fri 22:00-06:00"), week(&[(4 * DAY + 22 * HOUR, 5 * DAY + 6 * HOUR)]));
    assert_eq!(read("Sun 22:00-06:00"), week(&[(0, 6 * HOUR), (6 * DAY + 22 * HOUR, 7 * DAY)]));
    assert_eq!(read("Fri 22:00-00:00"), read("Fri 22:00-24:00"));
    assert_eq!(
        read("daily 06:00-05:59"),
        week(&[0, 1, 2, 3, 4, 5, 6].map(|d| (d * DAY + 360, (d + 1) * DAY + 359)))
    );
    assert_eq!("Mon-Fri  08:00-18:00".parse::<When>().unwrap().to_string(), "Mon-Fri  08:00-18:00");
}

#[test]
fn errors_say_what_was_wrong_and_what_is_allowed() {
    for (text, said) in [
        ("", "it is empty"),
        ("  \n", "it is empty"),
        ("08:00-18:00", "write \"daily 08:00-18:00\""),
        ("Mo-Fr 08:00-18:00", "Mo is no day; write Mon, Tue"),
        ("Monday", "Monday is no day; write it as Mon"),
        ("Tues-Fri", "Tues is no day; write it as Tue"),
        ("weekdays 08:00-18:00", "weekdays is no day"),
        ("Mon Tue 08:00-18:00", "Mon Tue: put a comma between days"),
        ("Mon-Mon", "Mon-Mon is one day; write Mon, or daily"),
        ("Mon-Tue-Wed", "Mon-Tue-Wed is no range of days"),
        ("Mon- 08:00-18:00", "Mon- is no range of days"),
        ("daily,Mon", "daily is every day"),
        ("Mon,,Tue", "missing before or after a comma"),
        ("Mon, 08:00-18:00", "missing before or after a comma"),
        ("Mon 08:00-18:00,", "missing before or after a comma"),
        ("Mon 08:00", "08:00 is no range of times"),
        ("Mon 8:00-18:00", "8:00 is no time; write hours and minutes in two digits"),
        ("Mon 08:00-18", "18 is no time"),
        ("Mon 08:00-24:01", "24:01 is no time"),
        ("Mon 08:60-18:00", "08:60 is no time"),
        ("Mon 08:00:00-18:00", "08:00:00 is no time"),
        ("Mon 24:00-02:00", "cannot begin at 24:00"),
        ("Mon 08:00-08:00", "same time; for a whole day leave the times away"),
        ("Mon 00:00-00:00", "same time"),
        ("Mon 08:00-10:00, Tue 09:00-11:00", "Tue 09:00-11:00 comes after times"),
        ("Mon 08:00-10:00 14:00-16:00", "is no time"),
        ("Mon 8am-6pm", "am-6pm comes after times"),
        ("Mon–Fri 08:00-18:00", "Mon–Fri is no day"),
        ("Mon ٠٨:00-18:00", "is no day"),
        ("Mon 0٨:00-18:00", "is no time"),
        ("Mon \u{1b}[31m", "Mon \\u{1b}[ is no day"),
    ] {
        let error = text.parse::<When>().expect_err(text).to_string();
        assert!(error.contains(said), "{text:?}: {error}");
        assert!(!error.contains(char::is_control), "{error:?}");
    }
    let long = "Mon,".repeat(10_000);
    assert!(long.parse::<When>().unwrap_err().to_string().len() < 200);
    let error = format!("Mon {}", "x".repeat(500)).parse::<When>().unwrap_err().to_string();
    assert!(error.len() < 200, "{error}");
}

/// Bits that come close to what is meant, in any order: nothing panics, and what is taken is a
/// part of a week that can be looked at.
#[test]
fn whatever_is_written_is_read_or_refused() {
    const BITS: [&str; 32] = [
        "Mon",
        "tue",
        "SUN",
        "daily",
        "-",
        ",",
        " ",
        ":",
        "08:00",
        "18:00",
        "24:00",
        "00:00",
        "22:00-06:00",
        "Mon-Fri",
        "–",
        "\t",
        "\n",
        "0",
        "9",
        "99",
        "x",
        "ü",
        "\u{0}",
        "\u{202e}",
        "٣",
        "-08:00",
        "24:60",
        "4294967296",
        "Sat-Mon",
        "é",
        "🕗",
        "\"",
    ];
    let mut dice = 1_u64;
    let mut roll = move |sides: usize| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(dice >> 33).unwrap() % sides
    };
    let mut taken = 0;
    for _ in 0..60_000 {
        let mut text = String::new();
        for _ in 0..roll(8) {
            match roll(4) {
                0 => text.extend(char::from_u32(u32::try_from(roll(0x11_0000)).unwrap())),
                1 => text.push(char::from(u8::try_from(roll(128)).unwrap())),
                _ => text.push_str(BITS[roll(BITS.len())]),
            }
        }
        match text.parse::<When>() {
            Ok(when) => {
                taken += 1;
                let zone = crate::broker::calendar::Zone::utc();
                when.week.look(&zone, crate::broker::time::Wall::EPOCH);
            }
            Err(error) => {
                let said = error.to_string();
                assert!(said.len() < 300 && !said.contains(char::is_control), "{said:?}");
            }
        }
    }
    assert!(taken > 100, "only {taken} were taken: the bits are too wild");
}
