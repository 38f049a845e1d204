use crate::host::Host;
use crate::plan::{CreateOptions, LaunchPlan};
use crate::spec::{ValidSpec, default_spec};

#[test]
fn the_default_configuration_compiles() {
    let spec = serde_json::to_vec(&default_spec(None, true).unwrap()).unwrap();
    let spec = ValidSpec::parse(&spec).unwrap();
    let plan = LaunchPlan::create(&spec, &Host::for_tests(), &CreateOptions::new("c1", "/bundle")).unwrap();
    println!("{plan}");
}
