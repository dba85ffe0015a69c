//! Copies of the sources, in which lines are replaced.

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Copies a file, or all that is in a folder, and removes from the copy what is there no more. What is the same keeps its time.
pub(crate) fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(to).unwrap() {
            let entry = entry.unwrap();
            if !from.join(entry.file_name()).exists() {
                let path = entry.path();
                let is_dir = entry.file_type().unwrap().is_dir();
                let remove = if is_dir {
                    fs::remove_dir_all
                } else {
                    fs::remove_file
                };
                remove(path).unwrap();
            }
        }
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else if fs::read(from).ok() != fs::read(to).ok() {
        fs::copy(from, to).unwrap();
    }
}

/// Copies these folders of `native`, and has `members` of them make a workspace.
pub(crate) fn workspace<'a>(
    to: &Path,
    folders: impl IntoIterator<Item = &'a str>,
    members: impl IntoIterator<Item = &'a str>,
) {
    for name in folders {
        let (from, to) = (
            root().join("native").join(name),
            to.join("native").join(name),
        );
        copy(&from, &to);
    }
    let whole = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let rest = whole.split_once("exclude = ").unwrap().1;
    // With the same version, cargo takes what was built of one for what it would build of the other.
    let rest = rest.replacen("\nversion = \"", "\nversion = \"0.0.0-planted.", 1);
    assert!(rest.contains("0.0.0-planted."));
    let members = members.into_iter().map(|name| format!("\"native/{name}\""));
    let members = members.collect::<Vec<_>>().join(", ");
    let head = format!("[workspace]\nresolver = \"3\"\nmembers = [{members}]\nexclude = ");
    fs::write(to.join("Cargo.toml"), format!("{head}{rest}")).unwrap();
    copy(&root().join("Cargo.lock"), &to.join("Cargo.lock"));
}

/// A text with another line in place of the only one that is like this. `FAULT` in it asks the function `is_planted` for that name.
pub(crate) fn planted(text: &str, is_planted: &str, name: &str, line: &str, with: &str) -> String {
    let with = with.replace("FAULT", &format!("{is_planted}(\"{name}\")"));
    let count = text.matches(line).count();
    assert_eq!(count, 1, "{name}: its line is there so often");
    text.replace(line, &with)
}
