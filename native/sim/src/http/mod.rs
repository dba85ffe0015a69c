//! Ordinary requests: who asks, over HTTP/1.1 or a stream of HTTP/2, and the processes that answer.

pub(crate) mod answerer;
pub(crate) mod asker;
mod h1;
pub(crate) mod plan;

use sockeye_simulated_engine::{FileRules, Routes, Target};

use plan::Ask;

/// A file that is asked for.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock");
const CONTENT: &[u8] = include_bytes!("../../../../Cargo.lock");
const TEXT: usize = 3_000;

/// What is answered to ordinary requests.
pub(crate) fn routes() -> Routes {
    let routes = vec![
        ("/text".to_owned(), Target::Text(content(1, TEXT))),
        (
            "/file".to_owned(),
            Target::File(FILE.into(), FileRules::default()),
        ),
        ("/ask/*".to_owned(), Target::Ask),
    ];
    Routes::new(routes).unwrap_or_default()
}

/// Content that belongs to this number.
pub(crate) fn content(of: u64, len: usize) -> Vec<u8> {
    crate::packer::noise(of, len)
        .map(|sign| sign as u8)
        .collect()
}

impl Ask {
    /// The content of its answer.
    pub(crate) fn answer(&self) -> Vec<u8> {
        match self.what {
            plan::What::Text => content(1, TEXT),
            plan::What::File => CONTENT.to_vec(),
            plan::What::Ask => content(self.number ^ 0x5A5A, self.answer),
        }
    }

    /// The content of the request.
    pub(crate) fn body(&self) -> Vec<u8> {
        content(self.number, self.body)
    }

    /// All that the process which answers has to know.
    pub(crate) fn path(&self) -> String {
        match self.what {
            plan::What::Text => "/text".into(),
            plan::What::File => "/file".into(),
            plan::What::Ask => {
                let Ask {
                    number,
                    body,
                    answer,
                    pieces,
                    breaks,
                    ..
                } = self;
                format!(
                    "/ask/{number}/{body}/{answer}/{pieces}/{}",
                    u8::from(*breaks)
                )
            }
        }
    }

    /// What the path says.
    pub(crate) fn of_path(path: &str) -> Option<Self> {
        let mut numbers = path
            .strip_prefix("/ask/")?
            .split('/')
            .map(|n| n.parse::<u64>());
        let mut next = || numbers.next()?.ok();
        Some(Ask {
            what: plan::What::Ask,
            number: next()?,
            body: next()? as usize,
            answer: next()? as usize,
            pieces: next()? as usize,
            breaks: next()? == 1,
            ..Ask::default()
        })
    }
}
