//! A term to JSON text: a walk with a stack of its own, so that no term can overflow the native
//! one, and with a bound, so that a scheduler is not held up.

use std::mem::MaybeUninit;
use std::sync::OnceLock;

use rustler::sys::{
    ErlNifBinary, ErlNifCharEncoding, ErlNifEnv, ErlNifMapIterator, ErlNifMapIteratorEntry,
    ErlNifTerm, ErlNifTermType, c_int, c_uint, enif_get_atom, enif_get_double, enif_get_int64,
    enif_get_list_cell, enif_get_tuple, enif_get_uint64, enif_inspect_binary, enif_is_empty_list,
    enif_make_atom_len, enif_map_iterator_create, enif_map_iterator_destroy,
    enif_map_iterator_get_pair, enif_map_iterator_next, enif_release_binary, enif_term_to_binary,
    enif_term_type,
};
use sockeye_json::{MAX_DIGITS, Null, text};

/// Why a term has no JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EncodeError {
    /// This part of it can not be JSON.
    NotJson(ErlNifTerm),
    /// It takes more than the limit; try again where there is time, with `usize::MAX`.
    TooLarge,
}

use EncodeError::{NotJson, TooLarge};

/// A step of the walk is worth this many bytes of the limit.
const STEP: usize = 4;

/// More bytes than this have more than [`MAX_DIGITS`] digits (a byte has 2.408).
const MAX_BIG: usize = MAX_DIGITS * 10_000 / 24_082;

/// Appends the JSON text of `term` to `out`.
///
/// Maps are objects, with keys that are binaries, atoms or integers; proper lists are arrays;
/// binaries are strings and must be UTF-8; `true`, `false`, `null` and the atom that `null` names
/// are literals, other atoms strings; `{json_raw, IoData}` is appended as it is and must be UTF-8.
///
/// # Errors
/// [`NotJson`] for anything else, and for an integer of more than [`MAX_DIGITS`] digits;
/// [`TooLarge`] when the text, or the walk, is longer than `limit` bytes. `out` is then as it was.
pub(crate) fn encode(
    env: *mut ErlNifEnv,
    term: ErlNifTerm,
    null: Null,
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let start = out.len();
    let atoms = Atoms::of(env);
    let result = Encoder {
        env,
        atoms,
        null: match null {
            Null::Null => atoms.null,
            Null::Undefined => atoms.undefined,
            Null::Nil => atoms.nil,
        },
        max_len: start.saturating_add(limit),
        steps_left: limit / STEP + 1,
        out,
        open: Vec::new(),
    }
    .run(term);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// The atoms that mean something in JSON. Atoms are the same in every environment.
struct Atoms {
    true_: ErlNifTerm,
    false_: ErlNifTerm,
    null: ErlNifTerm,
    undefined: ErlNifTerm,
    nil: ErlNifTerm,
    json_raw: ErlNifTerm,
}

impl Atoms {
    fn of(env: *mut ErlNifEnv) -> &'static Self {
        static ATOMS: OnceLock<Atoms> = OnceLock::new();
        ATOMS.get_or_init(|| {
            // SAFETY: `env` is valid for this call and the name is read up to its length only.
            let atom =
                |name: &str| unsafe { enif_make_atom_len(env, name.as_ptr().cast(), name.len()) };
            Self {
                true_: atom("true"),
                false_: atom("false"),
                null: atom("null"),
                undefined: atom("undefined"),
                nil: atom("nil"),
                json_raw: atom("json_raw"),
            }
        })
    }
}

/// A container whose elements are being written.
enum Open {
    List { whole: ErlNifTerm, rest: ErlNifTerm },
    Map(MapPairs),
}

struct Encoder<'a> {
    env: *mut ErlNifEnv,
    atoms: &'static Atoms,
    null: ErlNifTerm,
    /// `out` may not be longer.
    max_len: usize,
    steps_left: usize,
    out: &'a mut Vec<u8>,
    open: Vec<Open>,
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
        use ErlNifTermType as T;
        // SAFETY: `env` and `term` are valid for the whole walk, as for all calls below.
        match unsafe { enif_term_type(self.env, term) } {
            T::ERL_NIF_TERM_TYPE_BITSTRING => self.string(term)?,
            T::ERL_NIF_TERM_TYPE_INTEGER => self.integer(term)?,
            T::ERL_NIF_TERM_TYPE_ATOM => self.atom(term)?,
            T::ERL_NIF_TERM_TYPE_FLOAT => self.float(term)?,
            T::ERL_NIF_TERM_TYPE_MAP => return self.open_map(term),
            T::ERL_NIF_TERM_TYPE_LIST => return Ok(self.open_list(term)),
            T::ERL_NIF_TERM_TYPE_TUPLE => self.raw(term)?,
            _ => return Err(NotJson(term)),
        }
        Ok(None)
    }

    /// The next element of the innermost container; closes those that have none.
    fn next(&mut self) -> Result<Option<ErlNifTerm>, EncodeError> {
        while let Some(open) = self.open.last_mut() {
            let close = match open {
                Open::List { whole, rest } => {
                    if let Some((head, tail)) = list_cell(self.env, *rest) {
                        *rest = tail;
                        self.out.push(b',');
                        return Ok(Some(head));
                    }
                    if !is_nil(self.env, *rest) {
                        return Err(NotJson(*whole));
                    }
                    b']'
                }
                Open::Map(pairs) => {
                    if let Some((key, value)) = pairs.next() {
                        self.out.push(b',');
                        self.key(key)?;
                        return Ok(Some(value));
                    }
                    b'}'
                }
            };
            self.out.push(close);
            self.open.pop();
        }
        Ok(None)
    }

    fn open_list(&mut self, whole: ErlNifTerm) -> Option<ErlNifTerm> {
        let Some((head, rest)) = list_cell(self.env, whole) else {
            self.out.extend_from_slice(b"[]");
            return None;
        };
        self.out.push(b'[');
        self.open.push(Open::List { whole, rest });
        Some(head)
    }

    fn open_map(&mut self, map: ErlNifTerm) -> Result<Option<ErlNifTerm>, EncodeError> {
        let mut pairs = MapPairs::new(self.env, map).ok_or(NotJson(map))?;
        let Some((key, value)) = pairs.next() else {
            self.out.extend_from_slice(b"{}");
            return Ok(None);
        };
        self.out.push(b'{');
        self.key(key)?;
        self.open.push(Open::Map(pairs));
        Ok(Some(value))
    }

    fn key(&mut self, key: ErlNifTerm) -> Result<(), EncodeError> {
        use ErlNifTermType as T;
        // SAFETY: see `value`.
        match unsafe { enif_term_type(self.env, key) } {
            T::ERL_NIF_TERM_TYPE_BITSTRING => self.string(key)?,
            T::ERL_NIF_TERM_TYPE_ATOM => self.atom_name(key)?,
            T::ERL_NIF_TERM_TYPE_INTEGER => {
                self.out.push(b'"');
                self.integer(key)?;
                self.out.push(b'"');
            }
            _ => return Err(NotJson(key)),
        }
        self.out.push(b':');
        Ok(())
    }

    fn string(&mut self, term: ErlNifTerm) -> Result<(), EncodeError> {
        let binary = inspect(self.env, term).ok_or(NotJson(term))?;
        let bytes = as_bytes(&binary);
        self.fits(bytes.len())?;
        let string = std::str::from_utf8(bytes).map_err(|_| NotJson(term))?;
        text::push_string(self.out, string);
        Ok(())
    }

    fn integer(&mut self, term: ErlNifTerm) -> Result<(), EncodeError> {
        let mut signed = 0;
        // SAFETY: see `value`; the integer is written when the result is not 0.
        if unsafe { enif_get_int64(self.env, term, &mut signed) } != 0 {
            text::push_i64(self.out, signed);
            return Ok(());
        }
        let mut unsigned = 0;
        // SAFETY: as above.
        if unsafe { enif_get_uint64(self.env, term, &mut unsigned) } != 0 {
            text::push_u64(self.out, unsigned);
            return Ok(());
        }
        let etf = External::of(self.env, term).ok_or(NotJson(term))?;
        let (negative, magnitude) = etf.big().ok_or(NotJson(term))?;
        if magnitude.len() > MAX_BIG {
            return Err(NotJson(term));
        }
        // The conversion is quadratic.
        let blocks = magnitude.len() / 32;
        self.charge(blocks * blocks)?;
        self.fits(magnitude.len() * 2)?;
        text::push_big(self.out, negative, magnitude);
        Ok(())
    }

    fn float(&mut self, term: ErlNifTerm) -> Result<(), EncodeError> {
        let mut v = 0.0;
        // SAFETY: see `value`; the float is written when the result is not 0.
        if unsafe { enif_get_double(self.env, term, &mut v) } == 0 {
            return Err(NotJson(term));
        }
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
        // 255 characters and the terminator.
        let mut name = [0u8; 256];
        // SAFETY: see `value`; at most as many bytes are written as the buffer has.
        let written = unsafe {
            enif_get_atom(
                self.env,
                term,
                name.as_mut_ptr().cast(),
                name.len() as c_uint,
                ErlNifCharEncoding::ERL_NIF_LATIN1,
            )
        };
        if written <= 0 {
            // Not Latin-1, which is all that can be asked for before OTP 26.
            let etf = External::of(self.env, term).ok_or(NotJson(term))?;
            let name = etf.atom().ok_or(NotJson(term))?;
            text::push_string(self.out, name);
            return Ok(());
        }
        let name = name.get(..written as usize - 1).unwrap_or_default();
        match std::str::from_utf8(name) {
            Ok(ascii) if ascii.is_ascii() => text::push_string(self.out, ascii),
            _ => {
                let name: String = name.iter().map(|&b| char::from(b)).collect();
                text::push_string(self.out, &name);
            }
        }
        Ok(())
    }

    /// `{json_raw, IoData}`
    fn raw(&mut self, tuple: ErlNifTerm) -> Result<(), EncodeError> {
        let data = self.raw_data(tuple).ok_or(NotJson(tuple))?;
        let start = self.out.len();
        let mut rest = vec![data];
        while let Some(part) = rest.pop() {
            self.charge(1)?;
            if let Some(binary) = inspect(self.env, part) {
                let bytes = as_bytes(&binary);
                self.fits(bytes.len())?;
                self.out.extend_from_slice(bytes);
            } else if let Some((head, tail)) = list_cell(self.env, part) {
                rest.push(tail);
                if !self.raw_byte(head)? {
                    rest.push(head);
                }
            } else if !is_nil(self.env, part) {
                return Err(NotJson(tuple));
            }
        }
        // A text frame that is not UTF-8 would cost the connection.
        let written = self.out.get(start..).unwrap_or_default();
        std::str::from_utf8(written).map_err(|_| NotJson(tuple))?;
        Ok(())
    }

    /// Appends an element of a list if it is a byte.
    fn raw_byte(&mut self, head: ErlNifTerm) -> Result<bool, EncodeError> {
        let mut byte = 0;
        // SAFETY: see `value`; the integer is written when the result is not 0.
        let is_integer = unsafe { enif_get_int64(self.env, head, &mut byte) } != 0;
        match u8::try_from(byte) {
            Ok(byte) if is_integer => {
                self.out.push(byte);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn raw_data(&self, tuple: ErlNifTerm) -> Option<ErlNifTerm> {
        let mut arity: c_int = 0;
        let mut elements = std::ptr::null();
        // SAFETY: see `value`; the elements live as long as the tuple.
        unsafe {
            if enif_get_tuple(self.env, tuple, &mut arity, &mut elements) == 0 || arity != 2 {
                return None;
            }
            (*elements == self.atoms.json_raw).then(|| *elements.add(1))
        }
    }
}

fn list_cell(env: *mut ErlNifEnv, list: ErlNifTerm) -> Option<(ErlNifTerm, ErlNifTerm)> {
    let mut head = MaybeUninit::uninit();
    let mut tail = MaybeUninit::uninit();
    // SAFETY: `env` and `list` are valid; both are written when the result is not 0.
    unsafe {
        (enif_get_list_cell(env, list, head.as_mut_ptr(), tail.as_mut_ptr()) != 0)
            .then(|| (head.assume_init(), tail.assume_init()))
    }
}

fn is_nil(env: *mut ErlNifEnv, term: ErlNifTerm) -> bool {
    // SAFETY: `env` and `term` are valid.
    unsafe { enif_is_empty_list(env, term) != 0 }
}

fn inspect(env: *mut ErlNifEnv, term: ErlNifTerm) -> Option<ErlNifBinary> {
    let mut binary = MaybeUninit::uninit();
    // SAFETY: `env` and `term` are valid; the result is written when it is not 0.
    unsafe {
        (enif_inspect_binary(env, term, binary.as_mut_ptr()) != 0).then(|| binary.assume_init())
    }
}

fn as_bytes(binary: &ErlNifBinary) -> &[u8] {
    if binary.size == 0 {
        return &[];
    }
    // SAFETY: the VM keeps `size` bytes at `data`, unchanged, until the NIF returns (inspected) or
    // the binary is released (owned), which needs the binary that is borrowed here.
    unsafe { std::slice::from_raw_parts(binary.data, binary.size) }
}

/// The pairs of a map.
struct MapPairs {
    env: *mut ErlNifEnv,
    iter: ErlNifMapIterator,
}

impl MapPairs {
    fn new(env: *mut ErlNifEnv, map: ErlNifTerm) -> Option<Self> {
        let mut iter = MaybeUninit::uninit();
        let first = ErlNifMapIteratorEntry::ERL_NIF_MAP_ITERATOR_HEAD;
        // SAFETY: `env` and `map` are valid; the iterator is written when the result is not 0. It
        // may be moved: what it points to is on the heap.
        unsafe {
            (enif_map_iterator_create(env, map, iter.as_mut_ptr(), first) != 0).then(|| Self {
                env,
                iter: iter.assume_init(),
            })
        }
    }

    fn next(&mut self) -> Option<(ErlNifTerm, ErlNifTerm)> {
        let mut key = MaybeUninit::uninit();
        let mut value = MaybeUninit::uninit();
        // SAFETY: the iterator is valid until it is dropped; both terms are written when the
        // result is not 0.
        unsafe {
            let (k, v) = (key.as_mut_ptr(), value.as_mut_ptr());
            if enif_map_iterator_get_pair(self.env, &mut self.iter, k, v) == 0 {
                return None;
            }
            enif_map_iterator_next(self.env, &mut self.iter);
            Some((key.assume_init(), value.assume_init()))
        }
    }
}

impl Drop for MapPairs {
    fn drop(&mut self) {
        // SAFETY: created in `new` and destroyed only here.
        unsafe { enif_map_iterator_destroy(self.env, &mut self.iter) }
    }
}

/// A term in external term format, for what no other call can tell.
struct External(ErlNifBinary);

impl External {
    fn of(env: *mut ErlNifEnv, term: ErlNifTerm) -> Option<Self> {
        let mut binary = MaybeUninit::uninit();
        // SAFETY: `env` and `term` are valid; the binary is written, and then ours to release,
        // when the result is not 0.
        unsafe {
            (enif_term_to_binary(env, term, binary.as_mut_ptr()) != 0)
                .then(|| Self(binary.assume_init()))
        }
    }

    /// Sign and magnitude of a big integer.
    fn big(&self) -> Option<(bool, &[u8])> {
        match as_bytes(&self.0) {
            // SMALL_BIG_EXT and LARGE_BIG_EXT
            [131, 110, _, sign, magnitude @ ..] | [131, 111, _, _, _, _, sign, magnitude @ ..] => {
                Some((*sign != 0, magnitude))
            }
            _ => None,
        }
    }

    /// The name of an atom that is not Latin-1.
    fn atom(&self) -> Option<&str> {
        match as_bytes(&self.0) {
            // SMALL_ATOM_UTF8_EXT and ATOM_UTF8_EXT
            [131, 119, _, name @ ..] | [131, 118, _, _, name @ ..] => {
                std::str::from_utf8(name).ok()
            }
            _ => None,
        }
    }
}

impl Drop for External {
    fn drop(&mut self) {
        // SAFETY: made by `enif_term_to_binary` and released only here.
        unsafe { enif_release_binary(&mut self.0) }
    }
}
