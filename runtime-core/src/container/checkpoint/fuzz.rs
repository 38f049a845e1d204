//! What CRIU answers, and writes into its log.

use super::{log, request};

pub(crate) fn response(bytes: &[u8]) {
    if let Some(response) = request::Response::parse(bytes) {
        assert_ne!(response.kind, 0);
    }
    assert!(!log::choose(&String::from_utf8_lossy(bytes)).contains('\n'));
}
