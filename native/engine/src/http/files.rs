//! Files as answers: what is where, whether the client has it already, and which part it wants.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};

use super::body::{Body, FilePart};
use super::{paths, types};

/// The file of a directory.
const INDEX: &str = "index.html";

/// A file that is open.
struct Open {
    file: File,
    len: u64,
    modified: Option<SystemTime>,
    content: &'static str,
}

/// What is at a path.
enum Found {
    File(Open),
    /// A directory, whose path must end in a slash for the links on its pages to work.
    Directory,
    Nothing,
}

/// What a request asks of files.
pub(super) enum Wanted {
    /// This one.
    File(PathBuf),
    /// The one that this path leads to, below the directory. None stands for the directory
    /// without its slash.
    Below(PathBuf, Option<String>),
}

/// Answers with a file: 200, 206, 304, 404, 412 or 416, or 301 to a directory's slash. `location`
/// is the path and query of the request.
pub(super) async fn answer(wanted: Wanted, headers: &HeaderMap, location: &str) -> Response<Body> {
    // Disks make threads wait, and this one has other connections to serve.
    let found = tokio::task::spawn_blocking(move || look(&wanted)).await;
    match found {
        Ok(Ok(Found::File(open))) => serve(open, headers),
        Ok(Ok(Found::Directory)) => redirect(location),
        Ok(Ok(Found::Nothing)) => super::plain(StatusCode::NOT_FOUND, "There is nothing here.\n"),
        Ok(Err(e)) if is_not_there(&e) => {
            super::plain(StatusCode::NOT_FOUND, "There is nothing here.\n")
        }
        Ok(Err(_)) | Err(_) => super::plain(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The file can not be read.\n",
        ),
    }
}

fn is_not_there(e: &io::Error) -> bool {
    use io::ErrorKind::{InvalidFilename, InvalidInput, NotADirectory, NotFound, PermissionDenied};
    matches!(
        e.kind(),
        NotFound | PermissionDenied | NotADirectory | InvalidFilename | InvalidInput
    )
}

fn look(wanted: &Wanted) -> io::Result<Found> {
    match wanted {
        Wanted::File(path) => open(path),
        Wanted::Below(_, None) => Ok(Found::Directory),
        Wanted::Below(dir, Some(path)) => below(dir, path),
    }
}

fn below(dir: &Path, path: &str) -> io::Result<Found> {
    let Some(names) = paths::names(path) else {
        return Ok(Found::Nothing);
    };
    let wants_directory = names.last().is_none_or(String::is_empty);
    let root = fs::canonicalize(dir)?;
    let mut file = root.clone();
    file.extend(names.iter().filter(|name| !name.is_empty()));
    // Links are followed as long as they stay below the directory.
    let mut file = fs::canonicalize(file)?;
    if wants_directory {
        file = fs::canonicalize(file.join(INDEX))?;
    }
    if !file.starts_with(&root) {
        return Ok(Found::Nothing);
    }
    if !wants_directory && fs::metadata(&file)?.is_dir() {
        return Ok(match fs::metadata(file.join(INDEX))?.is_file() {
            true => Found::Directory,
            false => Found::Nothing,
        });
    }
    open(&file)
}

fn open(path: &Path) -> io::Result<Found> {
    // Opening a pipe would wait for who writes to it.
    if !fs::metadata(path)?.is_file() {
        return Ok(Found::Nothing);
    }
    let file = File::open(path)?;
    let facts = file.metadata()?;
    if !facts.is_file() {
        return Ok(Found::Nothing);
    }
    let name = path.file_name().map(|name| name.to_string_lossy());
    let content = name.and_then(|name| types::of(&name));
    Ok(Found::File(Open {
        len: facts.len(),
        modified: facts.modified().ok(),
        content: content.unwrap_or("application/octet-stream"),
        file,
    }))
}

fn redirect(location: &str) -> Response<Body> {
    let (path, query) = match location.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (location, None),
    };
    let mut target = format!("{path}/");
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    let mut response = super::plain(StatusCode::MOVED_PERMANENTLY, "");
    if let Ok(target) = HeaderValue::try_from(target) {
        response.headers_mut().insert(header::LOCATION, target);
    }
    response
}

/// Changes whenever the file does, as far as its time and size tell.
fn tag(open: &Open) -> Option<String> {
    let (sign, since) = match open.modified?.duration_since(UNIX_EPOCH) {
        Ok(since) => ("", since),
        Err(before) => ("-", before.duration()),
    };
    Some(format!("\"{sign}{:x}-{:x}\"", since.as_nanos(), open.len))
}

fn serve(mut open: Open, headers: &HeaderMap) -> Response<Body> {
    let tag = tag(&open);
    let date = open.modified.and_then(super::date);
    let mut response = Response::new(Body::empty());
    {
        let out = response.headers_mut();
        let mut set = |name, value: Option<&str>| {
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
                out.insert(name, value);
            }
        };
        set(header::ETAG, tag.as_deref());
        set(header::LAST_MODIFIED, date.as_deref());
        set(header::ACCEPT_RANGES, Some("bytes"));
    }
    let verdict = condition(headers, tag.as_deref(), open.modified);
    if let Some(status) = verdict {
        *response.status_mut() = status;
        return response;
    }
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(open.content));
    // The type is what we say, not what a browser makes of the bytes.
    out.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    let wanted = match may_be_part(headers, tag.as_deref(), open.modified) {
        true => part(headers, open.len),
        false => Part::All,
    };
    let range = match wanted {
        Part::All => 0..open.len,
        Part::Some(range) => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let place = format!("bytes {}-{}/{}", range.start, range.end - 1, open.len);
            if let Ok(place) = HeaderValue::try_from(place) {
                response.headers_mut().insert(header::CONTENT_RANGE, place);
            }
            range
        }
        Part::Beyond => {
            let mut response = super::plain(StatusCode::RANGE_NOT_SATISFIABLE, "");
            if let Ok(place) = HeaderValue::try_from(format!("bytes */{}", open.len)) {
                response.headers_mut().insert(header::CONTENT_RANGE, place);
            }
            return response;
        }
    };
    // Moving within an open file does not wait for the disk.
    if range.start > 0 && open.file.seek(SeekFrom::Start(range.start)).is_err() {
        return super::plain(StatusCode::INTERNAL_SERVER_ERROR, "");
    }
    *response.body_mut() = Body::File(FilePart::new(open.file, range.end - range.start));
    response
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The tags of a list, or of a star, which any file meets.
fn meets(list: &str, tag: Option<&str>, weak: bool) -> bool {
    list.trim() == "*"
        || list.split(',').map(str::trim).any(|listed| {
            let listed = if weak {
                listed.trim_start_matches("W/")
            } else {
                listed
            };
            Some(listed) == tag
        })
}

/// Dates of headers have whole seconds.
fn seconds(time: SystemTime) -> Option<u64> {
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

fn date(headers: &HeaderMap, name: &header::HeaderName) -> Option<u64> {
    seconds(httpdate::parse_http_date(text(headers, name)?).ok()?)
}

/// RFC 9110, 13.2.2: the answer to a condition that says to send nothing.
fn condition(
    headers: &HeaderMap,
    tag: Option<&str>,
    modified: Option<SystemTime>,
) -> Option<StatusCode> {
    let modified = modified.and_then(seconds);
    if let Some(list) = text(headers, &header::IF_MATCH) {
        if !meets(list, tag, false) {
            return Some(StatusCode::PRECONDITION_FAILED);
        }
    } else if let Some(date) = date(headers, &header::IF_UNMODIFIED_SINCE)
        && modified.is_some_and(|modified| modified > date)
    {
        return Some(StatusCode::PRECONDITION_FAILED);
    }
    if let Some(list) = text(headers, &header::IF_NONE_MATCH) {
        return meets(list, tag, true).then_some(StatusCode::NOT_MODIFIED);
    }
    let date = date(headers, &header::IF_MODIFIED_SINCE)?;
    (modified? <= date).then_some(StatusCode::NOT_MODIFIED)
}

/// Whether the parts that the client has are of this file.
fn may_be_part(headers: &HeaderMap, tag: Option<&str>, modified: Option<SystemTime>) -> bool {
    match text(headers, &header::IF_RANGE) {
        None => !headers.contains_key(header::IF_RANGE),
        Some(text) if text.starts_with('"') => Some(text) == tag,
        Some(_) => match (date(headers, &header::IF_RANGE), modified.and_then(seconds)) {
            (Some(date), Some(modified)) => date == modified,
            _ => false,
        },
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    All,
    Some(Range<u64>),
    Beyond,
}

/// What a header `Range` asks for. One that is malformed, and several at once, ask for all.
fn part(headers: &HeaderMap, len: u64) -> Part {
    let mut ranges = headers.get_all(header::RANGE).iter();
    let (Some(range), None) = (ranges.next(), ranges.next()) else {
        return Part::All;
    };
    let range = range.to_str().ok().and_then(|text| text.split_once('='));
    match range {
        Some((unit, range)) if unit.trim().eq_ignore_ascii_case("bytes") => one(range.trim(), len),
        _ => Part::All,
    }
}

fn one(range: &str, len: u64) -> Part {
    let number = |digits: &str| -> Option<u64> {
        let valid = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        // More than can be counted is beyond any file.
        valid.then(|| digits.parse().unwrap_or(u64::MAX))
    };
    let Some((first, last)) = range.split_once('-') else {
        return Part::All;
    };
    match (number(first), number(last)) {
        (None, Some(0)) if first.is_empty() => Part::Beyond,
        (None, Some(n)) if first.is_empty() && len > 0 => Part::Some(len.saturating_sub(n)..len),
        (None, Some(_)) if first.is_empty() => Part::Beyond,
        (Some(first), Some(last)) if last < first => Part::All,
        (Some(first), Some(last)) if first < len => {
            Part::Some(first..last.saturating_add(1).min(len))
        }
        (Some(first), None) if last.is_empty() && first < len => Part::Some(first..len),
        (Some(_), Some(_)) => Part::Beyond,
        (Some(_), None) if last.is_empty() => Part::Beyond,
        _ => Part::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_within_and_beyond() {
        for (range, found) in [
            ("0-0", Part::Some(0..1)),
            ("0-9", Part::Some(0..10)),
            ("0-10", Part::Some(0..10)),
            ("9-9", Part::Some(9..10)),
            ("9-", Part::Some(9..10)),
            ("10-", Part::Beyond),
            ("10-11", Part::Beyond),
            ("-1", Part::Some(9..10)),
            ("-10", Part::Some(0..10)),
            ("-11", Part::Some(0..10)),
            ("-0", Part::Beyond),
            ("5-4", Part::All),
            ("0-99999999999999999999999", Part::Some(0..10)),
            ("99999999999999999999999-", Part::Beyond),
            ("", Part::All),
            ("-", Part::All),
            ("1", Part::All),
            ("a-b", Part::All),
            ("1-x", Part::All),
            ("0-1,3-4", Part::All),
            ("+1-2", Part::All),
            ("--1", Part::All),
        ] {
            assert_eq!(one(range, 10), found, "{range}");
        }
        assert_eq!(one("-5", 0), Part::Beyond);
        assert_eq!(one("0-", 0), Part::Beyond);
    }

    #[test]
    fn tags_are_compared_as_asked() {
        let tag = Some("\"a\"");
        assert!(meets("\"b\", \"a\"", tag, false) && meets("*", tag, false));
        assert!(meets("W/\"a\"", tag, true) && !meets("W/\"a\"", tag, false));
        assert!(!meets("\"b\"", tag, true) && !meets("", tag, true) && !meets("a", tag, true));
    }
}
