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

use crate::world::task;
use crate::world::time;

/// The file of a directory.
const INDEX: &str = "index.html";

/// A file that is open.
struct OpenFile {
    file: File,
    len: u64,
    modified: Option<SystemTime>,
    /// Tells apart what has the same time and size.
    version: (u64, i128),
    content: &'static str,
}

/// What is at a path.
enum PathKind {
    File(OpenFile),
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
    let path = location.split('?').next().unwrap_or_default();
    let known = types::of(path);
    // Disks make threads wait, and this one has other connections to serve.
    let found = task::spawn_blocking(move || look(&wanted, known)).await;
    match found {
        Ok(Ok(PathKind::File(open))) => serve(open, headers),
        Ok(Ok(PathKind::Directory)) => redirect(location),
        Ok(Ok(PathKind::Nothing)) => {
            super::plain(StatusCode::NOT_FOUND, "There is nothing here.\n")
        }
        Ok(Err(e)) if is_not_there(&e) => {
            super::plain(StatusCode::NOT_FOUND, "There is nothing here.\n")
        }
        Ok(Err(_)) | Err(_) => super::plain(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The file cannot be read.\n",
        ),
    }
}

fn is_not_there(e: &io::Error) -> bool {
    use io::ErrorKind::{InvalidFilename, InvalidInput, NotADirectory, NotFound, PermissionDenied};
    // Links that lead in a circle, for which std has no stable name.
    const LOOP: i32 = if cfg!(any(target_os = "linux", target_os = "android")) {
        40
    } else {
        62
    };
    e.raw_os_error() == Some(LOOP)
        || matches!(
            e.kind(),
            NotFound | PermissionDenied | NotADirectory | InvalidFilename | InvalidInput
        )
}

/// `known` is the content type that the ending of the request's path tells, if it tells one.
fn look(wanted: &Wanted, known: Option<&'static str>) -> io::Result<PathKind> {
    match wanted {
        Wanted::File(path) => {
            let name = path.file_name().map(|name| name.to_string_lossy());
            open(path, known.or_else(|| types::of(&name?)))
        }
        Wanted::Below(_, None) => Ok(PathKind::Directory),
        Wanted::Below(dir, Some(path)) => below(dir, path),
    }
}

fn below(dir: &Path, path: &str) -> io::Result<PathKind> {
    let Some(names) = paths::names(path) else {
        return Ok(PathKind::Nothing);
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
        return Ok(PathKind::Nothing);
    }
    if !wants_directory && fs::metadata(&file)?.is_dir() {
        return Ok(match fs::metadata(file.join(INDEX))?.is_file() {
            true => PathKind::Directory,
            false => PathKind::Nothing,
        });
    }
    // As the name in the path says: a link may lead to any.
    let name = names.last().filter(|name| !name.is_empty());
    open(&file, types::of(name.map_or(INDEX, String::as_str)))
}

fn open(path: &Path, content: Option<&'static str>) -> io::Result<PathKind> {
    // Opening a pipe would wait for who writes to it.
    if !fs::metadata(path)?.is_file() {
        return Ok(PathKind::Nothing);
    }
    let file = File::open(path)?;
    let facts = file.metadata()?;
    if !facts.is_file() {
        return Ok(PathKind::Nothing);
    }
    Ok(PathKind::File(OpenFile {
        len: facts.len(),
        modified: facts.modified().ok(),
        version: version(&facts),
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

/// Another file has another number, and nobody can set the time of the last change of one.
#[cfg(unix)]
fn version(facts: &fs::Metadata) -> (u64, i128) {
    use std::os::unix::fs::MetadataExt;
    let changed = i128::from(facts.ctime()) * 1_000_000_000 + i128::from(facts.ctime_nsec());
    (facts.ino(), changed)
}

#[cfg(not(unix))]
fn version(_: &fs::Metadata) -> (u64, i128) {
    (0, 0)
}

/// Changes whenever the file does, as far as the file system tells.
fn tag(open: &OpenFile) -> Option<String> {
    let (sign, since) = match open.modified?.duration_since(UNIX_EPOCH) {
        Ok(since) => ("", since),
        Err(before) => ("-", before.duration()),
    };
    let (number, changed) = open.version;
    let since = since.as_nanos();
    let tag = format!("\"{sign}{since:x}-{:x}-{number:x}-{changed:x}\"", open.len);
    Some(tag)
}

fn serve(mut open: OpenFile, headers: &HeaderMap) -> Response<Body> {
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
        false => ByteRange::All,
    };
    let range = match wanted {
        ByteRange::All => 0..open.len,
        ByteRange::Some(range) => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let place = format!("bytes {}-{}/{}", range.start, range.end - 1, open.len);
            if let Ok(place) = HeaderValue::try_from(place) {
                response.headers_mut().insert(header::CONTENT_RANGE, place);
            }
            range
        }
        ByteRange::Beyond => {
            let mut response = super::plain(StatusCode::RANGE_NOT_SATISFIABLE, "");
            if let Ok(place) = HeaderValue::try_from(format!("bytes */{}", open.len)) {
                response.headers_mut().insert(header::CONTENT_RANGE, place);
            }
            return response;
        }
    };
    // Moving within an open file does not wait for the disk.
    if range.start > 0 && open.file.seek(SeekFrom::Start(range.start)).is_err() {
        return super::failed();
    }
    *response.body_mut() = Body::File(FilePart::new(open.file, range.end - range.start));
    response
}

/// The value of a field that is no list. Several lines are none.
fn single<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a [u8]> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) => Some(line.as_bytes().trim_ascii()),
        _ => None,
    }
}

/// The lines of a field that is a list count as one (RFC 9110, 5.3).
fn list(headers: &HeaderMap, name: &header::HeaderName) -> Option<Vec<u8>> {
    let lines: Vec<_> = headers.get_all(name).iter().collect();
    let lines = (!lines.is_empty()).then_some(lines)?;
    let lines: Vec<_> = lines.iter().map(|line| line.as_bytes()).collect();
    Some(lines.join(&b", "[..]))
}

/// Whether a list of tags, or a star, which any file meets, names this one.
fn meets(list: &[u8], tag: Option<&str>, weak: bool) -> bool {
    list.trim_ascii() == b"*"
        || tags(list).any(|(is_weak, listed)| {
            (weak || !is_weak) && tag.is_some_and(|tag| tag.as_bytes() == listed)
        })
}

/// The tags of a list, with their quotes, and whether they are weak. They may hold commas, and any
/// byte but a quote; what is no tag is passed over.
fn tags(list: &[u8]) -> impl Iterator<Item = (bool, &[u8])> {
    let mut rest = list;
    std::iter::from_fn(move || {
        loop {
            rest = rest.trim_ascii_start();
            let (is_weak, from) = match rest {
                [] => return None,
                [b'W', b'/', b'"', ..] => (true, 2),
                [b'"', ..] => (false, 0),
                _ => {
                    let comma = rest.iter().position(|&byte| byte == b',')?;
                    rest = rest.get(comma + 1..)?;
                    continue;
                }
            };
            let tag = rest.get(from..)?;
            let end = tag.iter().skip(1).position(|&byte| byte == b'"')? + 2;
            let (tag, behind) = tag.split_at_checked(end)?;
            rest = behind;
            // Only a comma, or nothing, ends an element.
            if matches!(rest.trim_ascii_start(), [] | [b',', ..]) {
                return Some((is_weak, tag));
            }
        }
    })
}

/// Dates of headers have whole seconds.
fn seconds(time: SystemTime) -> Option<u64> {
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

fn date(headers: &HeaderMap, name: &header::HeaderName) -> Option<u64> {
    let text = str::from_utf8(single(headers, name)?).ok()?;
    seconds(httpdate::parse_http_date(text).ok()?)
}

/// RFC 9110, 13.2.2: the answer to a condition that says to send nothing.
fn condition(
    headers: &HeaderMap,
    tag: Option<&str>,
    modified: Option<SystemTime>,
) -> Option<StatusCode> {
    let modified = modified.and_then(seconds);
    if let Some(list) = list(headers, &header::IF_MATCH) {
        if !meets(&list, tag, false) {
            return Some(StatusCode::PRECONDITION_FAILED);
        }
    } else if let Some(date) = date(headers, &header::IF_UNMODIFIED_SINCE)
        && modified.is_some_and(|modified| modified > date)
    {
        return Some(StatusCode::PRECONDITION_FAILED);
    }
    if let Some(list) = list(headers, &header::IF_NONE_MATCH) {
        return meets(&list, tag, true).then_some(StatusCode::NOT_MODIFIED);
    }
    let date = date(headers, &header::IF_MODIFIED_SINCE)?;
    (modified? <= date).then_some(StatusCode::NOT_MODIFIED)
}

/// Whether the parts that the client has are of this file.
fn may_be_part(headers: &HeaderMap, tag: Option<&str>, modified: Option<SystemTime>) -> bool {
    match single(headers, &header::IF_RANGE) {
        None => !headers.contains_key(header::IF_RANGE),
        Some(listed) if listed.starts_with(b"\"") => {
            tag.is_some_and(|tag| tag.as_bytes() == listed)
        }
        Some(_) => match (date(headers, &header::IF_RANGE), modified.and_then(seconds)) {
            // In a second that is not over yet, the file may change again.
            (Some(date), Some(modified)) => {
                let now = seconds(time::system_now());
                date == modified && now.is_some_and(|now| now > modified)
            }
            _ => false,
        },
    }
}

#[derive(Debug, PartialEq, Eq)]
enum ByteRange {
    All,
    Some(Range<u64>),
    Beyond,
}

/// What a header `Range` asks for. One that is malformed, and several at once, ask for all.
fn part(headers: &HeaderMap, len: u64) -> ByteRange {
    let mut ranges = headers.get_all(header::RANGE).iter();
    let (Some(range), None) = (ranges.next(), ranges.next()) else {
        return ByteRange::All;
    };
    let range = range.to_str().ok().and_then(|text| text.split_once('='));
    match range {
        Some((unit, range)) if unit.trim().eq_ignore_ascii_case("bytes") => one(range.trim(), len),
        _ => ByteRange::All,
    }
}

fn one(range: &str, len: u64) -> ByteRange {
    let number = |digits: &str| -> Option<u64> {
        let valid = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        // More than can be counted is beyond any file.
        valid.then(|| digits.parse().unwrap_or(u64::MAX))
    };
    let Some((first, last)) = range.split_once('-') else {
        return ByteRange::All;
    };
    match (number(first), number(last)) {
        (None, Some(0)) if first.is_empty() => ByteRange::Beyond,
        (None, Some(n)) if first.is_empty() && len > 0 => {
            ByteRange::Some(len.saturating_sub(n)..len)
        }
        (None, Some(_)) if first.is_empty() => ByteRange::Beyond,
        (Some(first), Some(last)) if last < first => ByteRange::All,
        (Some(first), Some(last)) if first < len => {
            ByteRange::Some(first..last.saturating_add(1).min(len))
        }
        (Some(first), None) if last.is_empty() && first < len => ByteRange::Some(first..len),
        (Some(_), Some(_)) => ByteRange::Beyond,
        (Some(_), None) if last.is_empty() => ByteRange::Beyond,
        _ => ByteRange::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_within_and_beyond() {
        for (range, found) in [
            ("0-0", ByteRange::Some(0..1)),
            ("0-9", ByteRange::Some(0..10)),
            ("0-10", ByteRange::Some(0..10)),
            ("9-9", ByteRange::Some(9..10)),
            ("9-", ByteRange::Some(9..10)),
            ("10-", ByteRange::Beyond),
            ("10-11", ByteRange::Beyond),
            ("-1", ByteRange::Some(9..10)),
            ("-10", ByteRange::Some(0..10)),
            ("-11", ByteRange::Some(0..10)),
            ("-0", ByteRange::Beyond),
            ("5-4", ByteRange::All),
            ("0-99999999999999999999999", ByteRange::Some(0..10)),
            ("99999999999999999999999-", ByteRange::Beyond),
            ("", ByteRange::All),
            ("-", ByteRange::All),
            ("1", ByteRange::All),
            ("a-b", ByteRange::All),
            ("1-x", ByteRange::All),
            ("0-1,3-4", ByteRange::All),
            ("+1-2", ByteRange::All),
            ("--1", ByteRange::All),
        ] {
            assert_eq!(one(range, 10), found, "{range}");
        }
        assert_eq!(one("-5", 0), ByteRange::Beyond);
        assert_eq!(one("0-", 0), ByteRange::Beyond);
    }

    #[test]
    fn tags_are_compared_as_asked() {
        let tag = Some("\"a\"");
        let meets = |list: &[u8], weak| meets(list, tag, weak);
        assert!(meets(b"\"b\", \"a\"", false) && meets(b"*", false) && meets(b" * ", true));
        assert!(meets(b"W/\"a\"", true) && !meets(b"W/\"a\"", false));
        for list in [
            &b"\"b\""[..],
            b"",
            b"a",
            b"\"a",
            b"\"b, \"a\" x",
            b"w/\"a\"",
            b"W/W/\"a\"",
            b"\"x,\"a\",\"",
        ] {
            assert!(!meets(list, true), "{}", String::from_utf8_lossy(list));
        }
        for list in [
            &b"\"\xff\",\"a\""[..],
            b"\"x,y\", W/\"a\"",
            b",,\"a\",",
            b"junk, \"a\"",
            b"\"\" , \"a\"\t",
        ] {
            assert!(meets(list, true), "{}", String::from_utf8_lossy(list));
        }
    }

    #[test]
    fn lines_of_a_field() {
        let mut headers = HeaderMap::new();
        for line in ["\"b\"", "\"a\""] {
            headers.append(header::IF_NONE_MATCH, HeaderValue::from_static(line));
        }
        let found = condition(&headers, Some("\"a\""), None);
        assert_eq!(found, Some(StatusCode::NOT_MODIFIED));
        headers.clear();
        let date = HeaderValue::from_static("Thu, 01 Jan 1970 00:00:10 GMT");
        headers.append(header::IF_MODIFIED_SINCE, date.clone());
        let then = UNIX_EPOCH.checked_add(std::time::Duration::from_secs(5));
        assert_eq!(
            condition(&headers, None, then),
            Some(StatusCode::NOT_MODIFIED)
        );
        headers.append(header::IF_MODIFIED_SINCE, date);
        assert_eq!(condition(&headers, None, then), None, "two are none");
    }

    #[test]
    fn a_part_wants_a_strong_validator() {
        let may = |value: &[u8], tag, modified| {
            let mut headers = HeaderMap::new();
            headers.append(header::IF_RANGE, HeaderValue::from_bytes(value).unwrap());
            may_be_part(&headers, Some(tag), Some(modified))
        };
        let then = UNIX_EPOCH + std::time::Duration::from_secs(10);
        assert!(may(b"\"a\"", "\"a\"", then) && !may(b"\"b\"", "\"a\"", then));
        assert!(!may(b"W/\"a\"", "\"a\"", then) && !may(b"\"\xff\"", "\"a\"", then));
        assert!(may(b"Thu, 01 Jan 1970 00:00:10 GMT", "\"a\"", then));
        assert!(!may(b"Thu, 01 Jan 1970 00:00:11 GMT", "\"a\"", then));
        // As late as a header can say: a second of which nothing is known yet.
        let late = UNIX_EPOCH + std::time::Duration::from_secs(253_402_300_799);
        assert!(!may(b"Fri, 31 Dec 9999 23:59:59 GMT", "\"a\"", late));
    }
}
