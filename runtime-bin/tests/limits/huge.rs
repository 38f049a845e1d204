//! Huge pages.

use std::fs;

use serde_json::json;

use crate::scene::{ASLEEP, Group, controllers, limited};

const PAGE: u64 = 2 << 20;

#[test]
fn huge_pages_end_at_the_limit() {
    if !controllers(&["hugetlb"]) {
        return;
    }
    // A setting of the whole machine; other tests do not count its pages.
    fs::write("/proc/sys/vm/nr_hugepages", "8").expect("huge pages");
    let reserved = fs::read_to_string("/proc/sys/vm/nr_hugepages").expect("huge pages");
    assert_eq!(reserved.trim(), "8", "the machine has the memory");
    let resources = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 2 * PAGE}]});
    let bundle = limited(ASLEEP, &resources).with(|config| {
        let mount = json!({"destination": "/huge", "type": "hugetlbfs", "source": "hugetlbfs",
            "options": ["pagesize=2M"]});
        config["mounts"].as_array_mut().expect("mounts").push(mount);
    });
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let group = Group::of(&container);
    group.has("hugetlb.2MB.max", &(2 * PAGE).to_string());
    group.has("hugetlb.2MB.rsvd.max", &(2 * PAGE).to_string());
    let take = |pages: u64, name: &str| {
        container.go_with(&["exec"], &["fallocate", "-l", &(pages * PAGE).to_string(), name]).code
    };
    assert_eq!(take(2, "/huge/two"), 0);
    group.has("hugetlb.2MB.current", &(2 * PAGE).to_string());
    assert_ne!(take(1, "/huge/third"), 0, "more than the limit");
    assert!(group.counter("hugetlb.2MB.events", "max") > 0);
    group.has("hugetlb.2MB.current", &(2 * PAGE).to_string());
    container.go(&["delete", "--force"]).ok();
    fs::write("/proc/sys/vm/nr_hugepages", "0").expect("no huge pages");
}
