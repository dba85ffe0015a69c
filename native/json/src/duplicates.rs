//! Drops the earlier pairs of a key that an object has twice.

/// Where a pair starts and its key ends in the output.
pub(crate) struct Pair {
    pub(crate) start: usize,
    pub(crate) key_end: usize,
}

/// So few keys are compared with each other: most objects have no more, and none twice.
const FEW: usize = 8;

fn is_each_once<'a>(count: usize, key: impl Fn(usize) -> &'a [u8]) -> bool {
    (1..count).all(|i| (0..i).all(|j| key(i) != key(j)))
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
    if pairs.len() <= FEW && is_each_once(pairs.len(), |i| key(i as u32)) {
        return pairs.len();
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
        return pairs.len();
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
