//! What is served to ordinary requests, and how a request names the response that it wants.

use std::path::PathBuf;
use std::sync::LazyLock;

use super::content::body;
use crate::plan::requests::{RequestPlan, RequestTarget};

const FILE_SIZE: usize = 40_000;
const TEXT_SIZE: usize = 3_000;

/// The response of the route `/text`.
pub(crate) fn text() -> Vec<u8> {
    body(1, TEXT_SIZE)
}

fn file_content() -> Vec<u8> {
    body(2, FILE_SIZE)
}

/// The file of the route `/file`. All simulations of a machine share it.
pub(crate) fn file() -> &'static str {
    static PATH: LazyLock<PathBuf> = LazyLock::new(|| {
        let path = std::env::temp_dir().join("sockeye-sim-file");
        let wanted = file_content();
        if std::fs::read(&path).is_ok_and(|is| is == wanted) {
            return path;
        }
        // Another simulation may read it meanwhile.
        let own = path.with_extension(std::process::id().to_string());
        let made = std::fs::write(&own, wanted).and_then(|()| std::fs::rename(&own, &path));
        if let Err(e) = made {
            eprintln!("no file {}: {e}", path.display());
        }
        path
    });
    PATH.to_str().unwrap_or_default()
}

impl RequestPlan {
    /// The content of the response, which HEAD leaves out.
    pub(crate) fn response_content(&self) -> Vec<u8> {
        match self.target {
            RequestTarget::Text => text(),
            RequestTarget::File => file_content(),
            RequestTarget::Process => body(self.number ^ 0x5A5A, self.answer),
        }
    }

    pub(crate) fn method(&self) -> &'static str {
        match self.body {
            _ if self.is_head => "HEAD",
            0 => "GET",
            _ => "POST",
        }
    }

    /// The body of the request.
    pub(crate) fn request_body(&self) -> Vec<u8> {
        body(self.number, self.body)
    }

    /// The path, with all that the process which answers has to know.
    pub(crate) fn path(&self) -> String {
        match self.target {
            RequestTarget::Text => "/text".into(),
            RequestTarget::File => "/file".into(),
            RequestTarget::Process => {
                let RequestPlan {
                    number,
                    body,
                    answer,
                    pieces,
                    breaks,
                    ..
                } = self;
                let breaks = u8::from(*breaks);
                format!("/ask/{number}/{body}/{answer}/{pieces}/{breaks}")
            }
        }
    }

    /// The request of such a path.
    pub(crate) fn from_path(path: &str) -> Option<Self> {
        let mut numbers = path
            .strip_prefix("/ask/")?
            .split('/')
            .map(|n| n.parse::<u64>());
        let mut next = || numbers.next()?.ok();
        Some(RequestPlan {
            target: RequestTarget::Process,
            number: next()?,
            body: next()? as usize,
            answer: next()? as usize,
            pieces: next()? as usize,
            breaks: next()? == 1,
            ..RequestPlan::default()
        })
    }
}
