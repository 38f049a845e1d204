//! A caller with very many descriptors.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use runtime_core::Exit;

use super::support::scene::{self, Scene, end, exit};
use super::views::in_views;

/// Descriptors of the caller. The hard limit of many machines is a little above.
const MANY: u64 = 19_800;

in_views!(a_caller_with_very_many_descriptors: hybrid, v2);
fn a_caller_with_very_many_descriptors() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("the hard limit");
    let scene = Scene::new();
    let null = std::fs::File::open("/dev/null").expect("/dev/null");
    let count = MANY.min(hard.saturating_sub(200));
    let many: Vec<_> = (0..count).map(|_| null.try_clone().expect("a descriptor")).collect();
    for _ in 0..5 {
        let container = scene.started(&["sleep", "600"]);
        for _ in 0..5 {
            let process = scene::exec(&container, &["sh", "-c", "exit 3"]).expect("executed");
            assert_eq!(exit(&process), Exit::Code(3));
        }
        let process = scene::exec(&container, &["sh", "-c", "test ! -e /proc/self/fd/99"]).expect("executed");
        assert_eq!(exit(&process), Exit::Code(0), "the container has a descriptor of the caller");
        end(container);
    }
    drop(many);
    scene.assert_clean("many descriptors");
}
