//! Objects: their keys, and that none comes twice.
//!
//! Only a map with keys of several kinds can have two of the same text, as `a` and `<<"a">>`.

use rustler::sys::ErlNifTerm;

use super::EncodeError::{self, NotJson, TooLarge};
use super::keys::KeyKinds;
use super::vm::{self, MapPairs, ShortTuple};
use super::{Encoder, OpenContainer};
use crate::terms::term_type;

/// Steps of the walk that looking for a key again is worth.
const LOOK: usize = 8;

/// A key as it was written, to be compared.
struct WrittenKey {
    start: usize,
    end: usize,
    key: ErlNifTerm,
    kind: KeyKinds,
}

impl Encoder<'_> {
    pub(super) fn open_map(&mut self, map: ErlNifTerm) -> Result<Option<ErlNifTerm>, EncodeError> {
        if !MapPairs::push(&mut self.space.maps, self.env, map) {
            return Err(NotJson(map));
        }
        let Some((key, value)) = self.space.maps.last_mut().and_then(MapPairs::next) else {
            self.space.maps.pop();
            self.out.extend_from_slice(b"{}");
            return Ok(None);
        };
        self.out.push(b'{');
        let kinds = self.key(key, value)?;
        self.space
            .open
            .push(OpenContainer::Map { whole: map, kinds });
        Ok(Some(value))
    }

    /// Writes a further key of the innermost map.
    pub(super) fn map_key(
        &mut self,
        key: ErlNifTerm,
        value: ErlNifTerm,
    ) -> Result<(), EncodeError> {
        let kind = self.key(key, value)?;
        if let Some(OpenContainer::Map { kinds, .. }) = self.space.open.last_mut() {
            *kinds = kinds.and(kind);
        }
        Ok(())
    }

    /// The innermost map has no more pairs.
    pub(super) fn close_map(&mut self) -> Result<(), EncodeError> {
        self.space.maps.pop();
        match self.space.open.last() {
            Some(&OpenContainer::Map { whole, kinds }) if kinds.are_several() => {
                self.each_once_in_map(whole)
            }
            _ => Ok(()),
        }
    }

    #[cold]
    fn each_once_in_map(&mut self, map: ErlNifTerm) -> Result<(), EncodeError> {
        let mut pairs = MapPairs::new(self.env, map).ok_or(NotJson(map))?;
        self.each_once(std::iter::from_fn(|| Some(pairs.next()?.0)))
    }

    /// Opens an object that is a list of pairs, the one element of this tuple.
    pub(super) fn open_pairs(
        &mut self,
        tuple: ErlNifTerm,
        pairs: ErlNifTerm,
    ) -> Result<Option<ErlNifTerm>, EncodeError> {
        if vm::is_nil(self.env, pairs) {
            self.out.extend_from_slice(b"{}");
            return Ok(None);
        }
        let (first, rest) = vm::list_cell(self.env, pairs).ok_or(NotJson(tuple))?;
        let (key, value) = self.pair(first)?;
        self.out.push(b'{');
        self.key(key, value)?;
        self.space
            .open
            .push(OpenContainer::Pairs { whole: tuple, rest });
        Ok(Some(value))
    }

    /// The next pair of the innermost object, which is a list of them. Its keys have been compared
    /// when there is none.
    pub(super) fn next_pair(&mut self) -> Result<Option<(ErlNifTerm, ErlNifTerm)>, EncodeError> {
        let Some(OpenContainer::Pairs { whole, rest }) = self.space.open.last_mut() else {
            return Ok(None);
        };
        if let Some((pair, tail)) = vm::list_cell(self.env, *rest) {
            *rest = tail;
            return self.pair(pair).map(Some);
        }
        let (whole, end) = (*whole, *rest);
        if !vm::is_nil(self.env, end) {
            return Err(NotJson(whole));
        }
        let env = self.env;
        let mut rest = match vm::tuple(env, whole) {
            Some(ShortTuple::One(pairs)) => pairs,
            _ => return Err(NotJson(whole)),
        };
        self.each_once(std::iter::from_fn(|| {
            let (pair, tail) = vm::list_cell(env, rest)?;
            rest = tail;
            match vm::tuple(env, pair)? {
                ShortTuple::Two(key, _) => Some(key),
                ShortTuple::One(_) => None,
            }
        }))?;
        Ok(None)
    }

    fn pair(&self, pair: ErlNifTerm) -> Result<(ErlNifTerm, ErlNifTerm), EncodeError> {
        match vm::tuple(self.env, pair) {
            Some(ShortTuple::Two(key, value)) => Ok((key, value)),
            _ => Err(NotJson(pair)),
        }
    }

    /// Compares keys by their text.
    fn each_once(&mut self, keys: impl Iterator<Item = ErlNifTerm>) -> Result<(), EncodeError> {
        let behind = self.out.len();
        let mut written = Vec::new();
        for key in keys {
            self.charge(LOOK)?;
            let start = self.out.len();
            let kind = self.new_key(key)?;
            let end = self.out.len();
            self.fits(0)?;
            written.push(WrittenKey {
                start,
                end,
                key,
                kind,
            });
        }
        let text = |w: &WrittenKey| self.out.get(w.start..w.end).unwrap_or_default();
        written.sort_unstable_by(|a, b| text(a).cmp(text(b)));
        let twice = written.windows(2).find_map(|pair| match pair {
            [a, b] if text(a) == text(b) => Some(if a.kind < b.kind { b.key } else { a.key }),
            _ => None,
        });
        self.out.truncate(behind);
        match twice {
            Some(key) => Err(NotJson(vm::make_pair(
                self.env,
                self.atoms.duplicate_key,
                key,
            ))),
            None => Ok(()),
        }
    }

    /// Writes a key and its colon, or copies what the same term became before.
    pub(super) fn key(
        &mut self,
        key: ErlNifTerm,
        value: ErlNifTerm,
    ) -> Result<KeyKinds, EncodeError> {
        if let Some((written, kind)) = self.space.keys.find(self.call, key) {
            if written.len() > self.max_len.saturating_sub(self.out.len()) {
                return Err(TooLarge);
            }
            self.out.extend_from_slice(written);
            return Ok(kind);
        }
        let start = self.out.len();
        let kind = self.new_key(key)?;
        if key == self.atoms.struct_ {
            // Looked at each time.
            return self.no_struct(value).map(|()| kind);
        }
        let written = self.out.get(start..).unwrap_or_default();
        self.space.keys.remember(self.call, key, written, kind);
        Ok(kind)
    }

    /// A struct of Elixir is not a map to those who made it: what of it may leave is theirs to say.
    #[cold]
    fn no_struct(&self, module: ErlNifTerm) -> Result<(), EncodeError> {
        match vm::term_type(self.env, module) {
            term_type::ATOM => {
                let tag = self.atoms.struct_tag;
                Err(NotJson(vm::make_pair(self.env, tag, module)))
            }
            _ => Ok(()),
        }
    }

    fn new_key(&mut self, key: ErlNifTerm) -> Result<KeyKinds, EncodeError> {
        let kind = match vm::term_type(self.env, key) {
            term_type::BITSTRING => {
                self.string(key)?;
                KeyKinds::BINARY
            }
            term_type::ATOM => {
                self.atom_name(key)?;
                KeyKinds::ATOM
            }
            term_type::INTEGER => {
                self.out.push(b'"');
                self.integer(key)?;
                self.out.push(b'"');
                KeyKinds::INTEGER
            }
            _ => return Err(NotJson(key)),
        };
        self.out.push(b':');
        Ok(kind)
    }
}
