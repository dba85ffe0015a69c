//! Objects whose keys came before in the same order: the order in which the VM keeps them is known.
//!
//! The VM sorts the keys of each small map that it makes: the more of them are in their place, the fewer terms it compares.

use rustler::sys::{ErlNifEnv, ErlNifTerm};

use super::encode::vm::MapPairs;
use crate::terms::word;

/// Pairs up to which the VM keeps a map sorted.
pub(super) const SMALL_MAP: usize = 32;
/// How many are remembered: a power of 2.
const REMEMBERED: usize = 16;

#[derive(Clone, Copy, Default)]
struct Shape {
    /// Of which context: terms of others belong to other environments.
    context: u64,
    len: usize,
    /// The keys as the text has them.
    came: [ErlNifTerm; SMALL_MAP],
    /// As the VM has them; not known of an object that came once.
    kept: Option<[ErlNifTerm; SMALL_MAP]>,
    /// Where those stand in the text.
    places: [u8; SMALL_MAP],
}

/// What objects of a context looked like.
pub(super) struct Shapes(Vec<Shape>);

impl Shapes {
    pub(super) const fn new() -> Self {
        Shapes(Vec::new())
    }

    /// Keys and values, at most [`SMALL_MAP`] of each, in the order in which the VM keeps them.
    #[inline]
    pub(super) fn in_order(
        &self,
        context: u64,
        keys: &[ErlNifTerm],
        values: &[ErlNifTerm],
    ) -> Option<(&[ErlNifTerm], [ErlNifTerm; SMALL_MAP])> {
        let shape = self.0.get(place(keys))?;
        let kept = shape.kept.as_ref()?;
        if !shape.is(context, keys) {
            return None;
        }
        let mut sorted = [ErlNifTerm::default(); SMALL_MAP];
        for (value, place) in sorted.iter_mut().zip(shape.places).take(keys.len()) {
            *value = *values.get(usize::from(place))?;
        }
        Some((kept.get(..keys.len())?, sorted))
    }

    /// A map of these keys, all different, was made.
    pub(super) fn remember(
        &mut self,
        env: *mut ErlNifEnv,
        context: u64,
        keys: &[ErlNifTerm],
        map: ErlNifTerm,
    ) {
        if self.0.is_empty() {
            self.0.resize(REMEMBERED, Shape::default());
        }
        let Some(shape) = self.0.get_mut(place(keys)) else {
            return;
        };
        if !shape.is(context, keys) {
            shape.context = context;
            shape.len = keys.len();
            shape.kept = None;
            for (to, key) in shape.came.iter_mut().zip(keys) {
                *to = *key;
            }
            return;
        }
        let Some(mut pairs) = MapPairs::new(env, map) else {
            return;
        };
        let mut kept = [ErlNifTerm::default(); SMALL_MAP];
        for (key, place) in kept.iter_mut().zip(&mut shape.places).take(keys.len()) {
            let next = pairs.next().and_then(|(key, _)| {
                let place = keys.iter().position(|k| *k == key)?;
                Some((key, place))
            });
            let Some(next) = next else {
                return;
            };
            // At most `SMALL_MAP`.
            (*key, *place) = (next.0, next.1 as u8);
        }
        shape.kept = Some(kept);
    }
}

impl Shape {
    #[inline]
    fn is(&self, context: u64, keys: &[ErlNifTerm]) -> bool {
        self.context == context && self.came.get(..self.len) == Some(keys)
    }
}

#[inline]
fn place(keys: &[ErlNifTerm]) -> usize {
    let at = |key: Option<&ErlNifTerm>| key.map_or(0, |key| word(*key)) as u64;
    let folded = at(keys.first()) ^ at(keys.last()).rotate_left(29) ^ keys.len() as u64;
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize % REMEMBERED
}
