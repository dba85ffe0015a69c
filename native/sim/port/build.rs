//! What makes the sources use the simulated world.

fn main() {
    println!("cargo:rustc-cfg=sim");
    println!("cargo:rerun-if-changed=build.rs");
}
