//! A file with all its changes in it.

use std::collections::HashSet;
use std::fmt::Write;
use std::ops::Range;

use crate::list::Mutant;
use crate::sites::{Choice, Site};

/// The source, in which each site asks which change is on.
pub fn file(source: &str, sites: &[Site], mutants: &[Mutant], left_out: &HashSet<usize>) -> String {
    let mut order: Vec<&Site> = sites.iter().collect();
    // The outer before the inner, what is put in before what it is put in front of.
    order.sort_by_key(|site| {
        (
            site.range.start,
            !site.range.is_empty(),
            usize::MAX - site.range.end,
        )
    });
    let mut out = String::with_capacity(source.len() * 3);
    let mut page = Page {
        source,
        mutants,
        left_out,
        sites: order,
    };
    page.render(0..source.len(), 0, &mut out);
    out
}

struct Page<'a> {
    source: &'a str,
    mutants: &'a [Mutant],
    left_out: &'a HashSet<usize>,
    sites: Vec<&'a Site>,
}

impl Page<'_> {
    /// Writes these bytes, of which the sites from `next` on may be part; the first site behind them.
    fn render(&mut self, range: Range<usize>, mut next: usize, out: &mut String) -> usize {
        let mut at = range.start;
        while let Some(&site) = self
            .sites
            .get(next)
            .filter(|site| site.range.end <= range.end && site.range.start >= at)
        {
            out.push_str(&self.source[at..site.range.start]);
            at = site.range.end;
            next = self.site(site, next + 1, out);
        }
        out.push_str(&self.source[at..range.end]);
        next
    }

    fn site(&mut self, site: &Site, next: usize, out: &mut String) -> usize {
        let chosen: Vec<usize> = site
            .mutants
            .iter()
            .copied()
            .filter(|index| !self.left_out.contains(index))
            .collect();
        match site.choice {
            Choice::Function => {
                for index in chosen {
                    let _ = write!(
                        out,
                        "/*m{index}{{*/if {} {{ return {}; }}/*m{index}}}*/ ",
                        on(index),
                        one_line(&self.mutants[index].replacement)
                    );
                }
                next
            }
            Choice::Arm => {
                for index in chosen {
                    let _ = write!(out, " /*m{index}{{*/if !{}/*m{index}}}*/", on(index));
                }
                next
            }
            Choice::Expression if chosen.is_empty() => self.render(site.range.clone(), next, out),
            Choice::Expression => {
                out.push('(');
                for index in chosen {
                    let mutant = &self.mutants[index];
                    let before = &self.source[site.range.start..mutant.range.start];
                    let after = &self.source[mutant.range.end..site.range.end];
                    let _ = write!(
                        out,
                        "/*m{index}{{*/if {} {{ ({before} {} {after}) }}/*m{index}}}*/ else ",
                        on(index),
                        one_line(&mutant.replacement)
                    );
                }
                out.push_str("{ (");
                let next = self.render(site.range.clone(), next, out);
                out.push_str(") })");
                next
            }
        }
    }
}

fn on(index: usize) -> String {
    format!("crate::mutants::on({index})")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The innermost change whose text has this byte of what [`file`] made.
pub fn change_at(rendered: &str, at: usize) -> Option<usize> {
    let mut open: Vec<usize> = Vec::new();
    let mut from = 0;
    while let Some(found) = rendered[from..at.min(rendered.len())].find("/*m") {
        let start = from + found + 3;
        let digits = rendered[start..]
            .bytes()
            .take_while(u8::is_ascii_digit)
            .count();
        if let Ok(index) = rendered[start..start + digits].parse::<usize>() {
            match rendered.as_bytes().get(start + digits) {
                Some(b'{') => open.push(index),
                Some(b'}') => drop(open.pop()),
                _ => {}
            }
        }
        from = start;
    }
    open.last().copied()
}

/// The changes of the function that begins last before a byte of what [`file`] made.
pub fn changes_before(rendered: &str, at: usize, mutants: &[Mutant]) -> Vec<usize> {
    let mut found: Vec<usize> = Vec::new();
    let mut rest = rendered.get(..at).unwrap_or_default();
    while let Some(start) = rest.rfind("/*m") {
        let index = rest[start + 3..]
            .split('{')
            .next()
            .and_then(|digits| digits.parse::<usize>().ok());
        if let Some(index) = index.filter(|&index| mutants[index].genre == "FnValue") {
            if found
                .last()
                .is_some_and(|&last| mutants[last].range != mutants[index].range)
            {
                break;
            }
            found.push(index);
        }
        rest = &rest[..start];
    }
    found
}

/// The arms that can be taken away in the lines behind a byte of what [`file`] made.
pub fn arms_behind(rendered: &str, at: usize) -> Vec<usize> {
    const FAR: usize = 1500;
    let text: String = rendered
        .get(at..)
        .unwrap_or_default()
        .chars()
        .take(FAR)
        .collect();
    text.split("if !crate::mutants::on(")
        .skip(1)
        .filter_map(|rest| rest.split(')').next()?.parse().ok())
        .collect()
}

/// What the crate's root has in addition.
pub const ROOT_BEFORE: &str =
    "#![feature(core_intrinsics, const_eval_select)] #![allow(internal_features, unsafe_code)] ";
pub const ROOT_AFTER: &str = r#"
#[allow(missing_docs, unused_unsafe, clippy::all)]
pub mod mutants {
    use std::io::Write as _;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicBool, Ordering};

    static CHOSEN: LazyLock<u32> = LazyLock::new(|| std::env::var("MUTANT").ok().and_then(|text| text.parse().ok()).unwrap_or(u32::MAX));
    static LOG: LazyLock<Option<std::fs::File>> =
        LazyLock::new(|| std::fs::File::options().create(true).append(true).open(std::env::var_os("MUTANTS_REACHED")?).ok());
    static REACHED: [AtomicBool; COUNT] = [const { AtomicBool::new(false) }; COUNT];

    pub const fn on(index: u32) -> bool {
        unsafe { core::intrinsics::const_eval_select((index,), never, now) }
    }

    const fn never(_: u32) -> bool {
        false
    }

    fn now(index: u32) -> bool {
        if let Some(mut log) = LOG.as_ref().filter(|_| !REACHED[index as usize].swap(true, Ordering::Relaxed)) {
            let _ = log.write_all(format!("{index}\n").as_bytes());
        }
        *CHOSEN == index
    }
}
"#;
