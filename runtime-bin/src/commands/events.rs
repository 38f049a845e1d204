//! `events`.

use std::time::Duration;

use runtime_core::events::Event;
use runtime_core::{Container, ErrorKind};

use super::{Context, json, print};
use crate::args::options;
use crate::duration;
use crate::error::{Error, Result};

/// The interval if none is given.
const DEFAULT: Duration = Duration::from_secs(5);

pub(super) fn run(context: &Context<'_>) -> Result<()> {
    let container = context.container()?;
    let interval = interval(context)?;
    if context.options().flag(&options::STATS) {
        let data = Box::new(container.statistics()?);
        return show(&Event::Stats { id: container.id().to_string(), data });
    }
    follow(context, &container, interval)
}

fn interval(context: &Context<'_>) -> Result<Duration> {
    let Some(text) = context.options().text(&options::INTERVAL) else { return Ok(DEFAULT) };
    match duration::parse(text) {
        Some(interval) if !interval.is_zero() => Ok(interval),
        Some(_) => Err(Error::invalid("--interval", "duration interval must be greater than 0")),
        None if text.starts_with('-') => {
            Err(Error::invalid("--interval", "duration interval must be greater than 0"))
        }
        None => Err(Error::invalid("--interval", format!("{text:?} is not a time such as 500ms or 5s"))),
    }
}

fn follow(context: &Context<'_>, container: &Container, interval: Duration) -> Result<()> {
    let mut events = container.events(interval)?;
    loop {
        match events.wait() {
            Ok(Some(event)) => show(&event)?,
            Ok(None) => return Ok(()),
            // A file of the cgroup could not be read this time.
            Err(error) if error.kind() == ErrorKind::Cgroup => context.log.warning(&error.to_string()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn show(event: &Event) -> Result<()> {
    print(&format!("{}\n", json(event)?))
}
