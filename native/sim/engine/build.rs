//! What makes the sources of the engine use the simulated world.

fn main() {
    println!("cargo:rustc-cfg=sim");
    println!("cargo:rerun-if-changed=build.rs");
}
