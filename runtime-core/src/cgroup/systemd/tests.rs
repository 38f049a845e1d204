//! The calls, against a manager that answers as it was told.

use std::time::{Duration, Instant};

use super::connection::Connection;
use super::fake::{ACCEPT, Fake, Got, done, error, job, job_removed, property};
use super::place::is_of_unit;
use super::*;
use crate::error::ErrorKind;

const UNIT: &str = "runtime-web.scope";

/// More than any test machine needs; only the test of silence waits for its limit.
const LONG: Duration = Duration::from_secs(60);

fn connect(fake: &Fake, is_bus: bool, limit: Duration) -> Link {
    let addresses = if is_bus { fake.bus() } else { fake.private() };
    let connection = Connection::open_any(&addresses, Manager::System, UNIT, limit).unwrap();
    Link(connection)
}

fn stop_call(link: &mut Link) -> Result<Result<Message, Refusal>> {
    link.0.call(&manager_call("StopUnit", &[Value::text(UNIT), Value::text("replace")]))
}

fn unit() -> Unit {
    Unit { name: UNIT.to_owned(), manager: Manager::System, description: "container web".to_owned() }
}

fn members(calls: &[Got]) -> Vec<&str> {
    calls.iter().map(|(member, _)| member.as_str()).collect()
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn a_bus_is_greeted_and_told_which_signals_to_pass_on() {
    let fake = Fake::serve(ACCEPT, |serial, _| Some(done(serial)));
    let mut link = connect(&fake, true, LONG);
    stop_call(&mut link).unwrap().unwrap();
    drop(link);
    let calls = fake.calls();
    assert_eq!(members(&calls), ["Hello", "AddMatch", "StopUnit"]);
    assert!(contains(&calls[1].1, "arg2='runtime-web.scope'"));
}

#[test]
fn systemd_itself_is_not_greeted() {
    // Older versions answer "OK" to both lines.
    let fake = Fake::serve(b"OK 1\r\nOK 1\r\n", |serial, _| Some(done(serial)));
    let mut link = connect(&fake, false, LONG);
    stop_call(&mut link).unwrap().unwrap();
    drop(link);
    assert_eq!(members(&fake.calls()), ["StopUnit"]);
}

#[test]
fn the_end_of_a_job_counts_whether_it_comes_before_or_after_the_reply() {
    for before in [true, false] {
        let fake = Fake::serve(ACCEPT, move |serial, _| {
            let other = job_removed("/job/1", "other.scope", "failed");
            let mut parts = [job(serial, "/job/2"), job_removed("/job/2", UNIT, "done")];
            if before {
                parts.reverse();
            }
            Some([other, parts.concat()].concat())
        });
        let mut link = connect(&fake, false, LONG);
        let reply = stop_call(&mut link).unwrap().unwrap();
        assert_eq!(job_of(&reply), Some("/job/2"));
        assert_eq!(link.0.wait_for_job("/job/2").unwrap(), "done");
    }
}

#[test]
fn a_job_that_fails_is_an_error() {
    let fake = Fake::serve(ACCEPT, |serial, _| {
        Some([job(serial, "/job/2"), job_removed("/job/2", UNIT, "timeout")].concat())
    });
    let mut link = connect(&fake, false, LONG);
    let reply = stop_call(&mut link).unwrap().unwrap();
    let unit = unit();
    let text = link.0.finish_job(&unit, &reply).unwrap_err().to_string();
    assert!(
        text.contains("start systemd unit \"runtime-web.scope\": the job ended with \"timeout\""),
        "{text}"
    );
}

#[test]
fn refusals_have_name_and_text() {
    let fake = Fake::serve(ACCEPT, |serial, _| {
        Some(error(serial, "org.freedesktop.systemd1.UnitExists", "Unit runtime-web.scope already exists."))
    });
    let refusal = stop_call(&mut connect(&fake, false, LONG)).unwrap().unwrap_err();
    assert!(refusal.is("UnitExists"));
    let text = refusal.error("start".to_owned()).to_string();
    assert_eq!(text, "start: org.freedesktop.systemd1.UnitExists: Unit runtime-web.scope already exists.");
}

#[test]
fn a_bus_that_refuses_us_is_an_error() {
    let fake = Fake::serve(ACCEPT, |serial, member| match member {
        "Hello" => Some(error(serial, "org.freedesktop.DBus.Error.LimitsExceeded", "too many")),
        _ => Some(done(serial)),
    });
    let text = stop_call(&mut connect(&fake, true, LONG)).unwrap_err().to_string();
    assert!(text.contains("LimitsExceeded: too many"), "{text}");
}

#[test]
fn silence_ends_at_the_deadline() {
    let fake = Fake::serve(ACCEPT, |_, _| Some(Vec::new()));
    let begin = Instant::now();
    let error = stop_call(&mut connect(&fake, false, Duration::from_millis(50))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(begin.elapsed() >= Duration::from_millis(50));
    assert!(error.to_string().contains("call StopUnit of systemd"), "{error}");
}

#[test]
fn garbage_and_cut_messages_are_errors() {
    let cut = job(1, "/job/2");
    let answers: Vec<(&'static [u8], Option<Vec<u8>>)> = vec![
        (b"REJECTED EXTERNAL\r\n", Some(Vec::new())),
        (b"ERROR\r\n", Some(Vec::new())),
        (b"DATA\r\nDATA\r\n", Some(Vec::new())),
        (&[b'x'; 1000], Some(Vec::new())),
        (ACCEPT, None),
        (ACCEPT, Some(vec![b'x'; 64])),
        (ACCEPT, Some(vec![0xff; 64])),
        (ACCEPT, Some(vec![0; 64])),
    ];
    for (welcome, mut answer) in answers {
        let case = format!("{welcome:?} {answer:?}");
        let fake = Fake::serve(welcome, move |_, _| answer.take());
        assert!(stop_call(&mut connect(&fake, false, LONG)).is_err(), "{case}");
    }
    for length in 0..cut.len() {
        let mut answer = Some(cut[..length].to_vec());
        // The second call is never made: the connection ends when the client gives up.
        let fake = Fake::serve(ACCEPT, move |_, _| answer.take());
        let outcome = stop_call(&mut connect(&fake, false, Duration::from_millis(5)));
        assert!(outcome.is_err(), "{length}");
    }
}

#[test]
fn an_unknown_property_is_left_out_if_it_may_be() {
    let properties = properties::of_limits([("cpuset.cpus", "0"), ("pids.max", "5")]);
    let refusal = || {
        let fake = Fake::serve(ACCEPT, |serial, _| {
            Some(error(
                serial,
                "org.freedesktop.DBus.Error.PropertyReadOnly",
                "Cannot set property AllowedCPUs",
            ))
        });
        stop_call(&mut connect(&fake, false, LONG))
    };
    let mut attempts = Vec::new();
    let outcome = with_optional(&properties, |list| {
        attempts.push(format!("{list:?}"));
        refusal()
    });
    assert!(outcome.unwrap().is_err());
    assert_eq!(attempts.len(), 2);
    assert!(attempts[0].contains("AllowedCPUs") && attempts[0].contains("TasksMax"));
    assert!(!attempts[1].contains("AllowedCPUs") && attempts[1].contains("TasksMax"));
}

#[test]
fn a_missing_manager_is_named() {
    let addresses =
        [address::Address::private("/nonexistent/private"), address::Address::bus("/nonexistent/bus")];
    let text = Connection::open_any(&addresses, Manager::System, UNIT, LONG).unwrap_err().to_string();
    assert!(
        text.starts_with(
            "connect to systemd: /nonexistent/private: no such file or directory, \
             /nonexistent/bus: no such file or directory; hint: "
        ),
        "{text}"
    );
    let text = Connection::open_any(&[], Manager::User, UNIT, LONG).unwrap_err().to_string();
    assert!(text.contains("neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set"), "{text}");
}

#[test]
fn a_cgroup_belongs_to_its_unit() {
    assert!(is_of_unit("system.slice/runtime-web.scope", UNIT));
    assert!(is_of_unit("system.slice/_runtime-web.scope", UNIT));
    assert!(!is_of_unit("system.slice", UNIT));
    assert!(!is_of_unit("system.slice/runtime-web.scope/below", UNIT));
}

/// A state file names the unit before systemd is asked for it, and an answer may be lost: what exists
/// under the name may be a service of the host (`::system.slice` is a name that a configuration may have).
#[test]
fn a_unit_of_somebody_else_is_not_stopped() {
    let cases = [
        (true, "container web", &["Get", "Get", "KillUnit", "StopUnit", "ResetFailedUnit"][..]),
        (true, "container other", &["Get", "Get"]),
        (false, "container web", &["Get", "Get"]),
    ];
    for (transient, description, expected) in cases {
        let mut first = true;
        let fake = Fake::serve(ACCEPT, move |serial, member| {
            Some(match member {
                "Get" if std::mem::take(&mut first) => property(serial, Value::Bool(transient)),
                "Get" => property(serial, Value::text(description)),
                "StopUnit" => [job(serial, "/job/2"), job_removed("/job/2", UNIT, "done")].concat(),
                _ => done(serial),
            })
        });
        let mut link = connect(&fake, false, LONG);
        unit().stop_by(&mut link, true).unwrap();
        drop(link);
        assert_eq!(members(&fake.calls()), expected, "{transient} {description}");
    }
    let fake = Fake::serve(ACCEPT, |serial, _| {
        Some(error(serial, "org.freedesktop.DBus.Error.UnknownObject", "Unknown object"))
    });
    unit().stop_by(&mut connect(&fake, false, LONG), true).unwrap();
}
