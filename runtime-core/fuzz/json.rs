//! Changes of a JSON text that leave it one: other values, fewer and more fields.

use serde_json::{Value, json};

use crate::fuzz_driver::{Random, change};

/// Changes a value somewhere in the text; one in four times, and what is no JSON, its bytes.
pub(crate) fn change_json(random: &mut Random, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    match serde_json::from_slice::<Value>(bytes) {
        Ok(mut value) if random.below(4) > 0 => {
            let other = serde_json::from_slice(random.one::<Vec<u8>>(seeds)).unwrap_or(Value::Null);
            change_value(random, &mut value, &other);
            *bytes = value.to_string().into_bytes();
        }
        _ => change(random, bytes, seeds),
    }
}

fn change_value(random: &mut Random, value: &mut Value, other: &Value) {
    // One step down, most of the time.
    let deeper = random.below(8) > 0;
    match value {
        Value::Object(fields) if deeper && !fields.is_empty() => {
            let key = fields.keys().nth(random.below(fields.len())).cloned().unwrap_or_default();
            let given = other.get(&key).cloned();
            match random.below(16) {
                0 => drop(fields.remove(&key)),
                1 => fields.extend(given.map(|given| (key, given))),
                _ => fields.iter_mut().filter(|(known, _)| **known == key).for_each(|(_, value)| {
                    change_value(random, value, given.as_ref().unwrap_or(&Value::Null));
                }),
            }
        }
        Value::Array(items) if deeper && !items.is_empty() => {
            let at = random.below(items.len());
            match random.below(8) {
                0 => drop(items.remove(at)),
                1 => items.insert(at, items[at].clone()),
                _ => change_value(random, &mut items[at], &Value::Null),
            }
        }
        _ => *value = another(random, value),
    }
}

fn another(random: &mut Random, value: &Value) -> Value {
    let text = value.as_str().unwrap_or("/x");
    match random.below(18) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(0),
        3 => json!(-1),
        4 => json!(u32::MAX),
        5 => json!(i64::MIN),
        6 => json!(i64::MAX),
        7 => json!(u64::MAX),
        8 => json!(1_u64 << random.below(64)),
        9 => json!(""),
        10 => json!(format!("{text}\n{text}")),
        11 => json!(format!("{text}\0")),
        12 => json!(format!("/{text}/../..")),
        13 => json!(text.repeat(1 + random.below(300))),
        14 => json!(text.to_uppercase()),
        15 => json!([value]),
        16 => json!({ text: value }),
        _ => json!([value, value, value]),
    }
}
