//! Answers of HTTP/1.1, read by hand.

/// Where the content of an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    After(usize),
    /// In chunks, of which so much is left of this one.
    Chunk(usize),
    Trailers,
    WithConnection,
    Done,
}

/// An answer that is being read.
pub(super) struct Answer {
    pub(super) status: u16,
    /// The connection is good for another request.
    pub(super) goes_on: bool,
    /// What it promises to be long.
    pub(super) length: Option<usize>,
    ends: Ends,
}

impl Answer {
    /// Takes a head off these bytes, if they have it all.
    pub(super) fn head(bytes: &mut Vec<u8>, is_head: bool) -> Option<Result<Self, String>> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
        bytes.drain(..end + 4);
        Some(Answer::parse(&text, is_head).ok_or(text))
    }

    fn parse(text: &str, is_head: bool) -> Option<Self> {
        let mut lines = text.split("\r\n");
        let status = lines
            .next()?
            .strip_prefix("HTTP/1.1 ")?
            .get(..3)?
            .parse()
            .ok()?;
        let (mut goes_on, mut length, mut ends) = (true, None, Ends::WithConnection);
        for line in lines {
            let (name, value) = line.split_once(": ")?;
            match (name.to_ascii_lowercase().as_str(), value) {
                ("connection", value) => goes_on = !value.contains("close"),
                ("content-length", value) => {
                    let len = value.parse().ok()?;
                    (length, ends) = (Some(len), Ends::After(len));
                }
                ("transfer-encoding", "chunked") => ends = Ends::Chunk(0),
                _ => {}
            }
        }
        if is_head || ends == Ends::After(0) {
            ends = Ends::Done;
        }
        Some(Answer {
            status,
            goes_on,
            length,
            ends,
        })
    }

    pub(super) fn is_done(&self) -> bool {
        self.ends == Ends::Done
    }

    /// No more comes. Whether that is its end.
    pub(super) fn close(&self) -> bool {
        matches!(self.ends, Ends::Done | Ends::WithConnection)
    }

    /// Takes content off these bytes.
    pub(super) fn content(
        &mut self,
        bytes: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        loop {
            match self.ends {
                Ends::WithConnection => {
                    out.append(bytes);
                    return Ok(());
                }
                Ends::After(left) => {
                    let len = left.min(bytes.len());
                    out.extend(bytes.drain(..len));
                    self.ends = if len == left {
                        Ends::Done
                    } else {
                        Ends::After(left - len)
                    };
                    return Ok(());
                }
                Ends::Chunk(left @ 1..) => {
                    // With the line's end behind it.
                    if bytes.len() < 2 && left <= 2 {
                        return Ok(());
                    }
                    let len = left.saturating_sub(2).min(bytes.len());
                    out.extend(bytes.drain(..len));
                    self.ends = Ends::Chunk(left - len);
                    if left - len > 2 {
                        return Ok(());
                    }
                    if bytes.len() < 2 {
                        return Ok(());
                    }
                    if !bytes.starts_with(b"\r\n") {
                        return Err("a chunk is longer than it said");
                    }
                    bytes.drain(..2);
                    self.ends = Ends::Chunk(0);
                }
                Ends::Chunk(0) => {
                    let Some(line) = line(bytes) else {
                        return Ok(());
                    };
                    let size =
                        usize::from_str_radix(&line, 16).map_err(|_| "no size of a chunk")?;
                    self.ends = if size == 0 {
                        Ends::Trailers
                    } else {
                        Ends::Chunk(size + 2)
                    };
                }
                Ends::Trailers => match line(bytes) {
                    Some(line) if line.is_empty() => self.ends = Ends::Done,
                    Some(_) => {}
                    None => return Ok(()),
                },
                Ends::Done => return Ok(()),
            }
        }
    }
}

fn line(bytes: &mut Vec<u8>) -> Option<String> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    let line = String::from_utf8_lossy(&bytes[..end]).into_owned();
    bytes.drain(..end + 2);
    Some(line)
}
