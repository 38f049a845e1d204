//! The features document of the runtime specification.

use runtime_core::spec::supported;
use serde_json::{Value, json};

use crate::version;

/// The library's document, with what the program adds: its version, and that it checkpoints.
pub(crate) fn document() -> Value {
    let annotations = json!({
        "runtime.version": version::VERSION,
        "runtime.commit": version::COMMIT,
        "runtime.checkpoint.enabled": "true",
    });
    let mut document = supported::features();
    if let Some(fields) = document.as_object_mut() {
        fields.insert("annotations".to_owned(), annotations);
    }
    document
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_engines_look_for() {
        let document = super::document();
        let options = document["mountOptions"].as_array().expect("options");
        assert!(options.iter().any(|option| option == "rro"));
        let namespaces = document["linux"]["namespaces"].as_array().expect("namespaces");
        assert!(namespaces.iter().any(|namespace| namespace == "user"));
        assert_eq!(document["linux"]["mountExtensions"]["idmap"]["enabled"], true);
        assert_eq!(document["linux"]["capabilities"].as_array().map(Vec::len), Some(41));
    }
}
