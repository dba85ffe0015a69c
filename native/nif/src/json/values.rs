//! The values of a JSON text as terms, built where they stay.
//!
//! Keys come again and again: short ones are made once for the texts of a call, and shared.

use std::cell::RefCell;
use std::mem::MaybeUninit;

use rustler::sys::{
    ErlNifTerm, enif_compare, enif_get_map_size, enif_make_double, enif_make_int64,
    enif_make_map_from_arrays, enif_make_uint64,
};
use sockeye_json::{Keys, Null, Objects, Options, Output, decimal_etf, is_atom};

use crate::atoms;
use crate::json::shapes::{SMALL_MAP, Shapes};
use crate::json::short_key::{ShortKey, short};
use crate::terms::Builder;
use crate::terms::existing::{atom, binary_to_term};
use crate::terms::scheduler::OnScheduler;

/// Short keys that are remembered: a power of 2.
const CACHED: usize = 128;
/// Fewer pairs need too few comparisons to look for their order.
const FEW: usize = 4;
/// Bytes of text that a normal scheduler decodes, whatever they are.
pub(crate) const NORMAL_TEXT: usize = 32 * 1024;
/// Bytes of a text with equal keys in an object that it decodes: sorting 32 KiB of them can take 2 ms.
const NORMAL_TWICE: usize = 8 * 1024;
/// Keys that it makes, and pairs that the VM sorts, for a longer text: up to 0.12 us each.
const NORMAL_STEPS: usize = 5000;
/// Terms that a stack keeps room for.
const KEPT: usize = 64 * 1024;

#[derive(Clone, Copy)]
struct CachedKey {
    key: ShortKey,
    /// Of which context: terms of others belong to other environments.
    context: u64,
    term: Option<ErlNifTerm>,
}

/// Working space, reused from text to text.
pub(crate) struct DecodeSpace {
    /// Values of the open lists and maps, innermost last.
    values: Vec<ErlNifTerm>,
    /// Keys of the open maps, likewise.
    keys: Vec<ErlNifTerm>,
    cache: [CachedKey; CACHED],
    shapes: Shapes,
    /// The number of the newest context.
    context: u64,
}

const NONE: CachedKey = CachedKey {
    key: ShortKey::EMPTY,
    context: 0,
    term: None,
};

thread_local! {
    static SPACE: RefCell<DecodeSpace> = const {
        RefCell::new(DecodeSpace {
            values: Vec::new(),
            keys: Vec::new(),
            cache: [NONE; CACHED],
            shapes: Shapes::new(),
            context: 0,
        })
    };
}

/// What may be spent on a text.
#[derive(Clone, Copy)]
pub(crate) struct Budget {
    /// Whether an object may have a key twice.
    may_repeat: bool,
    /// Keys to make, and pairs to sort.
    steps: usize,
}

/// What the texts of one call share: the environment of their terms, keys, working space.
pub(crate) struct DecodeContext<'a> {
    pub(crate) b: Builder<'a>,
    on: OnScheduler<'a>,
    /// For integers that only external term format can write.
    pub(crate) scratch: &'a mut Vec<u8>,
    /// On a normal scheduler.
    on_normal_scheduler: bool,
    /// A text was more work than that: it is to be decoded where there is time.
    pub(crate) gave_up: bool,
    number: u64,
}

impl<'a> DecodeContext<'a> {
    /// `scratch` is working space, reused from call to call.
    pub(crate) fn new(b: Builder<'a>, on: OnScheduler<'a>, scratch: &'a mut Vec<u8>) -> Self {
        let number = SPACE.with_borrow_mut(|space| {
            space.context += 1;
            space.context
        });
        DecodeContext {
            b,
            on,
            scratch,
            on_normal_scheduler: false,
            gave_up: false,
            number,
        }
    }

    /// On a normal scheduler.
    pub(crate) fn on_normal_scheduler(mut self) -> Self {
        self.on_normal_scheduler = true;
        self
    }

    /// What may be spent on a text beside reading it.
    pub(crate) fn budget(&self, text: &str) -> Budget {
        Budget {
            may_repeat: !self.on_normal_scheduler || text.len() <= NORMAL_TWICE,
            steps: if self.on_normal_scheduler && text.len() > NORMAL_TEXT {
                NORMAL_STEPS
            } else {
                usize::MAX
            },
        }
    }
}

/// Lends this thread's space to the next text.
pub(crate) fn with_space<T>(work: impl FnOnce(&mut DecodeSpace) -> T) -> T {
    SPACE.with_borrow_mut(|space| {
        space.values.clear();
        space.keys.clear();
        let result = work(space);
        if space.values.capacity().max(space.keys.capacity()) > KEPT {
            space.values = Vec::new();
            space.keys = Vec::new();
        }
        result
    })
}

/// The values of one text.
pub(crate) struct TermOutput<'a> {
    b: Builder<'a>,
    on: OnScheduler<'a>,
    space: &'a mut DecodeSpace,
    /// What `space` remembers is of use if it has this number.
    context: u64,
    null: ErlNifTerm,
    objects: Objects,
    scratch: &'a mut Vec<u8>,
    /// Whether all keys of the innermost map, so far, are ones that are remembered.
    are_shared: bool,
    budget: Budget,
    /// It was not enough: what was built is not what the text says.
    pub(crate) is_spent: bool,
}

impl<'a> TermOutput<'a> {
    pub(crate) fn new(
        context: &'a mut DecodeContext<'_>,
        options: &Options,
        space: &'a mut DecodeSpace,
        budget: Budget,
    ) -> Self {
        let b = context.b;
        let null = match options.null {
            Null::Null => atoms::null(),
            Null::Undefined => atoms::undefined(),
            Null::Nil => atoms::nil(),
        };
        TermOutput {
            b,
            on: context.on,
            space,
            context: context.number,
            null: b.atom(null),
            objects: options.objects,
            scratch: context.scratch,
            are_shared: true,
            budget,
            is_spent: false,
        }
    }

    /// Whether there is so much left.
    #[inline]
    fn spend(&mut self, steps: usize) -> bool {
        let left = self.budget.steps.checked_sub(steps);
        self.is_spent |= left.is_none();
        self.budget.steps = left.unwrap_or_default();
        left.is_some()
    }

    /// The value of the whole text.
    pub(crate) fn finish(&mut self) -> Option<ErlNifTerm> {
        self.space.values.pop()
    }

    #[inline]
    fn mark(&self) -> Mark {
        Mark {
            values: self.space.values.len(),
            keys: self.space.keys.len(),
            are_shared: self.are_shared,
        }
    }

    #[inline]
    fn push(&mut self, term: ErlNifTerm) {
        self.space.values.push(term);
    }

    fn make_key<K: Keys>(&mut self, key: &str, keys: &mut K) -> ErlNifTerm {
        if !self.spend(1) {
            return self.null;
        }
        let made = if is_atom(key, keys) {
            atom(self.b.env, key)
        } else {
            None
        };
        made.unwrap_or_else(|| self.b.binary(key.as_bytes()))
    }

    /// The last value of each key, with its key, in the order of the text.
    ///
    /// Sorting: a map that grows pair by pair would leave many times its size behind.
    #[cold]
    fn last_of_each(&self, keys: usize, values: usize) -> (Vec<ErlNifTerm>, Vec<ErlNifTerm>) {
        let keys = self.space.keys.get(keys..).unwrap_or_default();
        let values = self.space.values.get(values..).unwrap_or_default();
        let mut pairs: Vec<_> = keys.iter().zip(values).enumerate().collect();
        // SAFETY: compares two terms of the environment.
        let compare = |a: ErlNifTerm, b: ErlNifTerm| unsafe { enif_compare(a, b) }.cmp(&0);
        // Stable, and the last of equal keys comes first, which is the one that stays.
        pairs.reverse();
        pairs.sort_by(|a, b| compare(*a.1.0, *b.1.0));
        pairs.dedup_by(|a, b| compare(*a.1.0, *b.1.0).is_eq());
        pairs.sort_unstable_by_key(|(place, _)| *place);
        pairs.into_iter().map(|(_, (k, v))| (*k, *v)).unzip()
    }

    /// An object as a list of pairs; none if a key comes twice and may not. The map that tells is
    /// dropped.
    #[cold]
    fn pairs(&mut self, keys: usize, values: usize) -> Option<ErlNifTerm> {
        if !self.spend(self.space.keys.len() - keys) {
            return None;
        }
        let k = self.space.keys.get(keys..).unwrap_or_default();
        let v = self.space.values.get(values..).unwrap_or_default();
        match map_of(self.b, self.on, k, v) {
            Some(_) => Some(self.pairs_of(k, v)),
            None if self.budget.may_repeat => {
                let (k, v) = self.last_of_each(keys, values);
                Some(self.pairs_of(&k, &v))
            }
            None => None,
        }
    }

    /// `{[{Key, Value}]}`
    fn pairs_of(&self, keys: &[ErlNifTerm], values: &[ErlNifTerm]) -> ErlNifTerm {
        let pairs = keys.iter().zip(values);
        let pairs: Vec<_> = pairs.map(|(k, v)| self.b.tuple([*k, *v])).collect();
        self.b.tuple([self.b.list(&pairs)])
    }

    /// An object as a map; none if a key comes twice and may not.
    #[inline]
    fn map(&mut self, keys: usize, values: usize) -> Option<ErlNifTerm> {
        let k = self.space.keys.get(keys..).unwrap_or_default();
        let v = self.space.values.get(values..).unwrap_or_default();
        // Few are soon in order; of more than these the VM keeps none.
        let has_order = self.are_shared && (FEW..=SMALL_MAP).contains(&k.len());
        if has_order && let Some((k, v)) = self.space.shapes.in_order(self.context, k, v) {
            return map_of(self.b, self.on, k, &v);
        }
        let len = k.len();
        if len >= FEW && !self.spend(len) {
            return None;
        }
        let k = self.space.keys.get(keys..).unwrap_or_default();
        let v = self.space.values.get(values..).unwrap_or_default();
        // The one thing the VM refuses is a key that comes twice.
        match map_of(self.b, self.on, k, v) {
            None if self.budget.may_repeat => {
                let (k, v) = self.last_of_each(keys, values);
                map_of(self.b, self.on, &k, &v)
            }
            Some(map) if has_order => {
                self.space.shapes.remember(self.b.env, self.context, k, map);
                Some(map)
            }
            made => made,
        }
    }
}

/// A map of these pairs, unless a key comes twice.
#[inline]
#[expect(clippy::disallowed_methods, reason = "on a scheduler")]
fn map_of(
    b: Builder,
    _: OnScheduler<'_>,
    keys: &[ErlNifTerm],
    values: &[ErlNifTerm],
) -> Option<ErlNifTerm> {
    let len = keys.len().min(values.len());
    let mut map = MaybeUninit::uninit();
    let mut size = 0;
    // SAFETY: both arrays have at least that length and hold terms of the environment; the map
    // and its size are set when the result is not 0.
    unsafe {
        let (keys, values) = (keys.as_ptr(), values.as_ptr());
        if enif_make_map_from_arrays(b.env, keys, values, len, map.as_mut_ptr()) == 0 {
            return None;
        }
        let map = map.assume_init();
        // Beyond these the VM drops the earlier ones instead, and what is left may then be
        // a map that it does not take for equal to others.
        let whole =
            len <= SMALL_MAP || (enif_get_map_size(b.env, map, &mut size) != 0 && size == len);
        whole.then_some(map)
    }
}

/// What outer lists and maps have.
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    values: usize,
    keys: usize,
    are_shared: bool,
}

impl Output for TermOutput<'_> {
    type Mark = Mark;

    fn null(&mut self, _name: &'static str) {
        self.push(self.null);
    }

    fn boolean(&mut self, v: bool) {
        let atom = if v { atoms::true_() } else { atoms::false_() };
        self.push(self.b.atom(atom));
    }

    #[inline]
    fn unsigned(&mut self, v: u64) {
        // SAFETY: `env` is valid.
        self.push(unsafe { enif_make_uint64(self.b.env, v) });
    }

    #[inline]
    fn negative(&mut self, v: i64) {
        // SAFETY: `env` is valid.
        self.push(unsafe { enif_make_int64(self.b.env, v) });
    }

    #[inline]
    fn float(&mut self, v: f64) {
        // SAFETY: `env` is valid; the parser gives finite floats only.
        self.push(unsafe { enif_make_double(self.b.env, v) });
    }

    #[cold]
    fn decimal(&mut self, negative: bool, digits: &[u8]) {
        self.scratch.clear();
        decimal_etf(self.scratch, negative, digits);
        let term = binary_to_term(self.b.env, self.scratch, 0);
        self.push(term.unwrap_or(self.null));
    }

    #[inline]
    fn string(&mut self, v: &str) {
        self.push(self.b.binary(v.as_bytes()));
    }

    #[inline]
    fn key<K: Keys>(&mut self, key: &str, keys: &mut K) {
        let term = match short(key) {
            None => {
                self.are_shared = false;
                self.make_key(key, keys)
            }
            Some(short) => {
                let place = short.hash() % CACHED;
                match self.space.cache.get(place) {
                    Some(&CachedKey {
                        key,
                        context,
                        term: Some(term),
                    }) if key == short && context == self.context => term,
                    _ => {
                        let term = self.make_key(key, keys);
                        let context = self.context;
                        if let Some(cached) = self.space.cache.get_mut(place) {
                            *cached = CachedKey {
                                key: short,
                                context,
                                term: Some(term),
                            };
                        }
                        term
                    }
                }
            }
        };
        self.space.keys.push(term);
    }

    fn open_list(&mut self) -> Mark {
        self.mark()
    }

    fn close_list(&mut self, Mark { values, .. }: Mark, _n: u32) {
        let list = self
            .b
            .list(self.space.values.get(values..).unwrap_or_default());
        self.space.values.truncate(values);
        self.push(list);
    }

    fn open_map(&mut self) -> Mark {
        let mark = self.mark();
        self.are_shared = true;
        mark
    }

    fn close_map(&mut self, mark: Mark, _n: u32) {
        let Mark { values, keys, .. } = mark;
        let map = match self.objects {
            Objects::Map => self.map(keys, values),
            Objects::Pairs => self.pairs(keys, values),
        };
        self.are_shared = mark.are_shared;
        self.is_spent |= map.is_none();
        self.space.values.truncate(values);
        self.space.keys.truncate(keys);
        self.push(map.unwrap_or(self.null));
    }

    fn restart(&mut self) {
        self.space.values.clear();
        self.space.keys.clear();
        self.are_shared = true;
    }
}
