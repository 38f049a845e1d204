//! features.md: the features document.

use super::{Statement, must, should, untestable};
use crate::case::Case;
use crate::verdict::{Outcome, Stop, fail, holds, skip};
use serde_json::{Value, json};

const SECTION: &str = "features.md";

/// The table.
pub(super) const STATEMENTS: &[Statement] = &[
    must("features-versions", SECTION, "ociVersionMin is not above ociVersionMax", versions),
    must("features-min-accepted", SECTION, "ociVersionMin is accepted in a configuration", |case| {
        accepted(case, "ociVersionMin")
    }),
    must("features-max-accepted", SECTION, "ociVersionMax is accepted in a configuration", |case| {
        accepted(case, "ociVersionMax")
    }),
    must("features-mount-options", SECTION, "every listed mount option is recognized", recognized),
    should("features-no-data-options", SECTION, "options of one file system are not listed", no_data),
    must("features-annotations", SECTION, "annotations are a map of strings", annotations),
    untestable(
        "features-compile-time",
        SECTION,
        "the content is fixed at compile time",
        "a property of the source, not of a run",
    ),
];

pub(super) fn features(case: &Case) -> Result<Value, Stop> {
    let call = case.raw(&["features"])?;
    if !call.ok() {
        return crate::verdict::skip(format!("no features command: {}", call.describe()));
    }
    serde_json::from_str(&call.stdout).or_else(|error| fail("a JSON object", error.to_string()))
}

/// Major, minor, patch.
fn numbers(version: &Value) -> Vec<u32> {
    let text = version.as_str().unwrap_or("");
    let plain = text.split(['-', '+']).next().unwrap_or("");
    plain.split('.').filter_map(|number| number.parse().ok()).collect()
}

fn versions(case: &mut Case) -> Outcome {
    let page = features(case)?;
    let (min, max) = (numbers(&page["ociVersionMin"]), numbers(&page["ociVersionMax"]));
    let right = min.len() == 3 && max.len() == 3 && min <= max;
    holds(right, "two versions in order", format!("{} to {}", page["ociVersionMin"], page["ociVersionMax"]))
}

fn accepted(case: &mut Case, key: &str) -> Outcome {
    let version = features(case)?[key].clone();
    case.set("/ociVersion", version.clone());
    case.report()?;
    Ok(format!("a container of version {version} ran"))
}

/// Mounts a tmpfs once with each option that a tmpfs on its own can have: an option that is
/// not recognized would go to the file system as data, which tmpfs refuses.
fn recognized(case: &mut Case) -> Outcome {
    let page = features(case)?;
    let Some(listed) = page["mountOptions"].as_array() else {
        return skip("no mountOptions in the document");
    };
    let not_alone = [
        "bind",
        "rbind",
        "remount",
        "idmap",
        "ridmap",
        "mand",
        "nomand",
        "tmpcopyup",
        "iversion",
        "copy-symlink",
        "src-nofollow",
        "dest-nofollow",
    ];
    let options: Vec<&Value> =
        listed.iter().filter(|option| !not_alone.contains(&option.as_str().unwrap_or(""))).collect();
    // Each at a place of its own: an unbindable mount cannot lie on a shared one.
    for (number, option) in options.iter().enumerate() {
        let place = format!("/tmp/{number}");
        case.push(
            "/mounts",
            json!({"destination": place, "type": "tmpfs", "source": "t", "options": [option]}),
        );
    }
    if case.create()?.ok() {
        return Ok(format!("{} options mounted", options.len()));
    }
    let words: Vec<String> = options.iter().filter_map(|option| option.as_str().map(str::to_owned)).collect();
    all_recognized(case, &words, "no-such-option", |case, option| {
        if let Some(list) = case.config["mounts"].as_array_mut() {
            list.truncate(2);
        }
        super::mounts::tmpfs(case, json!([option]));
    })
}

/// Whether a runtime knows each word: what it knows may still fail on this machine, but not with the
/// error of a word that is none. Where the errors do not name the word they tell nothing.
pub(super) fn all_recognized(
    case: &mut Case,
    words: &[String],
    nonsense: &str,
    with: impl Fn(&mut Case, &str),
) -> Outcome {
    with(case, nonsense);
    let control = case.create()?;
    if control.ok() || plain(&control.stderr, "") == plain(&control.stderr, nonsense) {
        return skip(format!("the runtime's error does not name {nonsense}: {}", control.describe()));
    }
    let unknown = plain(&control.stderr, nonsense);
    for word in words {
        with(case, word);
        let create = case.create()?;
        if create.ok() {
            crate::case::must(case.raw(&["delete", "--force", &case.id])?)?;
        } else if plain(&create.stderr, word) == unknown {
            return fail(format!("{word} is recognized"), create.describe());
        }
    }
    Ok(format!("{} words, none with the error of {nonsense}", words.len()))
}

/// A text without a word and without numbers, which times and ids have.
fn plain(text: &str, word: &str) -> String {
    let text = if word.is_empty() { text.to_owned() } else { text.replace(word, "") };
    text.chars().filter(|c| !c.is_ascii_digit()).collect()
}

fn no_data(case: &mut Case) -> Outcome {
    let page = features(case)?;
    let Some(listed) = page["mountOptions"].as_array() else {
        return skip("no mountOptions in the document");
    };
    let data = listed.iter().filter(|option| option.as_str().is_some_and(|text| text.contains('=')));
    let data: Vec<&Value> = data.collect();
    holds(data.is_empty(), "options without values", format!("{} listed, {data:?}", listed.len()))
}

fn annotations(case: &mut Case) -> Outcome {
    let page = features(case)?;
    let right = match &page["annotations"] {
        Value::Null => true,
        Value::Object(map) => map.iter().all(|(key, value)| !key.is_empty() && value.is_string()),
        _ => false,
    };
    holds(right, "strings by non-empty keys", page["annotations"].to_string())
}
