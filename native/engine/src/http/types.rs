//! Content types by the ending of a name.

/// What a browser has to know to show or run a file, or to give it to a program. What is not here is a download.
const TYPES: [(&str, &str); 68] = [
    ("aac", "audio/aac"),
    ("apng", "image/apng"),
    ("avi", "video/x-msvideo"),
    ("avif", "image/avif"),
    ("bmp", "image/bmp"),
    ("css", "text/css; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("doc", "application/msword"),
    (
        "docx",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ),
    ("epub", "application/epub+zip"),
    ("flac", "audio/flac"),
    ("gif", "image/gif"),
    ("glb", "model/gltf-binary"),
    ("gz", "application/gzip"),
    ("heic", "image/heic"),
    ("htm", "text/html; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("ico", "image/x-icon"),
    ("ics", "text/calendar; charset=utf-8"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("jsonld", "application/ld+json"),
    ("jxl", "image/jxl"),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("m4a", "audio/mp4"),
    ("m4s", "video/iso.segment"),
    ("m4v", "video/mp4"),
    ("map", "application/json"),
    ("md", "text/markdown; charset=utf-8"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("mkv", "video/x-matroska"),
    ("mov", "video/quicktime"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("mpd", "application/dash+xml"),
    ("odp", "application/vnd.oasis.opendocument.presentation"),
    ("ods", "application/vnd.oasis.opendocument.spreadsheet"),
    ("odt", "application/vnd.oasis.opendocument.text"),
    ("oga", "audio/ogg"),
    ("ogg", "audio/ogg"),
    ("ogv", "video/ogg"),
    ("opus", "audio/ogg"),
    ("otf", "font/otf"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("ppt", "application/vnd.ms-powerpoint"),
    (
        "pptx",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ),
    ("rtf", "application/rtf"),
    ("svg", "image/svg+xml"),
    ("tar", "application/x-tar"),
    ("ts", "video/mp2t"),
    ("ttf", "font/ttf"),
    ("txt", "text/plain; charset=utf-8"),
    ("vtt", "text/vtt; charset=utf-8"),
    ("wasm", "application/wasm"),
    ("wav", "audio/wav"),
    ("weba", "audio/webm"),
    ("webm", "video/webm"),
    ("webmanifest", "application/manifest+json"),
    ("webp", "image/webp"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("xls", "application/vnd.ms-excel"),
    (
        "xlsx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ),
    ("xml", "text/xml; charset=utf-8"),
    ("zip", "application/zip"),
];

/// The content type of a file of this name, if its ending is known.
pub(super) fn of(name: &str) -> Option<&'static str> {
    let ending = name.rsplit('/').next()?.rsplit_once('.')?.1;
    let known = |(known, _): &&(&str, &str)| known.eq_ignore_ascii_case(ending);
    TYPES.iter().find(known).map(|(_, content)| *content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ending_stands_once_and_in_order() {
        assert!(TYPES.is_sorted_by(|(a, _), (b, _)| a < b));
        let plain = |b: u8| (b' '..=b'~').contains(&b);
        assert!(TYPES.iter().all(|(_, content)| content.bytes().all(plain)));
    }

    #[test]
    fn the_last_ending_counts() {
        assert_eq!(of("a.HTML"), Some("text/html; charset=utf-8"));
        assert_eq!(
            of("/x/jquery.min.js"),
            Some("text/javascript; charset=utf-8")
        );
        assert_eq!(of("a.tar.gz"), Some("application/gzip"));
        assert_eq!(of("live.m3u8"), Some("application/vnd.apple.mpegurl"));
        assert_eq!(of("live-1.ts"), Some("video/mp2t"));
        assert_eq!(of("a.DOC"), Some("application/msword"));
        for name in ["", "html", "a.", "a.unknown", "/a.html/b"] {
            assert_eq!(of(name), None, "{name}");
        }
    }
}
