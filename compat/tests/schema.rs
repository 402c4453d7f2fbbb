//! The code in `properties/generated.rs`, with which the properties read and write protobuf a second
//! time, is what prost makes of `proto/pull.proto`. After a change of the schema:
//!
//! ```sh
//! REGENERATE=1 cargo test -p pullgate-compat --test schema
//! ```

use std::path::Path;
use std::{env, fs};

#[test]
fn generated_code_is_of_the_schema() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let schema = protox::compile(["pull.proto"], [root.join("proto")]).unwrap();
    let out = Path::new(env!("CARGO_TARGET_TMPDIR"));
    prost_build::Config::new()
        .out_dir(out)
        .compile_fds(schema)
        .unwrap();
    let generated = fs::read_to_string(out.join("_.rs")).unwrap();

    let checked_in = root.join("tests/properties/generated.rs");
    if env::var_os("REGENERATE").is_some() {
        fs::write(&checked_in, &generated).unwrap();
    }
    assert!(
        fs::read_to_string(&checked_in).unwrap() == generated,
        "regenerate {}",
        checked_in.display()
    );
}
