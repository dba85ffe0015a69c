//! `sockeye-engine PATH`: the engine in a process of its own, see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    sockeye_port::run(std::env::args_os().skip(1))
}
