//! Golden tests: a resources document, and the writes of each view.

use serde_json::{Value, json};

use crate::cgroup::{CgroupPlan, Missing, Mode, Resources, View};
use crate::spec::parse_resources;

const ALL_V1: [&str; 13] = [
    "blkio",
    "cpu,cpuacct",
    "cpuset",
    "devices",
    "freezer",
    "hugetlb",
    "memory",
    "misc",
    "net_cls,net_prio",
    "perf_event",
    "pids",
    "rdma",
    "systemd",
];
const ALL_V2: [&str; 8] = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc"];

fn unified() -> View {
    View::new(Mode::Unified, &[], &ALL_V2)
}

fn legacy() -> View {
    View::new(Mode::Legacy, &ALL_V1, &[])
}

/// As on a machine whose hugetlb is not among the v1 controllers.
fn hybrid() -> View {
    let v1: Vec<&str> = ALL_V1.into_iter().filter(|name| *name != "hugetlb").collect();
    View::new(Mode::Hybrid, &v1, &["hugetlb"])
}

fn read(resources: &Value) -> Result<Resources, Vec<String>> {
    parse_resources(resources.to_string().as_bytes(), "resources").map(|(resources, _)| resources).map_err(
        |error| error.to_string().trim_start_matches("resources: ").split("; ").map(str::to_owned).collect(),
    )
}

fn plan(view: &View, resources: &Value) -> Result<CgroupPlan, Vec<String>> {
    let resources = read(resources)?;
    CgroupPlan::compile_all(view, None, "web", &resources)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

/// `controller file=value`, with `?` if the file may be missing and `~` if it may be written later.
fn lines(view: &View, resources: Value) -> Vec<String> {
    let plan = plan(view, &resources).unwrap_or_else(|errors| panic!("{resources}: {errors:?}"));
    plan.writes
        .iter()
        .map(|write| {
            let later = if write.reorder { "~" } else { "" };
            let missing = match &write.missing {
                Missing::Fails => String::new(),
                Missing::Ignored => "?".to_owned(),
                Missing::Instead(file, value) => format!(" or {file}={value}"),
            };
            format!("{} {}={}{later}{missing}", write.controller, write.file, write.value)
        })
        .collect()
}

fn errors(view: &View, resources: Value) -> Vec<String> {
    plan(view, &resources).map(|plan| plan.writes.len()).expect_err("the plan should be refused")
}

#[test]
fn unset_is_unset_everywhere() {
    let docker = json!({
        "memory": {"limit": 0, "swap": 0, "reservation": 0, "disableOOMKiller": false, "kernel": 0},
        "cpu": {"shares": 0, "quota": 0, "period": 0, "realtimePeriod": 0, "realtimeRuntime": 0, "cpus": "", "mems": ""},
        "blockIO": {"weight": 0, "leafWeight": 0},
        "network": {"classID": 0},
        "pids": {"limit": -1},
        "hugepageLimits": [],
    });
    assert_eq!(lines(&View::new(Mode::Unified, &[], &[]), docker.clone()), [""; 0]);
    assert_eq!(lines(&View::new(Mode::Legacy, &[], &[]), docker), [""; 0]);
}

#[test]
fn memory() {
    let table = [
        (
            json!({"limit": 100, "swap": 300, "reservation": 50}),
            &[
                "memory memory.limit_in_bytes=100~",
                "memory memory.memsw.limit_in_bytes=300~",
                "memory memory.soft_limit_in_bytes=50",
            ][..],
            &["memory memory.swap.max=200", "memory memory.max=100", "memory memory.low=50"][..],
        ),
        (
            json!({"limit": -1}),
            &["memory memory.limit_in_bytes=-1~", "memory memory.memsw.limit_in_bytes=-1~?"],
            &["memory memory.swap.max=max?", "memory memory.max=max"],
        ),
        (
            json!({"limit": 100, "swap": -1}),
            &["memory memory.limit_in_bytes=100~", "memory memory.memsw.limit_in_bytes=-1~"],
            &["memory memory.swap.max=max?", "memory memory.max=100"],
        ),
        (
            json!({"limit": 100, "swap": 100}),
            &["memory memory.limit_in_bytes=100~", "memory memory.memsw.limit_in_bytes=100~"],
            &["memory memory.swap.max=0?", "memory memory.max=100"],
        ),
        (
            json!({"limit": 100, "disableOOMKiller": true, "swappiness": 60}),
            &[
                "memory memory.limit_in_bytes=100~",
                "memory memory.oom_control=1",
                "memory memory.swappiness=60",
            ],
            &["memory memory.max=100"],
        ),
        (json!({"swappiness": u64::MAX, "kernel": 5, "kernelTCP": 5}), &[], &[]),
        (json!({"reservation": -1}), &["memory memory.soft_limit_in_bytes=-1"], &["memory memory.low=max"]),
    ];
    for (memory, v1, v2) in table {
        assert_eq!(lines(&legacy(), json!({"memory": memory})), v1, "{memory}");
        assert_eq!(lines(&hybrid(), json!({"memory": memory})), v1, "{memory}");
        assert_eq!(lines(&unified(), json!({"memory": memory})), v2, "{memory}");
    }
}

#[test]
fn memory_that_cannot_be() {
    let table = [
        (
            unified(),
            json!({"swap": 5}),
            "unable to set swap limit without memory limit (linux.resources.memory.swap)",
        ),
        (unified(), json!({"limit": 9, "swap": 5}), "memory+swap limit should be >= memory limit"),
        (unified(), json!({"limit": -5}), "linux.resources.memory.limit: invalid memory value: -5"),
        (legacy(), json!({"swappiness": 101}), "invalid memory swappiness value: 101 (valid range is 0-100)"),
    ];
    for (view, memory, text) in table {
        let found = errors(&view, json!({"memory": memory})).join("\n");
        assert!(found.contains(text.split(" (linux").next().unwrap()), "{found}");
    }
}

#[test]
fn usage_is_checked_only_when_asked() {
    let with = |check: bool| json!({"memory": {"limit": 100, "swap": 300, "checkBeforeUpdate": check}});
    assert_eq!(plan(&unified(), &with(false)).unwrap().guards, []);
    let guards = plan(&unified(), &with(true)).unwrap().guards;
    assert_eq!(
        guards.iter().map(|guard| (guard.name, guard.limit)).collect::<Vec<_>>(),
        [("memory+swap", 300), ("memory", 100)]
    );
    assert_eq!(plan(&legacy(), &with(true)).unwrap().guards, []);
}

#[test]
fn cpu() {
    let table = [
        (json!({"shares": 1024}), &["cpu cpu.shares=1024"][..], &["cpu cpu.weight=100"][..]),
        (
            json!({"quota": 50000, "period": 100000, "burst": 0}),
            &["cpu cpu.cfs_period_us=100000~", "cpu cpu.cfs_burst_us=0~?", "cpu cpu.cfs_quota_us=50000~"],
            &["cpu cpu.max.burst=0~", "cpu cpu.max=50000 100000~"],
        ),
        (json!({"quota": -1}), &["cpu cpu.cfs_quota_us=-1~"], &["cpu cpu.max=max~"]),
        (json!({"period": 5000}), &["cpu cpu.cfs_period_us=5000~"], &["cpu cpu.max=max 5000~"]),
        (json!({"idle": 1, "shares": 10}), &["cpu cpu.idle=1"], &["cpu cpu.idle=1"]),
        (
            json!({"idle": 0, "shares": 2}),
            &["cpu cpu.idle=0", "cpu cpu.shares=2"],
            &["cpu cpu.idle=0", "cpu cpu.weight=1"],
        ),
        (
            json!({"realtimePeriod": 1000000, "realtimeRuntime": 950000}),
            &["cpu cpu.rt_period_us=1000000~", "cpu cpu.rt_runtime_us=950000~"],
            &["refused"],
        ),
        (
            json!({"cpus": "0-1", "mems": "0"}),
            &["cpuset cpuset.cpus=0-1", "cpuset cpuset.mems=0"],
            &["cpuset cpuset.cpus=0-1", "cpuset cpuset.mems=0"],
        ),
    ];
    for (cpu, v1, v2) in table {
        assert_eq!(lines(&legacy(), json!({"cpu": cpu})), v1, "{cpu}");
        assert_eq!(lines(&hybrid(), json!({"cpu": cpu})), v1, "{cpu}");
        if v2 == ["refused"] {
            let found = errors(&unified(), json!({"cpu": cpu}));
            let text = "cannot set realtime limit: cgroup v2 has no realtime bandwidth (linux.resources.cpu.realtime";
            assert!(found.len() == 1 && found[0].starts_with(text), "{found:?}");
            continue;
        }
        assert_eq!(lines(&unified(), json!({"cpu": cpu})), v2, "{cpu}");
    }
    assert!(
        errors(&legacy(), json!({"cpu": {"shares": 1}}))[0].contains("the minimum allowed cpu-shares is 2")
    );
    assert!(
        errors(&legacy(), json!({"cpu": {"shares": 262145}}))[0]
            .contains("the maximum allowed cpu-shares is 262144")
    );
    assert_eq!(lines(&unified(), json!({"cpu": {"shares": 262145}})), ["cpu cpu.weight=10000"]);
}

#[test]
fn block_io() {
    let io = json!({"blockIO": {
        "weight": 500,
        "leafWeight": 300,
        "weightDevice": [{"major": 8, "minor": 0, "weight": 10, "leafWeight": 20}],
        "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1000}],
        "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 0}],
    }});
    let v1 = [
        "blkio blkio.weight=500 or blkio.bfq.weight=500",
        "blkio blkio.leaf_weight=300",
        "blkio blkio.weight_device=8:0 10 or blkio.bfq.weight_device=8:0 10",
        "blkio blkio.leaf_weight_device=8:0 20",
        "blkio blkio.throttle.read_bps_device=8:0 1000",
        "blkio blkio.throttle.write_iops_device=8:16 0",
    ];
    assert_eq!(lines(&legacy(), io.clone()), v1);
    assert_eq!(lines(&hybrid(), io.clone()), v1);
    assert_eq!(
        lines(&unified(), io),
        [
            "io io.bfq.weight=500 or io.weight=4950",
            "io io.bfq.weight=8:0 10 or io.weight=8:0 1",
            "io io.max=8:0 rbps=1000",
            "io io.max=8:16 wiops=max",
        ]
    );
    assert_eq!(
        lines(&unified(), json!({"blockIO": {"weight": 1000}})),
        ["io io.bfq.weight=1000 or io.weight=10000"]
    );
    assert!(
        errors(&unified(), json!({"blockIO": {"weight": 9}}))[0]
            .contains("blockIO.weight: 9 is not a weight")
    );
    let bad = json!({"blockIO": {
        "throttleReadBpsDevice": [{"major": -1, "minor": 0, "rate": 1}],
        "weightDevice": [{"major": 8, "minor": 4_294_967_296_i64, "weight": 10}],
    }});
    let errors = errors(&legacy(), bad);
    for wanted in [
        "throttleReadBpsDevice[0].major: -1 is no device number",
        "weightDevice[0].minor: 4294967296 is no device number",
    ] {
        assert!(errors.iter().any(|error| error.contains(wanted)), "{errors:?}");
    }
}

#[test]
fn pids_of_zero_are_one() {
    for (limit, value) in [(0, "1"), (7, "7"), (-1, "max"), (-9, "max")] {
        for view in [legacy(), hybrid(), unified()] {
            assert_eq!(lines(&view, json!({"pids": {"limit": limit}})), [format!("pids pids.max={value}")]);
        }
    }
}

#[test]
fn huge_pages() {
    let limit = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}]});
    let v2 = ["hugetlb hugetlb.2MB.max=4194304", "hugetlb hugetlb.2MB.rsvd.max=4194304?"];
    assert_eq!(lines(&unified(), limit.clone()), v2);
    // On a hybrid machine the controller is where it is.
    assert_eq!(lines(&hybrid(), limit.clone()), v2);
    assert_eq!(
        lines(&legacy(), limit),
        ["hugetlb hugetlb.2MB.limit_in_bytes=4194304", "hugetlb hugetlb.2MB.rsvd.limit_in_bytes=4194304?",]
    );
    // What nobody can limit is no error as long as nothing is to be had.
    let nowhere = View::new(Mode::Legacy, &["memory"], &[]);
    assert_eq!(lines(&nowhere, json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]})), [""; 0]);
    let found = errors(&nowhere, json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 2097152}]}));
    assert!(found[0].contains("hugepageLimits[0]"), "{found:?}");
    for size in ["../../x", "2MB/../x", "/2MB", "", "MB", "2mb", "02MB", "-2MB", "2 MB", "2MB\n", "2"] {
        let found = errors(&unified(), json!({"hugepageLimits": [{"pageSize": size, "limit": 1}]}));
        assert!(found[0].starts_with("linux.resources.hugepageLimits[0].pageSize: "), "{size:?}: {found:?}");
    }
}

#[test]
fn rdma_and_network() {
    let both = json!({
        "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}, "mlx4_0": {"hcaObjects": 5}, "none": {}},
        "network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 5}]},
    });
    let rdma = ["rdma rdma.max=mlx4_0 hca_object=5", "rdma rdma.max=mlx5_1 hca_handle=3 hca_object=10000"];
    let network = ["net_cls net_cls.classid=1048577", "net_prio net_prio.ifpriomap=eth0 5"];
    assert_eq!(lines(&unified(), both.clone()), rdma);
    assert_eq!(lines(&legacy(), both), [network, rdma].concat());
    for name in ["", "a b", "../x", "a\nb"] {
        assert_eq!(errors(&unified(), json!({"rdma": {name: {"hcaHandles": 1}}})).len(), 1, "{name:?}");
        assert_eq!(
            errors(&legacy(), json!({"network": {"priorities": [{"name": name, "priority": 1}]}})).len(),
            1
        );
    }
}

#[test]
fn unified_entries() {
    let entries = json!({"unified": {"memory.high": "100", "io.max": "8:0 rbps=1\n8:16 rbps=2\n", "cgroup.max.depth": "3"}});
    assert_eq!(
        lines(&unified(), entries),
        [
            "cgroup cgroup.max.depth=3",
            "io io.max=8:0 rbps=1",
            "io io.max=8:16 rbps=2",
            "memory memory.high=100",
        ]
    );
    for key in [
        "../memory.max",
        "memory/max",
        "memory",
        ".max",
        "memory.",
        "..",
        "memory.max\n",
        "cgroup.procs",
        "cgroup.kill",
    ] {
        assert_eq!(errors(&unified(), json!({"unified": {key: "1"}})).len(), 1, "{key:?}");
    }
    let cut = errors(&unified(), json!({"unified": {"memory.high": "1\u{0}0"}}));
    assert_eq!(cut, ["linux.resources.unified[\"memory.high\"]: contains a NUL byte"]);
    let gone = errors(&unified(), json!({"unified": {"nosuch.max": "1"}}));
    assert!(gone[0].contains("controller \"nosuch\" not available"), "{gone:?}");
    for view in [legacy(), hybrid()] {
        assert!(
            errors(&view, json!({"unified": {"memory.min": "1"}}))[0].starts_with("invalid configuration: ")
        );
    }
    assert_eq!(lines(&hybrid(), json!({"unified": {"hugetlb.2MB.max": "0"}})), ["hugetlb hugetlb.2MB.max=0"]);
}

#[test]
fn missing_controllers_are_named_all_at_once() {
    let asked = json!({
        "memory": {"limit": 5}, "cpu": {"shares": 5, "cpus": "0"}, "pids": {"limit": 5}, "blockIO": {"weight": 50},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 5}], "rdma": {"a": {"hcaHandles": 1}},
    });
    let found = errors(&View::new(Mode::Unified, &[], &[]), asked.clone());
    let origins = [
        "pids.limit",
        "memory.limit",
        "blockIO.weight",
        "cpu.shares",
        "cpu.cpus",
        "hugepageLimits[0]",
        "rdma[\"a\"]",
    ];
    assert_eq!(found.len(), origins.len(), "{found:#?}");
    for (error, origin) in found.iter().zip(origins) {
        assert!(error.contains(&format!("(linux.resources.{origin})")), "{error}");
    }
    assert!(found[2].starts_with(
        "cannot set io limit: the io controller is not in the unified (v2) cgroup view (linux.resources.blockIO.weight)"
    ));
    assert!(
        errors(&View::new(Mode::Hybrid, &["freezer"], &[]), asked)[2]
            .contains("the blkio controller is not in the hybrid")
    );
}

#[test]
fn a_bad_path_is_told_along_with_bad_limits() {
    let resources = read(&json!({"memory": {"swap": 5}})).unwrap();
    let found = CgroupPlan::compile_all(&unified(), Some("/.."), "web", &resources).unwrap_err();
    assert_eq!(found.len(), 2);
}

#[test]
fn what_is_needed_is_told_from_what_is_wished() {
    let resources = read(&json!({"memory": {"limit": 5, "swap": 9}, "pids": {"limit": 5}})).unwrap();
    let plan = CgroupPlan::compile_all(&unified(), None, "web", &resources).unwrap();
    assert_eq!(plan.needed(), ["pids", "memory"]);
    assert_eq!(plan.accounting.len(), 8);
    let plan =
        CgroupPlan::compile_all(&unified(), Some("/engine/web"), "web", &Resources::default()).unwrap();
    assert_eq!((plan.needed().len(), plan.accounting.len()), (0, 8));
    let plan = CgroupPlan::compile_all(&hybrid(), Some("/engine/web"), "web", &resources).unwrap();
    assert_eq!((plan.needed().len(), plan.accounting.len()), (0, 0));
}

#[test]
fn device_lines_go_to_v1_only() {
    let line = || [("devices.deny".to_owned(), "a".to_owned())];
    let compile = |view: &View| plan(view, &json!({})).unwrap().with_device_lines(line()).devices.len();
    assert_eq!((compile(&legacy()), compile(&hybrid()), compile(&unified())), (1, 1, 0));
}

#[test]
fn an_idle_cgroup_gets_no_weight() {
    let files = |entries: serde_json::Value| {
        let plan = plan(&unified(), &json!({"unified": entries})).unwrap();
        plan.writes.iter().map(|write| write.file.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(files(json!({"cpu.idle": "1", "cpu.weight": "8"})), ["cpu.idle"]);
    assert_eq!(files(json!({"cpu.idle": "0", "cpu.weight": "8"})), ["cpu.idle", "cpu.weight"]);
}
