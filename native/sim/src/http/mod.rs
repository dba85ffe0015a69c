//! Ordinary requests: who asks, over HTTP/1.1 or a stream of HTTP/2, and the processes that answer.

pub(crate) mod answerer;
pub(crate) mod asker;
mod h1;
pub(crate) mod plan;

use std::path::PathBuf;
use std::sync::LazyLock;

use sockeye_simulated_engine::{FileRules, Routes, Target};

use plan::Ask;

/// The content of a file that is asked for.
const FILE: usize = 40_000;
const TEXT: usize = 3_000;

/// What is answered to ordinary requests.
pub(crate) fn routes() -> Routes {
    let routes = vec![
        ("/text".to_owned(), Target::Text(text())),
        (
            "/file".to_owned(),
            Target::File(file().into(), FileRules::default()),
        ),
        ("/ask/*".to_owned(), Target::Ask),
    ];
    Routes::new(routes).unwrap_or_default()
}

/// A text that is asked for.
pub(crate) fn text() -> Vec<u8> {
    content(1, TEXT)
}

/// A file with what belongs into it. All processes that simulate have one.
pub(crate) fn file() -> &'static str {
    static PATH: LazyLock<PathBuf> = LazyLock::new(|| {
        let path = std::env::temp_dir().join("sockeye-sim-file");
        let wanted = content(2, FILE);
        if std::fs::read(&path).is_ok_and(|is| is == wanted) {
            return path;
        }
        // Others may read it meanwhile.
        let own = path.with_extension(std::process::id().to_string());
        let made = std::fs::write(&own, wanted).and_then(|()| std::fs::rename(&own, &path));
        if let Err(e) = made {
            eprintln!("no file {}: {e}", path.display());
        }
        path
    });
    // No temporary folder here has another name.
    PATH.to_str().unwrap_or_default()
}

/// Content that belongs to this number.
pub(crate) fn content(of: u64, len: usize) -> Vec<u8> {
    crate::packer::noise(of, len)
        .map(|sign| sign as u8)
        .collect()
}

impl Ask {
    /// The content of its answer, or of that to the same request with another method.
    pub(crate) fn answer(&self) -> Vec<u8> {
        match self.what {
            plan::What::Text => text(),
            plan::What::File => content(2, FILE),
            plan::What::Ask => content(self.number ^ 0x5A5A, self.answer),
        }
    }

    pub(crate) fn method(&self) -> &'static str {
        match self.body {
            _ if self.is_head => "HEAD",
            0 => "GET",
            _ => "POST",
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
