//! Interleaved runs: what disturbs the machine disturbs all subjects alike.

use std::cell::Cell;

use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::bundle::Workspace;
use crate::cases::{Case, Crowd, Trial};
use crate::failure::Failure;
use crate::subject::Subject;

/// Trials before the first that counts: they load files, fill caches and make state directories.
const WARM_UPS: usize = 2;

/// What became of a subject in a case.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The samples of each column.
    Measured(Vec<Vec<f64>>),
    /// It failed, at first or midway: half a comparison is none.
    LeftOut(Failure),
    /// The case is not one for it.
    NotMeant,
}

/// A case, measured: one outcome for each subject, in their order.
pub(crate) struct Measurement<'a> {
    pub(crate) case: &'a Case,
    pub(crate) outcomes: Vec<Outcome>,
}

/// Runs a case: one trial of each subject in turn, each round begun by the next one.
pub(crate) fn case<'a>(
    case: &'a Case,
    workspace: &Workspace,
    subjects: &[Subject],
    runs: usize,
    stop: &Stop,
) -> Measurement<'a> {
    let mut trials: Vec<Option<Trial<'_>>> = Vec::new();
    let mut outcomes = Vec::new();
    let _crowd = match crowd(case, workspace, subjects) {
        Ok(crowd) => crowd,
        Err(failure) => {
            let outcomes = subjects.iter().map(|_| Outcome::LeftOut(failure.clone())).collect();
            return Measurement { case, outcomes };
        }
    };
    for subject in subjects {
        let (trial, outcome) = match () {
            () if subject.is_floor && !case.has_floor => (None, Outcome::NotMeant),
            () if case.of_library && !subject.is_floor && !subject.is_ours() => (None, Outcome::NotMeant),
            () => match (case.prepare)(workspace, subject) {
                Ok(trial) => (Some(trial), Outcome::Measured(vec![Vec::new(); case.columns.len()])),
                Err(failure) => (None, Outcome::LeftOut(failure)),
            },
        };
        trials.push(trial);
        outcomes.push(outcome);
    }
    let runs = runs.min(case.most_runs);
    let warm_ups = if case.most_runs == 1 { 0 } else { WARM_UPS };
    for round in 0..warm_ups + runs {
        for subject in rotated(subjects.len(), round) {
            if stop.asked() {
                return Measurement { case, outcomes };
            }
            std::thread::sleep(case.pause);
            one(&mut trials[subject], &mut outcomes[subject], round >= warm_ups);
        }
    }
    Measurement { case, outcomes }
}

/// The containers that live beside.
fn crowd<'a>(
    case: &Case,
    workspace: &Workspace,
    subjects: &'a [Subject],
) -> Result<Option<Crowd<'a>>, Failure> {
    let maker = subjects.iter().find(|subject| !subject.is_floor).filter(|_| case.crowd > 0);
    maker.map(|maker| Crowd::make(workspace, maker, case.crowd)).transpose()
}

/// One trial of one subject; a failure ends its part in the case.
fn one(trial: &mut Option<Trial<'_>>, outcome: &mut Outcome, counts: bool) {
    let Some(run) = trial else { return };
    match (run(), &mut *outcome) {
        (Ok(row), Outcome::Measured(columns)) if counts => {
            for (column, value) in columns.iter_mut().zip(row) {
                column.extend(value);
            }
        }
        (Ok(_), _) => {}
        (Err(failure), _) => {
            *trial = None;
            *outcome = Outcome::LeftOut(failure);
        }
    }
}

/// 0 to count - 1, begun at another place in each round.
fn rotated(count: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |place| (place + round) % count)
}

/// Ctrl-C ends the comparison between two trials, so that containers and cgroups are removed.
#[derive(Debug)]
pub(crate) struct Stop {
    signals: SignalFd,
    asked: Cell<bool>,
}

impl Stop {
    /// Takes SIGINT and SIGTERM, and the orphans that `create` leaves. Children have neither blocked.
    pub(crate) fn on_signals() -> Result<Self, Failure> {
        let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
        signals.thread_block().map_err(Failure::during("block signals"))?;
        set_child_subreaper(true).map_err(Failure::during("become a subreaper"))?;
        let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .map_err(Failure::during("make a signalfd"))?;
        Ok(Self { signals, asked: Cell::new(false) })
    }

    pub(crate) fn asked(&self) -> bool {
        if matches!(self.signals.read_signal(), Ok(Some(_))) {
            self.asked.set(true);
        }
        self.asked.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_begins_with_the_next() {
        let orders: Vec<Vec<usize>> = (0..4).map(|round| rotated(3, round).collect()).collect();
        assert_eq!(orders, [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]);
    }

    #[test]
    fn a_failure_ends_a_subject() {
        let mut trial: Option<Trial<'_>> = Some(Box::new(|| Err(Failure::new("no"))));
        let mut outcome = Outcome::Measured(vec![vec![1.0]]);
        one(&mut trial, &mut outcome, true);
        assert!(trial.is_none());
        assert!(matches!(outcome, Outcome::LeftOut(_)));
    }

    #[test]
    fn a_warm_up_does_not_count() {
        let mut trial: Option<Trial<'_>> = Some(Box::new(|| Ok(vec![Some(3.0), None])));
        let mut outcome = Outcome::Measured(vec![Vec::new(), Vec::new()]);
        one(&mut trial, &mut outcome, false);
        one(&mut trial, &mut outcome, true);
        assert!(matches!(outcome, Outcome::Measured(columns) if columns == [vec![3.0], vec![]]));
    }
}
