//! `sockeye-engine PATH`: the engine in a process of its own, see the library.

use std::process::ExitCode;

use sockeye_seam::dense::Dense;

#[global_allocator]
static ALLOCATOR: Dense = Dense::new();

fn main() -> ExitCode {
    sockeye_port::run(std::env::args_os().skip(1))
}
