//! The paths in a text of Rust, in `use` items, code and macros, as far as modules of the crate are named.

use proc_macro2::{TokenStream, TokenTree};

/// What a path leads to from this module: a module at the root of the crate, or a star for the root itself.
fn follow(tokens: &[TokenTree], mut here: Vec<String>, begun: bool) -> Vec<String> {
    let Some((first, rest)) = tokens.split_first() else {
        return Vec::new();
    };
    let name = first.to_string();
    match first {
        TokenTree::Group(group) if begun => {
            let items: Vec<_> = group.stream().into_iter().collect();
            let items = items.split(|token| token.to_string() == ",");
            return items
                .flat_map(|item| follow(item, here.clone(), true))
                .collect();
        }
        _ if name == "crate" => here.clear(),
        _ if name == "super" => drop(here.pop()),
        _ if name == "self" => {}
        _ => return Vec::from_iter(begun.then(|| here.into_iter().next().unwrap_or(name))),
    }
    match rest {
        [a, b, rest @ ..] if a.to_string() == ":" && b.to_string() == ":" => {
            follow(rest, here, true)
        }
        [word, ..] if word.to_string() == "as" => {
            vec![here.into_iter().next().unwrap_or("*".into())]
        }
        _ => Vec::new(),
    }
}

/// What all paths in these tokens lead to, which stand in this module.
pub(crate) fn names(tokens: TokenStream, module: &[String]) -> Vec<String> {
    let tokens: Vec<_> = tokens.into_iter().collect();
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        found.extend(follow(&tokens[at..], module.to_vec(), false));
        if let TokenTree::Group(group) = token {
            let inline = at > 1 && tokens[at - 2].to_string() == "mod";
            let module = [
                module,
                &Vec::from_iter(inline.then(|| tokens[at - 1].to_string())),
            ]
            .concat();
            found.extend(names(group.stream(), &module));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::{files, up};

    /// What a file of the module `low::file` uses that stands above it.
    fn found(text: &str) -> String {
        let module = ["low".to_owned(), "file".to_owned()];
        up(text, &module, "low high").join(" ")
    }

    #[test]
    fn every_arrow_that_goes_up_is_seen() {
        for text in [
            "use crate::high::X;",
            "use crate::{low::Y, high};",
            "use crate::{low::{a, b::{c, d}}, high::X};",
            "use {std::fs, crate::{low, high::{X, Y}}};",
            "use super::super::high::X;",
            "use super::{super::high::X};",
            "use self::super::super::high::X;",
            "pub(crate) use crate::{self as root, high};",
            "fn f(x: crate::high::X, y: super::Y) {}",
            "fn f() { g::<super::super::high::X>() }",
            "fn f() { let x = &[println!(\"{}\", crate::high::X)]; }",
            "mod tests { mod inner { use super::super::super::super::high::X; } }",
        ] {
            assert!(found(text).contains("high"), "{text}");
        }
        for text in [
            "use crate::*;",
            "use crate::{low, *};",
            "use super::super::*;",
            "use crate as root;",
            "use super::super as root;",
            "use crate::{self as root};",
        ] {
            assert_eq!(found(text), "*", "{text}");
        }
        assert_eq!(found("use crate::unknown::X;"), "unknown");
    }

    #[test]
    fn nothing_else_is() {
        for text in [
            "use super::*; use super::high::X; use self::high::X; use crate::low::high::X;",
            "use std::high::X; use other::{self, high}; use high::crate_::X;",
            "pub(super) struct X(pub(crate) u8); pub(in crate::low) struct Y;",
            "mod high { use super::X; use super::super::Y; }",
            "impl X { fn f(self: high::Y) -> Self { self.high::<crate::low::Z>() } }",
            "/// [`crate::high`]\nfn f() { g(\"crate::high\", 'c') } // crate::high::X\n/* crate::high */",
        ] {
            assert_eq!(found(text), "", "{text}");
        }
    }

    #[test]
    fn a_file_beside_a_folder_of_its_name_is_read_like_the_folder() {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let all = files(&src);
        for name in [
            "net/tls.rs",
            "net/tls/validity.rs",
            "lib.rs",
            "shard/conn/mod.rs",
        ] {
            assert!(all.contains(&src.join(name)), "{name}");
        }
    }
}
