//! A runtime that is broken on purpose: edits config.json, then becomes the real runtime.
//!
//! `BROKEN_FAULT` is what to do: `drop POINTER KEY` takes a field out, `set POINTER JSON` puts
//! one in, `reverse POINTER` turns an array around, `mute OPERATION` makes an operation a success that does nothing.
//! `BROKEN_RUNTIME` is the real runtime.

use serde_json::Value;
use std::error::Error;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let fault = std::env::var("BROKEN_FAULT")?;
    let mut words = fault.splitn(3, ' ');
    let verb = words.next().unwrap_or("");
    let (first, second) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    if verb == "mute" && args.iter().any(|word| word == first) {
        return Ok(());
    }
    if let Some(place) = args.iter().position(|word| word == "--bundle") {
        let file = Path::new(args.get(place + 1).map_or("", String::as_str)).join("config.json");
        // A missing file is the real runtime's to complain about.
        if let Ok(text) = std::fs::read_to_string(&file) {
            let mut config: Value = serde_json::from_str(&text)?;
            edit(&mut config, verb, first, second)?;
            std::fs::write(&file, config.to_string())?;
        }
    }
    Err(Command::new(std::env::var("BROKEN_RUNTIME")?).args(args).exec().into())
}

fn edit(config: &mut Value, verb: &str, pointer: &str, operand: &str) -> Result<(), Box<dyn Error>> {
    let Some(place) = config.pointer_mut(pointer) else { return Ok(()) };
    if let ("reverse", Some(list)) = (verb, place.as_array_mut()) {
        list.reverse();
    }
    match (verb, place.as_object_mut()) {
        ("drop", Some(object)) => {
            object.remove(operand);
        }
        ("set", _) => *place = serde_json::from_str(operand)?,
        _ => {}
    }
    Ok(())
}
