//! Responses from files: lookup, conditions, ranges.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};

use super::body::{Body, FilePart};
use super::conditions::{ByteRange, condition, list, may_be_part, part};
use super::encodings::{self, Encoding};
use super::{paths, types};
use crate::settings::routes::FileRules;
use crate::world::task;

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
    /// How its bytes are compressed, if they are.
    encoding: Option<Encoding>,
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
pub(super) async fn answer(
    wanted: Wanted,
    rules: &FileRules,
    headers: &HeaderMap,
    location: &str,
) -> Response<Body> {
    let path = location.split('?').next().unwrap_or_default();
    let known = types::of(path);
    let forms = match rules.precompressed {
        true => {
            list(headers, &header::ACCEPT_ENCODING).map(|accepted| encodings::wanted(&accepted))
        }
        false => None,
    };
    let forms = forms.unwrap_or_default();
    // Disks make threads wait, and this one has other connections to serve.
    let found = task::spawn_blocking(move || look(&wanted, known, &forms)).await;
    match found {
        Ok(Ok(PathKind::File(open))) => serve(open, rules, headers),
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

/// `known` is the content type that the ending of the request's path tells, if it tells one. Of the forms, the first that
/// lies beside the file.
fn look(wanted: &Wanted, known: Option<&'static str>, forms: &[Encoding]) -> io::Result<PathKind> {
    match wanted {
        Wanted::File(path) => {
            let name = path.file_name().map(|name| name.to_string_lossy());
            let content = known.or_else(|| types::of(&name?));
            Ok(match one_of(path, None, content, forms)? {
                Some(open) => PathKind::File(open),
                None => PathKind::Nothing,
            })
        }
        Wanted::Below(_, None) => Ok(PathKind::Directory),
        Wanted::Below(dir, Some(path)) => below(dir, path, forms),
    }
}

fn below(dir: &Path, path: &str, forms: &[Encoding]) -> io::Result<PathKind> {
    let Some(names) = paths::names(path) else {
        return Ok(PathKind::Nothing);
    };
    let wants_directory = names.last().is_none_or(String::is_empty);
    let root = fs::canonicalize(dir)?;
    let mut file = root.clone();
    file.extend(names.iter().filter(|name| !name.is_empty()));
    if wants_directory {
        // The name of a file, and a slash behind it, is none of a directory.
        file = fs::canonicalize(file)?.join(INDEX);
    }
    // As the name in the path says: a link may lead to any.
    let name = names.last().filter(|name| !name.is_empty());
    let content = types::of(name.map_or(INDEX, String::as_str));
    if let Some(open) = one_of(&file, Some(&root), content, forms)? {
        return Ok(PathKind::File(open));
    }
    let Some(dir) = within(&file, Some(&root))? else {
        return Ok(PathKind::Nothing);
    };
    let is_directory = !wants_directory && fs::metadata(dir.join(INDEX))?.is_file();
    Ok(match is_directory {
        true => PathKind::Directory,
        false => PathKind::Nothing,
    })
}

/// Where a path leads. Links are followed as long as they stay below the root.
fn within<'a>(path: &'a Path, root: Option<&Path>) -> io::Result<Option<Cow<'a, Path>>> {
    let Some(root) = root else {
        return Ok(Some(path.into()));
    };
    let found = fs::canonicalize(path)?;
    Ok(found.starts_with(root).then(|| found.into()))
}

/// The file of this path, or the first of its forms that lies beside it.
fn one_of(
    path: &Path,
    root: Option<&Path>,
    content: Option<&'static str>,
    forms: &[Encoding],
) -> io::Result<Option<OpenFile>> {
    let Some(mut itself) = open(path, root, content)? else {
        return Ok(None);
    };
    for form in forms {
        let mut beside = path.as_os_str().to_owned();
        beside.push(form.ending);
        // Whatever is wrong with a form, there is the file itself.
        if let Ok(Some(open)) = open(beside.as_ref(), root, content) {
            itself = open;
            itself.encoding = Some(*form);
            break;
        }
    }
    Ok(Some(itself))
}

fn open(
    path: &Path,
    root: Option<&Path>,
    content: Option<&'static str>,
) -> io::Result<Option<OpenFile>> {
    let Some(path) = within(path, root)? else {
        return Ok(None);
    };
    // Opening a pipe would wait for who writes to it.
    if !fs::metadata(&path)?.is_file() {
        return Ok(None);
    }
    let file = File::open(&path)?;
    let facts = file.metadata()?;
    Ok(facts.is_file().then(|| OpenFile {
        len: facts.len(),
        modified: facts.modified().ok(),
        version: version(&facts),
        content: content.unwrap_or("application/octet-stream"),
        encoding: None,
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
    // Two forms may be one file, by a link.
    let form = open.encoding.map_or("", |form| form.ending);
    let len = open.len;
    let tag = format!("\"{sign}{since:x}-{len:x}-{number:x}-{changed:x}{form}\"");
    Some(tag)
}

fn serve(mut open: OpenFile, rules: &FileRules, headers: &HeaderMap) -> Response<Body> {
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
    let out = response.headers_mut();
    if let Some(value) = &rules.cache_control {
        out.insert(header::CACHE_CONTROL, value.clone());
    }
    // Also of a file that has no other form: it may get one.
    if rules.precompressed {
        out.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    let verdict = condition(headers, tag.as_deref(), open.modified);
    if let Some(status) = verdict {
        *response.status_mut() = status;
        return response;
    }
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(open.content));
    if let Some(form) = open.encoding {
        let name = HeaderValue::from_static(form.name);
        out.insert(header::CONTENT_ENCODING, name);
    }
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
