//! Operations in the words that people know them by, for errors and for `--dry-run`.

mod file;
mod lanes;
mod mount;
mod namespace;
mod process;
mod program;
mod stage;
mod text;
mod wait;

use super::ChildPlan;
use runtime_init::ops::{MountOp, Op, Parameter, ProgramOp, Slice, Str};

impl ChildPlan {
    /// Operation `step` with its arguments, such as `mount "proc" on "/proc"`; empty if there is none.
    pub(crate) fn explain(&self, step: usize) -> String {
        match self.ops().get(step) {
            Some(op) => self.explain_op(op, step),
            None => String::new(),
        }
    }

    fn explain_op(&self, op: &Op, step: usize) -> String {
        match *op {
            Op::Stage(op) => self.explain_stage(op),
            Op::Namespace(op) => self.explain_namespace(op),
            Op::Wait(op) => self.explain_wait(op),
            Op::Mount(op) => self.explain_mount(op, step),
            Op::File(op) => self.explain_file(op),
            Op::Process(op) => self.explain_process(op),
            Op::Program(op) => self.explain_program(op),
        }
    }

    /// The program as the configuration names it: a path, or a name that was searched. One directory
    /// in `PATH`, or none, makes no path of a name. A handler is named as such.
    pub(crate) fn program_name(&self) -> String {
        let name = self.ops().iter().find_map(|op| match op {
            Op::Program(ProgramOp::Execute { args, .. }) => {
                Some(self.words(*args, 1).first().copied().map_or(Str::NONE, Str))
            }
            Op::Program(ProgramOp::ExecuteHandler { name, .. }) => Some(*name),
            _ => None,
        });
        name.map_or_else(String::new, |name| self.text(name).into_owned())
    }

    /// Where the mount of operation `step` goes: the next attach says it.
    fn target(&self, step: usize) -> String {
        let ops = self.ops().get(step..).unwrap_or_default();
        let place = ops.iter().find_map(|op| match op {
            Op::Mount(MountOp::Attach { destination, .. }) => Some(self.quote(*destination)),
            Op::Mount(MountOp::OpenRoot { .. }) => Some("the root".to_owned()),
            _ => None,
        });
        place.map_or_else(String::new, |place| format!(" on {place}"))
    }

    fn quote(&self, text: Str) -> String {
        format!("{:?}", self.text(text))
    }

    fn bytes_text(&self, bytes: Slice) -> String {
        format!("{:?}", String::from_utf8_lossy(self.slice(bytes)))
    }

    fn words(&self, words: Slice, each: u32) -> Vec<u32> {
        let bytes = Slice { len: words.len.saturating_mul(each).saturating_mul(4), ..words };
        let (words, _) = self.slice(bytes).as_chunks();
        words.iter().map(|word| u32::from_ne_bytes(*word)).collect()
    }

    fn numbers_text(&self, numbers: Slice) -> String {
        let texts: Vec<String> = self.words(numbers, 1).iter().map(u32::to_string).collect();
        texts.join(",")
    }

    pub(super) fn strings_text(&self, strings: Slice) -> String {
        let texts: Vec<String> = self.words(strings, 1).iter().map(|at| self.quote(Str(*at))).collect();
        texts.join(" ")
    }

    fn parameter_texts(&self, parameters: Slice) -> Vec<String> {
        let words = self.words(parameters, const { (size_of::<Parameter>() / 4) as u32 });
        let (pairs, _) = words.as_chunks();
        pairs
            .iter()
            .map(|[key, value]| match (self.text(Str(*key)), Str(*value)) {
                (key, Str::NONE) => key.into_owned(),
                (key, value) => format!("{key}={}", self.text(value)),
            })
            .collect()
    }
}
