//! Terms as trees of our own, for options: see [`sockeye_seam::value`].

use rustler::types::atom::Atom;
use rustler::types::map::MapIterator;
use rustler::types::tuple::get_tuple;
use rustler::{Binary, Error, LocalPid, Term};
use sockeye_seam::value::{BadArg, Value};

use crate::terms;

/// A term of which the processes are local.
pub(crate) type Tree = Value<LocalPid>;

/// Levels that are read; what is deeper has no place in options.
const DEEPEST: usize = 64;

/// Reads a term.
pub(crate) fn tree(term: Term<'_>) -> Tree {
    read(term, None, DEEPEST)
}

/// Reads a term, and passes over what maps in it have under this key.
pub(crate) fn tree_without(term: Term<'_>, key: Atom) -> Tree {
    read(term, Some(key), DEEPEST)
}

fn read(term: Term<'_>, without: Option<Atom>, deep: usize) -> Tree {
    let Some(deep) = deep.checked_sub(1) else {
        return Value::Other;
    };
    let several = |terms: Vec<Term<'_>>| {
        let trees = terms.into_iter().map(|term| read(term, without, deep));
        trees.collect::<Vec<_>>()
    };
    let found = if term.is_atom() {
        term.atom_to_string()
            .ok()
            .map(|name| Value::Atom(name.into()))
    } else if term.is_binary() {
        let bytes = Binary::from_term(term).ok();
        bytes.map(|bytes| Value::Binary(bytes.as_slice().into()))
    } else if term.is_list() {
        terms::list(term)
            .ok()
            .map(|list| Value::List(several(list)))
    } else if term.is_tuple() {
        get_tuple(term)
            .ok()
            .map(|parts| Value::Tuple(several(parts)))
    } else if let Some(pairs) = MapIterator::new(term) {
        let is_wanted = |key: &Term<'_>| without.is_none_or(|not| not != *key);
        let pairs = pairs.filter(|(key, _)| is_wanted(key));
        let pairs =
            pairs.map(|(key, value)| (read(key, without, deep), read(value, without, deep)));
        Some(Value::Map(pairs.collect()))
    } else if let Ok(n) = term.decode() {
        Some(Value::Integer(n))
    } else if let Ok(v) = term.decode() {
        Some(Value::Float(v))
    } else {
        term.decode().ok().map(Value::Process)
    };
    found.unwrap_or(Value::Other)
}

/// What is wrong with a tree is wrong with the argument.
pub(crate) fn bad_arg(BadArg: BadArg) -> Error {
    Error::BadArg
}
