//! What must hold for any bytes. Each module has a `check` that panics when it does not hold; cargo-fuzz, the runner on
//! stable Rust and the test that replays the seeds all call it.

pub mod answer;
pub mod deflate;
pub mod etf;
pub mod frames;
pub mod json;
pub mod mutate;
pub mod policy;
pub mod proxy;
pub mod request;
pub mod seeds;
#[path = "../../json/tests/support/mod.rs"]
mod term;
pub mod url;

/// What a fuzzer calls with bytes of its own.
pub type Check = fn(&[u8]);

/// All targets; the names are also those of the folders of their seeds.
pub const TARGETS: [(&str, Check); 9] = [
    ("answer", answer::check),
    ("deflate", deflate::check),
    ("etf", etf::check),
    ("frames", frames::check),
    ("json", json::check),
    ("policy", policy::check),
    ("proxy", proxy::check),
    ("request", request::check),
    ("url", url::check),
];

/// The first bytes of an input choose how it is run; what is missing reads as zero.
pub(crate) struct Choices<'a>(pub(crate) &'a [u8]);

impl Choices<'_> {
    pub(crate) fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }
}
