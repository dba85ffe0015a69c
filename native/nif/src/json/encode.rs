//! A term to JSON text: a walk with a stack of its own, so that no term can overflow the native
//! one, and with a bound, so that a scheduler is not held up.

mod keys;
mod objects;
pub(crate) mod vm;

use rustler::sys::{ErlNifEnv, ErlNifTerm};
use sockeye_json::{MAX_DIGITS, Null, Reset, Reused, text};

pub(crate) use keys::CallId;
use keys::{KeyCache, KeyKinds};
use vm::{ExternalTerm, JsonAtoms, MapPairs, ShortTuple};

use crate::terms::term_type;

/// Why a term has no JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EncodeError {
    /// This part of it cannot be JSON, or this is why: `{duplicate_key, Key}`, `{struct, Module}`.
    NotJson(ErlNifTerm),
    /// It takes more than the limit; try again where there is time, with `usize::MAX`.
    TooLarge,
}

use EncodeError::{NotJson, TooLarge};

/// A step of the walk is worth this many bytes of the limit.
const STEP: usize = 4;

/// More bytes than this have more than [`MAX_DIGITS`] digits: a byte is worth 2.408 of them.
const MAX_BIG: usize = MAX_DIGITS * 1_000 / 2_408;

/// Appends the JSON text of `term` to `out`. Texts of one `call` share what keys became.
///
/// Maps are objects, with keys that are binaries, atoms or integers, and so are proper lists of
/// pairs as `{[{Key, Value}]}`, in their order; other proper lists are arrays; binaries are strings and must be UTF-8; `true`, `false`, `null` and the atom that `null` names
/// are literals, other atoms strings; `{json_raw, IoData}` is appended as it is and must be UTF-8.
///
/// # Errors
/// [`NotJson`] for anything else, for an integer of more than [`MAX_DIGITS`] digits, for an object
/// with two keys of the same text, and for an Elixir struct; [`TooLarge`] when the text, or the walk, is longer than `limit` bytes. `out` is then as it was.
pub(crate) fn encode(
    env: *mut ErlNifEnv,
    call: CallId,
    term: ErlNifTerm,
    null: Null,
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    SPACE.with(|space| {
        space.lend(|space| {
            let start = out.len();
            let atoms = JsonAtoms::of(env);
            let result = Encoder {
                env,
                call,
                atoms,
                null: match null {
                    Null::Null => atoms.null,
                    Null::Undefined => atoms.undefined,
                    Null::Nil => atoms.nil,
                },
                max_len: start.saturating_add(limit),
                steps_left: limit / STEP + 1,
                out,
                space,
            }
            .run(term);
            if result.is_err() {
                out.truncate(start);
            }
            result
        })
    })
}

/// Levels of nesting that the walk keeps room for.
const LEVELS_KEPT: usize = 1024;

/// What a walk needs, kept for the next one.
struct EncodeSpace {
    /// Innermost last.
    open: Vec<OpenContainer>,
    /// Of the maps among them.
    maps: Vec<MapPairs>,
    keys: KeyCache,
}

impl EncodeSpace {
    const fn new() -> Self {
        Self {
            open: Vec::new(),
            maps: Vec::new(),
            keys: KeyCache::new(),
        }
    }
}

impl Reset for EncodeSpace {
    /// Iterators, too, are good only as long as the environment of their call.
    fn reset(&mut self) {
        self.open.clear();
        self.maps.clear();
        if self.open.capacity() > LEVELS_KEPT {
            self.open = Vec::new();
            self.maps = Vec::new();
        }
    }
}

thread_local! {
    static SPACE: Reused<EncodeSpace> = const { Reused::new(EncodeSpace::new()) };
}

/// A container whose elements are being written.
enum OpenContainer {
    List {
        whole: ErlNifTerm,
        rest: ErlNifTerm,
    },
    /// Its iterator is the last of `maps`.
    Map {
        whole: ErlNifTerm,
        kinds: KeyKinds,
    },
    /// An object as a list of pairs.
    Pairs {
        whole: ErlNifTerm,
        rest: ErlNifTerm,
    },
}

struct Encoder<'a> {
    env: *mut ErlNifEnv,
    call: CallId,
    atoms: &'static JsonAtoms,
    null: ErlNifTerm,
    /// `out` may not be longer.
    max_len: usize,
    steps_left: usize,
    out: &'a mut Vec<u8>,
    space: &'a mut EncodeSpace,
}

impl Encoder<'_> {
    fn run(mut self, mut term: ErlNifTerm) -> Result<(), EncodeError> {
        loop {
            self.charge(1)?;
            if let Some(first) = self.value(term)? {
                term = first;
                continue;
            }
            match self.next()? {
                Some(next) => term = next,
                None => return self.fits(0),
            }
        }
    }

    fn charge(&mut self, steps: usize) -> Result<(), EncodeError> {
        self.steps_left = self.steps_left.checked_sub(steps).ok_or(TooLarge)?;
        Ok(())
    }

    /// Whether `more` bytes may follow what is written.
    fn fits(&self, more: usize) -> Result<(), EncodeError> {
        if more > self.max_len.saturating_sub(self.out.len()) || self.out.len() > self.max_len {
            return Err(TooLarge);
        }
        Ok(())
    }

    /// Writes a value, or opens a container and returns its first element.
    fn value(&mut self, term: ErlNifTerm) -> Result<Option<ErlNifTerm>, EncodeError> {
        match vm::term_type(self.env, term) {
            term_type::BITSTRING => self.string(term)?,
            term_type::INTEGER => self.integer(term)?,
            term_type::ATOM => self.atom(term)?,
            term_type::FLOAT => self.float(term)?,
            term_type::MAP => return self.open_map(term),
            term_type::LIST => return Ok(self.open_list(term)),
            term_type::TUPLE => return self.tuple(term),
            _ => return Err(NotJson(term)),
        }
        Ok(None)
    }

    /// The next element of the innermost container; closes those that have none.
    fn next(&mut self) -> Result<Option<ErlNifTerm>, EncodeError> {
        while let Some(open) = self.space.open.last_mut() {
            let close = match open {
                OpenContainer::List { whole, rest } => {
                    if let Some((head, tail)) = vm::list_cell(self.env, *rest) {
                        *rest = tail;
                        self.out.push(b',');
                        return Ok(Some(head));
                    }
                    if !vm::is_nil(self.env, *rest) {
                        return Err(NotJson(*whole));
                    }
                    b']'
                }
                OpenContainer::Map { .. } => {
                    if let Some((key, value)) = self.space.maps.last_mut().and_then(MapPairs::next)
                    {
                        self.out.push(b',');
                        self.map_key(key, value)?;
                        return Ok(Some(value));
                    }
                    self.close_map()?;
                    b'}'
                }
                OpenContainer::Pairs { .. } => {
                    if let Some((key, value)) = self.next_pair()? {
                        self.out.push(b',');
                        self.key(key, value)?;
                        return Ok(Some(value));
                    }
                    b'}'
                }
            };
            self.out.push(close);
            self.space.open.pop();
        }
        Ok(None)
    }

    fn open_list(&mut self, whole: ErlNifTerm) -> Option<ErlNifTerm> {
        let Some((head, rest)) = vm::list_cell(self.env, whole) else {
            self.out.extend_from_slice(b"[]");
            return None;
        };
        self.out.push(b'[');
        self.space.open.push(OpenContainer::List { whole, rest });
        Some(head)
    }

    fn string(&mut self, term: ErlNifTerm) -> Result<(), EncodeError> {
        let binary = vm::inspect(self.env, term).ok_or(NotJson(term))?;
        let bytes = vm::as_bytes(&binary);
        self.fits(bytes.len())?;
        if text::push_bytes(self.out, bytes) {
            Ok(())
        } else {
            Err(NotJson(term))
        }
    }

    fn integer(&mut self, term: ErlNifTerm) -> Result<(), EncodeError> {
        if let Some(n) = vm::int64(self.env, term) {
            text::push_i64(self.out, n);
            return Ok(());
        }
        if let Some(n) = vm::uint64(self.env, term) {
            text::push_u64(self.out, n);
            return Ok(());
        }
        // It is copied to be looked into, however large it is: only where there is time.
        if self.max_len != usize::MAX && vm::exceeds_double(self.env, term) {
            return Err(TooLarge);
        }
        let etf = ExternalTerm::of(self.env, term).ok_or(NotJson(term))?;
        let (negative, magnitude) = etf.big().ok_or(NotJson(term))?;
        if magnitude.len() > MAX_BIG {
            return Err(NotJson(term));
        }
        // The conversion is quadratic: 0.4 ms for 2 KiB.
        let blocks = magnitude.len() / 16;
        self.charge(blocks * blocks)?;
        self.fits(magnitude.len() * 2)?;
        let start = self.out.len();
        text::push_big(self.out, negative, magnitude);
        if self.out.len() - start - usize::from(negative) > MAX_DIGITS {
            return Err(NotJson(term));
        }
        Ok(())
    }

    fn float(&mut self, term: ErlNifTerm) -> Result<(), EncodeError> {
        let v = vm::double(self.env, term).ok_or(NotJson(term))?;
        text::push_f64(self.out, v);
        Ok(())
    }

    fn atom(&mut self, term: ErlNifTerm) -> Result<(), EncodeError> {
        let literal: &[u8] = if term == self.atoms.true_ {
            b"true"
        } else if term == self.atoms.false_ {
            b"false"
        } else if term == self.atoms.null || term == self.null {
            b"null"
        } else {
            return self.atom_name(term);
        };
        self.out.extend_from_slice(literal);
        Ok(())
    }

    fn atom_name(&mut self, term: ErlNifTerm) -> Result<(), EncodeError> {
        let mut buffer = [0u8; vm::ATOM_BUFFER];
        let Some(name) = vm::latin1_atom(self.env, term, &mut buffer) else {
            // Other characters cannot be asked for before OTP 26.
            let etf = ExternalTerm::of(self.env, term).ok_or(NotJson(term))?;
            let name = etf.atom().ok_or(NotJson(term))?;
            text::push_string(self.out, name);
            return Ok(());
        };
        match std::str::from_utf8(name) {
            Ok(ascii) if ascii.is_ascii() => text::push_string(self.out, ascii),
            _ => {
                let name: String = name.iter().map(|&b| char::from(b)).collect();
                text::push_string(self.out, &name);
            }
        }
        Ok(())
    }

    /// `{json_raw, IoData}` or `{[{Key, Value}]}`
    fn tuple(&mut self, tuple: ErlNifTerm) -> Result<Option<ErlNifTerm>, EncodeError> {
        match vm::tuple(self.env, tuple) {
            Some(ShortTuple::Two(tag, data)) if tag == self.atoms.json_raw => {
                self.raw(tuple, data)?;
                Ok(None)
            }
            Some(ShortTuple::One(pairs)) => self.open_pairs(tuple, pairs),
            _ => Err(NotJson(tuple)),
        }
    }

    fn raw(&mut self, tuple: ErlNifTerm, data: ErlNifTerm) -> Result<(), EncodeError> {
        let start = self.out.len();
        let mut rest = vec![data];
        while let Some(part) = rest.pop() {
            self.charge(1)?;
            if let Some(binary) = vm::inspect(self.env, part) {
                let bytes = vm::as_bytes(&binary);
                self.fits(bytes.len())?;
                self.out.extend_from_slice(bytes);
            } else if let Some((head, tail)) = vm::list_cell(self.env, part) {
                rest.push(tail);
                if !self.raw_byte(head) {
                    rest.push(head);
                }
            } else if !vm::is_nil(self.env, part) {
                return Err(NotJson(tuple));
            }
        }
        // A text frame that is not UTF-8 would cost the connection.
        let written = self.out.get(start..).unwrap_or_default();
        std::str::from_utf8(written).map_err(|_| NotJson(tuple))?;
        Ok(())
    }

    /// Appends an element of a list if it is a byte.
    fn raw_byte(&mut self, head: ErlNifTerm) -> bool {
        let byte = vm::int64(self.env, head).and_then(|n| u8::try_from(n).ok());
        self.out.extend(byte);
        byte.is_some()
    }
}
