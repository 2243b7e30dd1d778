//! Compiles `proto/basalt/*.proto` with protox, so that no `protoc` is needed on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "proto/basalt/meta.proto",
        "proto/basalt/errors.proto",
        "proto/basalt/kv.proto",
        "proto/basalt/raft.proto",
        "proto/basalt/pd.proto",
        "proto/basalt/coprocessor.proto",
        "proto/basalt/schema.proto",
        "proto/basalt/sql.proto",
    ];
    #[expect(clippy::disallowed_macros, reason = "build scripts talk to cargo on standard output")]
    {
        println!("cargo:rerun-if-changed=proto");
    }
    let descriptors = protox::compile(files, ["proto"])?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
