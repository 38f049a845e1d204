//! How containerd says what it wants of `start`: by flags, the environment and the options on standard input (until 2.2), or
//! by one message there (from 2.3).

use containerd_shim_protos::bootstrap_api::{BootstrapParams, BootstrapResult};
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;

use crate::args::Args;
use crate::fault::Fault;

/// What a new shim has to know.
#[derive(Debug, PartialEq)]
pub(super) struct Wanted {
    pub(super) namespace: String,
    pub(super) id: String,
    /// containerd's own socket.
    pub(super) address: String,
    /// Where events go.
    pub(super) ttrpc_address: String,
    pub(super) debug: bool,
    pub(super) options: Option<Any>,
    /// The directory of the shim's socket.
    pub(super) sockets: Option<String>,
    /// containerd 2.3 or newer.
    newer: bool,
}

impl Wanted {
    pub(super) fn new(args: &Args, input: &[u8], ttrpc_address: String) -> Self {
        let older = Self {
            namespace: args.namespace.clone(),
            id: args.id.clone(),
            address: args.address.clone(),
            ttrpc_address,
            debug: args.debug,
            options: None,
            sockets: None,
            newer: false,
        };
        match BootstrapParams::parse_from_bytes(input) {
            Ok(params) if params.instance_id == args.id && params.namespace == args.namespace => {
                older.with(params)
            }
            // An `Any` of options has other texts in the same places.
            Ok(_) | Err(_) => Self { options: Any::parse_from_bytes(input).ok(), ..older },
        }
    }

    fn with(self, params: BootstrapParams) -> Self {
        // Debug is -4, and what is more is less than that.
        let debug = self.debug || params.log_level.value() <= -4;
        let options = params.extensions.into_iter().filter_map(|extension| extension.value.into_option());
        let options = options.into_iter().find(|any| any.type_url.ends_with(".Options"));
        Self {
            address: params.containerd_grpc_address,
            ttrpc_address: params.containerd_ttrpc_address,
            debug,
            options,
            sockets: params.socket_dir.filter(|directory| !directory.is_empty()),
            newer: true,
            ..self
        }
    }

    /// The answer. A bare address is what every containerd before 2.3 takes, and means version 2 of the service.
    pub(super) fn answer(&self, address: &str) -> Result<Vec<u8>, Fault> {
        if !self.newer {
            return Ok(address.as_bytes().to_vec());
        }
        let result = BootstrapResult {
            version: 3,
            address: address.to_owned(),
            protocol: "ttrpc".to_owned(),
            ..BootstrapResult::default()
        };
        result.write_to_bytes().map_err(|error| Fault::system("encode the answer", error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use containerd_shim_protos::bootstrap_api::Extension;

    fn args() -> Args {
        Args::parse("-namespace n -id a -address /c start".split(' ').map(str::to_owned)).unwrap()
    }

    #[test]
    fn flags_and_options() {
        let any =
            Any { type_url: "containerd.runc.v1.Options".to_owned(), value: vec![8, 1], ..Any::default() };
        let wanted = Wanted::new(&args(), &any.write_to_bytes().unwrap(), "/t".to_owned());
        assert_eq!(
            (wanted.address.as_str(), wanted.ttrpc_address.as_str(), wanted.debug),
            ("/c", "/t", false)
        );
        assert_eq!(wanted.options, Some(any));
        assert_eq!(wanted.answer("unix:///s").unwrap(), b"unix:///s");
        let without = Wanted::new(&args(), &[], String::new());
        assert!(without.options.is_none_or(|any| any.type_url.is_empty()));
    }

    #[test]
    fn one_message() {
        let any = Any { type_url: "containerd.runc.v1.Options".to_owned(), ..Any::default() };
        let params = BootstrapParams {
            instance_id: "a".to_owned(),
            namespace: "n".to_owned(),
            containerd_ttrpc_address: "/t2".to_owned(),
            socket_dir: Some("/dir".to_owned()),
            extensions: vec![Extension { value: Some(any.clone()).into(), ..Extension::default() }],
            ..BootstrapParams::default()
        };
        let wanted = Wanted::new(&args(), &params.write_to_bytes().unwrap(), String::new());
        assert_eq!((wanted.ttrpc_address.as_str(), wanted.sockets.as_deref()), ("/t2", Some("/dir")));
        assert_eq!(wanted.options, Some(any));
        let answer = BootstrapResult::parse_from_bytes(&wanted.answer("unix:///s").unwrap()).unwrap();
        assert_eq!((answer.version, answer.protocol.as_str()), (3, "ttrpc"));
    }
}
