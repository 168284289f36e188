//! The bytes on disk. Where one of these fails, files that are out there cannot be read any more:
//! `codec.rs` has the recipe.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{at, header};
use crate::broker::callback::{Callback, CallbackName, Telling};
use crate::broker::change::{Account, Change, Insert};
use crate::broker::course::{Course, Delivery, Phase, Poll};
use crate::broker::fair::{Clock, FlowKey, Tag};
use crate::broker::group::{GroupName, Membership, Stand};
use crate::broker::job::{
    End, Event, Failure, Happening, Header, JobId, Place, Priority, Says, Seat, Source, TargetId,
};
use crate::broker::payload::{Answer, Request, TaskToken};
use crate::broker::policy::{LimitId, LimitName};
use crate::broker::time::{Lived, Wall};
use crate::store::bodies::Owner;
use crate::store::codec::{decode, encode};
use crate::store::journal::{Record, Reread};
use crate::store::life::Run;
use crate::store::seal::Seals;
use crate::store::{Attempt, JobRecord, jobs, spent};

#[track_caller]
fn is<T>(value: &T, hex: &str)
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let mut bytes = Vec::new();
    encode(&mut bytes, value).unwrap();
    assert_eq!(in_hex(&bytes), hex, "{value:?}");
    assert_eq!(&decode::<T>("t", &bytes).unwrap(), value);
}

fn in_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn full() -> Header {
    Header {
        id: JobId(300),
        target: TargetId(2),
        priority: Priority::Batch,
        seat: Seat(3),
        enqueued_at: at(4),
        ready_at: at(4),
        deadline: Some(at(5)),
        attempts: 6,
        spent: 7,
        refusals: 8,
        first_sent_at: Some(at(9)),
        max_attempts: Some(10),
        owed: crate::broker::job::Owed::Nothing,
        course: Default::default(),
        group: Some(Membership {
            name: GroupName::new("g").unwrap(),
            order: Seat(11),
            stand: Stand::Behind,
        }),
        flow: Some(FlowKey::new("f").unwrap()),
        tag: Tag(12),
        callback: None,
    }
}

#[test]
fn headers() {
    is(&full(), "01ac02020203040401050607080109010a00000000000000000101670b020101660c00");
    let poll = Poll { path: "/s".into(), until: at(5) };
    let course = Course {
        wanted: Some(Delivery::AtMostOnce),
        sent_under: Delivery::Verify,
        doubt: true,
        runs_until: None,
        phase: Phase::Poll(Box::new(poll)),
        questions: 2,
        in_vain: 3,
    };
    is(&course, "01010102010002022f73050203");
    let telling = Telling::Undelivered { at: at(3) };
    let callback = Callback { name: CallbackName::new("o").unwrap(), ends: 2, telling };
    is(&callback, "01016f020303");
    is(&Telling::NotYet, "0100");
    is(&Telling::Owed { since: at(3) }, "010103");
    is(&Telling::Delivered, "0102");
    is(&header(1), "0101000101e807e807000000000000000000000000000000000000");
}

#[test]
fn places() {
    is(&Place::Scheduled { due: Wall::NEVER }, "0100ffffffffffffffffff01");
    is(&Place::Queued, "0101");
    is(&Place::Running { started: at(1) }, "010201");
    is(&Place::Waiting { due: at(128) }, "01038001");
    let ended = |end| Place::Ended { end, at: at(1) };
    is(&ended(End::Succeeded), "01040001");
    is(&ended(End::Failed(Failure::Rejected { status: 404 })), "01040100940301");
    is(&ended(End::Failed(Failure::RetriesExhausted)), "0104010101");
    is(&ended(End::Failed(Failure::OutcomeUnknown)), "0104010301");
    is(&Place::Verifying { due: at(1) }, "010501");
    is(&ended(End::Expired), "01040201");
    is(&ended(End::Cancelled), "01040301");
    is(&Place::Behind { due: Some(at(1)) }, "01060101");
}

#[test]
fn histories() {
    let reason = || Some("a".to_owned());
    let until = at(5);
    let attempt = 1;
    for (what, hex) in [
        (Happening::Enqueued, "00"),
        (Happening::Scheduled { until }, "0105"),
        (Happening::Due, "02"),
        (Happening::Sent { attempt, passed_over: 3 }, "030103"),
        (Happening::NotSent { attempt }, "0401"),
        (Happening::Done { attempt, status: 200 }, "0501c801"),
        (
            Happening::Refused { attempt, status: Some(9), reason: reason(), until },
            "0601010901016105",
        ),
        (Happening::Rejected { attempt, status: 9 }, "070109"),
        (Happening::Unknown { attempt, status: None, reason: reason() }, "080100010161"),
        (Happening::Waiting { until }, "0905"),
        (
            Happening::PriorityChanged { from: Priority::High, to: Priority::Batch, by: reason() },
            "0a0002010161",
        ),
        (Happening::Cancelled { reason: reason() }, "0b010161"),
        (Happening::Expired, "0c"),
        (Happening::Failed { code: "b".into() }, "0d0162"),
        (Happening::Redriven { by: reason() }, "0e010161"),
        (Happening::Asked { question: 2, passed_over: 3 }, "120203"),
        (Happening::NotAsked { question: 2 }, "1302"),
        (
            Happening::Answered {
                question: 2,
                says: Says::Pending,
                status: None,
                reason: reason(),
            },
            "14020300010161",
        ),
        (Happening::Verifying { until }, "1505"),
        (Happening::Accepted { attempt, status: 202, path: "/".into() }, "1601ca01012f"),
        (Happening::Edited { parts: "b".into() }, "170162"),
        (Happening::Behind, "18"),
        (Happening::Headed, "19"),
        (Happening::CallbackDelivered { status: 204 }, "1bcc01"),
        (Happening::CallbackUndelivered { reason: "b".into() }, "1c0162"),
        (Happening::CallbackAgain { by: reason() }, "1d010161"),
    ] {
        is(&Event { at: at(7), what }, &format!("0107{hex}"));
    }
}

#[test]
fn bodies() {
    let headers = || vec![("a".to_owned(), Bytes::from_static(b"\xff"))];
    let request = Request {
        method: "GET".into(),
        path: "/".into(),
        headers: headers(),
        body: Bytes::from_static(b"xyz"),
        idempotency_key: Some("k".into()),
        live: true,
        task_token: None,
    };
    is(&request, "0103474554012f01016101ff0378797a01016b01");
    is(&TaskToken::new("tok").unwrap(), "0103746f6b");
    let answer = Answer {
        status: 200,
        headers: headers(),
        body: Bytes::from_static(b"z"),
        truncated: true,
        ..Answer::default()
    };
    is(&answer, "01c80101016101ff017a01");
}

#[test]
fn rows() {
    is(
        &(full(), Place::Queued),
        "01ac02020203040401050607080109010a00000000000000000101670b020101660c0001",
    );
    is(
        &(full(), at(3)),
        "01ac02020203040401050607080109010a00000000000000000101670b020101660c0003",
    );
    is(&(TargetId(1), Priority::Normal, Place::Queued), "01010101");
    is(&Clock { now: Tag(1), done: Tag(128) }, "01018001");
    is(
        &(full(), Place::Queued, 300_u64),
        "01ac02020203040401050607080109010a00000000000000000101670b020101660c0001ac02",
    );
    let answer = Answer { status: 200, ..Answer::default() };
    let attempt = Attempt { at: at(3), attempt: 2, question: Some(1), answer };
    is(&attempt, "0103020101c801000000");
    is(&("erp".to_owned(), true, Some(at(3))), "0103657270010103");
    is(&(JobId(1), [9_u8; 32], at(3)), &format!("0101{}03", "09".repeat(32)));
}

#[test]
fn records() {
    let events = [Event { at: at(7), what: Happening::Due }];
    let mut bytes = Vec::new();
    jobs::write_first(&mut bytes, &full(), Place::Queued, Some("d"), &events).unwrap();
    assert_eq!(
        in_hex(&bytes),
        "0101ac02020203040401050607080109010a00000000000000000101670b020101660c00010164010702"
    );
    let record = JobRecord { header: full(), place: Place::Queued, history: events.to_vec() };
    assert_eq!(jobs::read(&bytes).unwrap(), record);
    for length in 0..bytes.len() {
        assert!(jobs::read(&bytes[..length]).is_err(), "{length} bytes were enough");
    }
    bytes.push(0);
    assert!(jobs::read(&bytes).is_err(), "one too many");
}

#[test]
fn records_of_the_journal() {
    let request = Request {
        method: "GET".into(),
        path: "/".into(),
        body: Bytes::from_static(b"x"),
        task_token: TaskToken::new("tok"),
        ..Request::default()
    };
    let insert = Change::Insert(Box::new(Insert {
        header: full(),
        place: Place::Queued,
        request: Arc::new(request),
        claim: None,
        source: Source::Sqs,
        events: vec![Event { at: at(7), what: Happening::Due }],
    }));
    let changes = [insert, Change::Paused { target: TargetId(3), paused: true }];
    let moved = [(Owner::Attempt(JobId(5), 2), vec![0xab, 0xcd])];
    let targets = [(TargetId(1), "e".to_owned())];
    let mut record = Record::default();
    let seals = Seals::default();
    record.begin(&seals, Some(None), &targets, &changes, &moved).unwrap();
    let header = "ac02020203040401050607080109010a00000000000000000101670b020101660c";
    let opening = "010100010101650201030502";
    // And lengths of its request and its token, which follow as they are kept.
    let inserted = format!("00{header}000100010702") + "0c050000";
    let bodies = "0103474554012f00017800000103746f6b";
    let paused = "04030100000000";
    let wanted = format!("{opening}{inserted}{bodies}{paused}02abcd");
    assert_eq!(in_hex(&record.bytes()[20..]), wanted);
    let again = Reread::of(record.bytes()).unwrap();
    assert_eq!(again.changes[1], changes[1]);
    assert_eq!(again.blobs[0].token.of(record.bytes()), Some(b"\x01\x03tok".as_slice()));
    assert_eq!(again.moved[0].1.of(record.bytes()), Some(b"\xab\xcd".as_slice()));
    for length in 0..record.bytes().len() {
        assert!(Reread::of(&record.bytes()[..length]).is_err(), "{length} bytes were enough");
    }
}

#[test]
fn what_limits_have_spent() {
    let mut key = Vec::new();
    let (per, end) = (Duration::from_micros(0x0102), Lived::from_micros(0x0304));
    spent::write_key(&mut key, &LimitId::Target(TargetId(5)), Account::Window { per, end });
    assert_eq!(in_hex(&key), "00000000050000000000000001020000000000000304");
    let shared = LimitId::Shared(LimitName::new("ab"));
    spent::write_key(&mut key, &shared, Account::Place { until: end });
    assert_eq!(in_hex(&key), "01616200010000000000000304");
}

#[test]
fn clocks() {
    let run = Run { boot: 300, uptime: Duration::new(2, 3) };
    is(&(run, Lived::from_micros(4)), "01ac02020304");
    is(&(Lived::from_micros(4), at(5)), "010405");
}
