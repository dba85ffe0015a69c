//! How JSON becomes terms, and terms JSON.

use std::collections::HashSet;

use sockeye_json::{MAX_DEPTH, Null, Objects, Options};

use crate::value::{BadArg, Read, Value};

/// How the JSON of a server becomes terms.
#[derive(Clone, Debug, Default)]
pub struct JsonOptions {
    /// How values are read.
    pub read: Options,
    /// What keys become.
    pub keys: KeyMode,
}

/// What the keys of objects become.
#[derive(Clone, Debug, Default)]
pub enum KeyMode {
    /// Binaries, the default.
    #[default]
    Binary,
    /// Atoms if the VM has them already, else binaries.
    ExistingAtom,
    /// Atoms for these names, else binaries. The atoms must exist.
    Listed(HashSet<Box<str>>),
}

impl JsonOptions {
    /// Those that a map has, the others as by default.
    ///
    /// # Errors
    /// One is unknown, or its value wrong.
    pub fn of<P>(map: &Value<P>) -> Read<Self> {
        let Value::Map(pairs) = map else {
            return Err(BadArg);
        };
        let mut options = Self::default();
        for (key, value) in pairs {
            match key.atom()? {
                "keys" => options.keys = keys(value)?,
                "null" => options.read.null = null(value)?,
                "objects" => options.read.objects = objects(value)?,
                "max_depth" => {
                    let depth: u16 = value.read()?;
                    if !(1..=MAX_DEPTH).contains(&depth) {
                        return Err(BadArg);
                    }
                    options.read.max_depth = depth;
                }
                _ => return Err(BadArg),
            }
        }
        Ok(options)
    }
}

/// The atom that becomes `null`, of a map that may have nothing else.
///
/// # Errors
/// It has, or the atom is another.
pub fn encode_null<P>(map: &Value<P>) -> Read<Null> {
    match map {
        Value::Map(pairs) if pairs.is_empty() => Ok(Null::Null),
        Value::Map(pairs) if pairs.len() == 1 => null(map.get("null")?),
        _ => Err(BadArg),
    }
}

/// The atom for `null`.
///
/// # Errors
/// It is not `null`, `undefined` or `nil`.
pub fn null<P>(value: &Value<P>) -> Read<Null> {
    match value.atom()? {
        "null" => Ok(Null::Null),
        "undefined" => Ok(Null::Undefined),
        "nil" => Ok(Null::Nil),
        _ => Err(BadArg),
    }
}

/// What objects become: `map` or `pairs`.
///
/// # Errors
/// It is neither.
pub(super) fn objects<P>(value: &Value<P>) -> Read<Objects> {
    match value.atom()? {
        "map" => Ok(Objects::Map),
        "pairs" => Ok(Objects::Pairs),
        _ => Err(BadArg),
    }
}

/// What keys become: `binary`, `existing_atom` or `{atoms, [atom()]}`.
///
/// # Errors
/// It is none of them.
pub(super) fn keys<P>(value: &Value<P>) -> Read<KeyMode> {
    if value.is("binary") {
        return Ok(KeyMode::Binary);
    }
    if value.is("existing_atom") {
        return Ok(KeyMode::ExistingAtom);
    }
    match value.tuple()? {
        [tag, names] if tag.is("atoms") => {
            let names = names.list()?.iter().map(|name| name.atom().map(Box::from));
            Ok(KeyMode::Listed(names.collect::<Read<_>>()?))
        }
        _ => Err(BadArg),
    }
}
