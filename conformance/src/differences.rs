//! Where the specification and runc's long-standing behaviour differ.
//!
//! Engines rely on runc, so a runtime may follow either; the checks of these statements read
//! this table and accept both, and their evidence says which of the two was seen.

/// One difference.
pub(crate) struct Difference {
    /// The statement's id.
    pub(crate) id: &'static str,
    /// What the specification asks for.
    pub(crate) specification: &'static str,
    /// What runc does, and who relies on it.
    pub(crate) runc: &'static str,
}

/// Every difference that the suite accepts.
pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference {
        id: "delete-created",
        specification: "delete of a created container is an error and has no effect",
        runc: "delete ends and removes a created container; runc's own tests and engines that \
               give up between create and start rely on it",
    },
    Difference {
        id: "start-needs-process",
        specification: "create accepts a configuration without process, start is an error",
        runc: "create already refuses it",
    },
    Difference {
        id: "required-uid",
        specification: "a user without uid is invalid",
        runc: "a missing uid is 0; configurations of runc's own tests lack one",
    },
    Difference {
        id: "required-gid",
        specification: "a user without gid is invalid",
        runc: "a missing gid is 0; configurations of runc's own tests lack one",
    },
    Difference {
        id: "readonly-paths-absolute",
        specification: "a relative read-only path is invalid",
        runc: "a relative read-only path is accepted and taken from the container's root",
    },
    Difference {
        id: "masked-paths-absolute",
        specification: "a relative masked path is invalid",
        runc: "a relative masked path is accepted and taken from the container's root",
    },
];

/// The difference of that statement.
pub(crate) fn difference(id: &str) -> Option<&'static Difference> {
    DIFFERENCES.iter().find(|difference| difference.id == id)
}
