//! Linker settings of the library that the VM loads.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let os = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    match os.as_str() {
        // The VM provides enif_*: leave them open until it loads us.
        "macos" => {
            println!("cargo:rustc-cdylib-link-arg=-undefined");
            println!("cargo:rustc-cdylib-link-arg=dynamic_lookup");
        }
        "windows" => {}
        // A purge of the module must not unmap code that our threads are running.
        _ => println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete"),
    }
}
