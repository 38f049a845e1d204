//! What the init and stage 0 say: a container that traces its init has written it.

use runtime_init::report::{REPORT_BYTES, Report};

use super::failure::{StepText, describe};
use super::head_start::makes_network;
use crate::fuzz::check_error;
use crate::host::Host;
use crate::plan::{CreateOptions, LaunchPlan};
use crate::spec::{ValidSpec, default_spec};

thread_local! {
    static PLAN: Option<LaunchPlan> = plan();
}

fn plan() -> Option<LaunchPlan> {
    let text = serde_json::to_vec(&default_spec(None, true).ok()?).ok()?;
    LaunchPlan::create(&ValidSpec::parse(&text).ok()?, &Host::for_tests(), &CreateOptions::new()).ok()
}

pub(crate) fn reports(bytes: &[u8]) {
    PLAN.with(|plan| {
        let plan = plan.as_ref().expect("a plan of the default configuration");
        for chunk in bytes.as_chunks::<REPORT_BYTES>().0 {
            let report = Report::from_bytes(chunk);
            assert_eq!(report.to_bytes(), *chunk);
            let step = StepText::of(plan, report.step as usize);
            check_error(&describe(report, step.as_ref(), None));
        }
    });
}

/// What is guessed of a configuration before it is parsed.
pub(crate) fn head_start(bytes: &[u8]) {
    makes_network(bytes);
}
