//! What is compiled for the simulation or for loom alone (`#[cfg(sim)]`, `#[cfg(any(sim, loom))]`): the crate's own tests cannot reach it, so no change to it is asked.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::list::Mutant;

/// Leaves out the changes to such items.
pub fn leave_out(sources: &HashMap<String, String>, mutants: &mut Vec<Mutant>) {
    let mut ranges = HashMap::<&str, Vec<Range<usize>>>::new();
    let mut files = Vec::new();
    for (path, source) in sources {
        let Ok(tree) = syn::parse_file(source) else {
            continue;
        };
        let mut items = Items::default();
        items.visit_file(&tree);
        let folder = folder_of(path);
        files.extend(items.modules.iter().map(|name| format!("{folder}/{name}")));
        ranges.insert(path, items.ranges);
    }
    mutants.retain(|mutant| {
        let of_file = ranges.get(mutant.file.as_str());
        let is_inside = of_file.is_some_and(|ranges| {
            ranges
                .iter()
                .any(|range| range.contains(&mutant.range.start))
        });
        let in_module = files.iter().any(|file| {
            let rest = mutant.file.strip_prefix(file.as_str());
            rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        });
        !is_inside && !in_module
    });
}

/// Where the modules are that a file declares.
fn folder_of(path: &str) -> String {
    let path = Path::new(path);
    let parent = path.parent().unwrap_or(Path::new(""));
    let folder = match path.file_name().and_then(|name| name.to_str()) {
        Some("mod.rs" | "lib.rs" | "main.rs") => parent.to_path_buf(),
        _ => path.with_extension(""),
    };
    folder.to_string_lossy().into_owned()
}

#[derive(Default)]
struct Items {
    ranges: Vec<Range<usize>>,
    /// Names of modules in files of their own.
    modules: Vec<String>,
}

impl Items {
    fn look(&mut self, attributes: &[syn::Attribute], item: &impl Spanned) {
        if is_simulated(attributes) {
            self.ranges.push(item.span().byte_range());
        }
    }
}

/// Whether one of these says `cfg(sim)`, or `cfg(any(sim, loom))`.
fn is_simulated(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let cfg = attribute.path().is_ident("cfg");
        let words = attribute.parse_args::<proc_macro2::TokenStream>();
        let words = words.map(|words| words.to_string()).unwrap_or_default();
        let mut names = words
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .filter(|name| !name.is_empty());
        cfg && !words.is_empty() && names.all(|name| ["any", "sim", "loom"].contains(&name))
    })
}

impl<'ast> Visit<'ast> for Items {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.look(&item.attrs, item);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.look(&item.attrs, item);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        self.look(&item.attrs, item);
        visit::visit_item_impl(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.look(&item.attrs, item);
        if is_simulated(&item.attrs) && item.content.is_none() {
            self.modules.push(item.ident.to_string());
        }
        visit::visit_item_mod(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mutant(file: &str, start: usize) -> Mutant {
        Mutant {
            name: String::new(),
            place: format!("{file}:{start}"),
            file: file.into(),
            genre: "FnValue".into(),
            range: start..start + 1,
            replacement: String::new(),
        }
    }

    #[test]
    fn only_what_is_simulated_is_left_out() {
        let root = "#[cfg(sim)]\nmod census;\nmod other;\nfn f() { 1; }\n#[cfg(any(sim, loom))]\nfn g() { 2; }\n#[cfg(any(sim, test))]\nfn h() { 3; }\n";
        let sources = HashMap::from([("src/mod.rs".to_string(), root.to_string())]);
        let at = |text: &str| root.find(text).unwrap_or_default();
        let mut mutants = vec![
            mutant("src/mod.rs", at("1;")),
            mutant("src/mod.rs", at("2;")),
            mutant("src/mod.rs", at("3;")),
            mutant("src/census.rs", 0),
            mutant("src/census/of.rs", 0),
            mutant("src/census2.rs", 0),
            mutant("src/other.rs", 0),
        ];
        leave_out(&sources, &mut mutants);
        let left: Vec<_> = mutants.iter().map(|mutant| mutant.place.as_str()).collect();
        let (one, three) = (at("1;"), at("3;"));
        assert_eq!(
            left,
            [
                format!("src/mod.rs:{one}"),
                format!("src/mod.rs:{three}"),
                "src/census2.rs:0".into(),
                "src/other.rs:0".into()
            ]
        );
    }
}
