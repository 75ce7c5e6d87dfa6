//! The object that is compiled in logs nothing, and has nothing to log with, unless it is asked to by
//! the feature `debug`.
#![forbid(unsafe_code)]

use std::fs;

/// The ring of the logging library, in the object's table of symbols too.
const RING: &str = "AYA_LOGS";

#[test]
fn a_ring_for_records_is_in_debug_builds_alone() {
    let bytes = fs::read(env!("GATEWAY_OBJECT")).expect("the build script left an object");
    let object = aya_obj::Object::parse(&bytes).expect("an object");
    assert!(object.maps.contains_key("flows4"), "maps are found by their names");
    assert_eq!(object.maps.contains_key(RING), cfg!(feature = "debug"));
    let trace = b"AYA_LOG";
    let traced = bytes.windows(trace.len()).any(|window| window == trace);
    assert_eq!(traced, cfg!(feature = "debug"), "symbols of the logging library");
}
