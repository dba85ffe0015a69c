//! Parses responses of HTTP/1.1.

/// Where the content of a response ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// After so many bytes.
    After(usize),
    /// After chunks. So much is left of this one, its line end included.
    Chunk(usize),
    Trailers,
    /// At the end of the connection.
    WithConnection,
    Done,
}

/// The head of a response, and how much of its content is left.
pub(super) struct Head {
    pub(super) status: u16,
    /// The connection may be used again.
    pub(super) keeps_alive: bool,
    /// The length that it states.
    pub(super) length: Option<usize>,
    rest: Rest,
}

impl Head {
    /// Takes a head off these bytes, if they have it all.
    pub(super) fn parse(bytes: &mut Vec<u8>, is_head: bool) -> Option<Result<Self, String>> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
        bytes.drain(..end + 4);
        Some(Head::parse_text(&text, is_head).ok_or(text))
    }

    fn parse_text(text: &str, is_head: bool) -> Option<Self> {
        let mut lines = text.split("\r\n");
        let status = lines
            .next()?
            .strip_prefix("HTTP/1.1 ")?
            .get(..3)?
            .parse()
            .ok()?;
        let (mut keeps_alive, mut length, mut rest) = (true, None, Rest::WithConnection);
        for line in lines {
            let (name, value) = line.split_once(": ")?;
            match (name.to_ascii_lowercase().as_str(), value) {
                ("connection", value) => keeps_alive = !value.contains("close"),
                ("content-length", value) => {
                    let len = value.parse().ok()?;
                    (length, rest) = (Some(len), Rest::After(len));
                }
                ("transfer-encoding", "chunked") => rest = Rest::Chunk(0),
                _ => {}
            }
        }
        if is_head || rest == Rest::After(0) {
            rest = Rest::Done;
        }
        Some(Head {
            status,
            keeps_alive,
            length,
            rest,
        })
    }

    pub(super) fn is_done(&self) -> bool {
        self.rest == Rest::Done
    }

    /// Whether the end of the connection is that of the response.
    pub(super) fn ends_with_connection(&self) -> bool {
        matches!(self.rest, Rest::Done | Rest::WithConnection)
    }

    /// Takes content off these bytes.
    pub(super) fn content(
        &mut self,
        bytes: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        loop {
            match self.rest {
                Rest::WithConnection => {
                    out.append(bytes);
                    return Ok(());
                }
                Rest::After(left) => {
                    let len = left.min(bytes.len());
                    out.extend(bytes.drain(..len));
                    self.rest = if len == left {
                        Rest::Done
                    } else {
                        Rest::After(left - len)
                    };
                    return Ok(());
                }
                Rest::Chunk(left @ 1..) => {
                    // Its line end may not have come.
                    if bytes.len() < 2 && left <= 2 {
                        return Ok(());
                    }
                    let len = left.saturating_sub(2).min(bytes.len());
                    out.extend(bytes.drain(..len));
                    self.rest = Rest::Chunk(left - len);
                    if left - len > 2 {
                        return Ok(());
                    }
                    if bytes.len() < 2 {
                        return Ok(());
                    }
                    if !bytes.starts_with(b"\r\n") {
                        return Err("a chunk is longer than its size");
                    }
                    bytes.drain(..2);
                    self.rest = Rest::Chunk(0);
                }
                Rest::Chunk(0) => {
                    let Some(line) = line(bytes) else {
                        return Ok(());
                    };
                    let size =
                        usize::from_str_radix(&line, 16).map_err(|_| "no size of a chunk")?;
                    self.rest = if size == 0 {
                        Rest::Trailers
                    } else {
                        Rest::Chunk(size + 2)
                    };
                }
                Rest::Trailers => match line(bytes) {
                    Some(line) if line.is_empty() => self.rest = Rest::Done,
                    Some(_) => {}
                    None => return Ok(()),
                },
                Rest::Done => return Ok(()),
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
