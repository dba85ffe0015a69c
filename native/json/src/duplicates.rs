//! Drops the earlier pairs of a key that an object has twice.

use std::cell::RefCell;

/// Where a pair starts and its key ends in the output.
pub(crate) struct Pair {
    pub(crate) start: usize,
    pub(crate) key_end: usize,
}

/// So few keys are compared with each other: most objects have no more, and none twice.
const FEW: usize = 5;

fn is_each_once<'a>(count: usize, key: impl Fn(usize) -> &'a [u8]) -> bool {
    (1..count).all(|i| (0..i).all(|j| key(i) != key(j)))
}

/// Keys of objects that had none twice, which are remembered: a power of 2, and of how many bytes in all.
const SEEN: usize = 16;
const LONGEST: usize = 2048;

thread_local! {
    /// One behind the other, as they were written: where a key ends, its first bytes say.
    static KEYS: RefCell<[Vec<u8>; SEEN]> = const { RefCell::new([const { Vec::new() }; SEEN]) };
}

/// Whether an object had these keys before, in this order, and none twice.
fn is_seen<'a>(count: usize, key: impl Fn(usize) -> &'a [u8]) -> bool {
    KEYS.with_borrow(|seen| {
        let Some(mut left) = seen.get(place(count, &key)).map(Vec::as_slice) else {
            return false;
        };
        for i in 0..count {
            match left.strip_prefix(key(i)) {
                Some(behind) => left = behind,
                None => return false,
            }
        }
        left.is_empty()
    })
}

/// An object has these keys, none twice.
fn remember<'a>(count: usize, key: impl Fn(usize) -> &'a [u8]) {
    let len: usize = (0..count).map(|i| key(i).len()).sum();
    KEYS.with_borrow_mut(|seen| {
        if let Some(keys) = seen.get_mut(place(count, &key)).filter(|_| len <= LONGEST) {
            keys.clear();
            (0..count).for_each(|i| keys.extend_from_slice(key(i)));
        }
    });
}

/// Where objects of so many keys are remembered, of which these are the first and the last.
fn place<'a>(count: usize, key: impl Fn(usize) -> &'a [u8]) -> usize {
    (count + 3 * key(0).len() + 5 * key(count - 1).len()) % SEEN
}

/// Keeps the last pair of each key of one map, whose pairs fill the end of `out`. Returns how many
/// are left.
///
/// Sorting instead of hashing: no copies of keys, no hash to attack.
pub(crate) fn keep_last(out: &mut Vec<u8>, pairs: &[Pair]) -> usize {
    let key = |i: u32| {
        pairs
            .get(i as usize)
            .and_then(|p| out.get(p.start..p.key_end))
            .unwrap_or_default()
    };
    let (count, nth) = (pairs.len(), |i: usize| key(i as u32));
    if (count <= FEW && is_each_once(count, nth)) || (count > FEW && is_seen(count, nth)) {
        return count;
    }
    let mut order: Vec<u32> = (0..pairs.len() as u32).collect();
    order.sort_unstable_by(|&a, &b| key(a).cmp(key(b)).then(a.cmp(&b)));
    let mut dead: Vec<u32> = order
        .windows(2)
        .filter_map(|w| match *w {
            [a, b] if key(a) == key(b) => Some(a),
            _ => None,
        })
        .collect();
    if dead.is_empty() {
        remember(count, nth);
        return count;
    }
    dead.sort_unstable();
    let end = out.len();
    let mut dead = dead.into_iter().peekable();
    let mut to = pairs.first().map_or(end, |p| p.start);
    let mut kept = 0;
    for (i, pair) in pairs.iter().enumerate() {
        if dead.next_if_eq(&(i as u32)).is_some() {
            continue;
        }
        let until = pairs.get(i + 1).map_or(end, |next| next.start);
        out.copy_within(pair.start..until, to);
        to += until - pair.start;
        kept += 1;
    }
    out.truncate(to);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BinaryKeys, Duplicates, Objects, Options, decode};

    fn term(text: &str, objects: Objects) -> Vec<u8> {
        let options = Options {
            objects,
            ..Options::default()
        };
        let (mut out, keys) = (Vec::new(), &mut BinaryKeys);
        decode(
            text.as_bytes(),
            &options,
            keys,
            Duplicates::Resolve,
            &mut out,
        )
        .unwrap();
        out
    }

    fn object(keys: &[String]) -> String {
        let pairs = keys.iter().enumerate();
        let pairs: Vec<_> = pairs.map(|(n, key)| format!("\"{key}\":{n}")).collect();
        format!("{{{}}}", pairs.join(","))
    }

    /// Objects of some keys, of the same with one twice, in another order, and of as many others: each is what a thread makes of it that has
    /// seen none.
    #[test]
    fn the_cache_changes_no_result() {
        let mut texts = Vec::new();
        // Two of them take Miri a minute.
        let counts = if cfg!(miri) {
            &[6, 9][..]
        } else {
            &[5, 6, 8, 9, 40]
        };
        for &count in counts {
            let keys: Vec<String> = (0..count).map(|n| format!("k{}", n % 90 + 10)).collect();
            for at in (0..count).step_by(if cfg!(miri) { 4 } else { 1 }) {
                let mut others = keys.clone();
                others[at] = keys[(at + 1) % count].clone();
                let twice = object(&others);
                others[at] = "new".to_owned();
                let mut turned = keys.clone();
                turned.rotate_left(at);
                texts.extend([
                    object(&keys),
                    twice,
                    object(&keys),
                    object(&others),
                    object(&turned),
                ]);
            }
        }
        for objects in [Objects::Map, Objects::Pairs] {
            for text in &texts {
                let fresh = std::thread::scope(|scope| scope.spawn(|| term(text, objects)).join());
                assert_eq!(term(text, objects), fresh.unwrap(), "{text}");
            }
        }
    }

    #[test]
    fn the_cache_is_bounded() {
        for count in (6..300).step_by(if cfg!(miri) { 49 } else { 1 }) {
            let keys: Vec<String> = (0..count).map(|n| format!("{n:09}")).collect();
            term(&object(&keys), Objects::Map);
        }
        let held = KEYS.with_borrow(|seen| seen.iter().map(Vec::len).max());
        assert!(
            held.is_some_and(|len| (1024..=LONGEST).contains(&len)),
            "{held:?}"
        );
    }
}
