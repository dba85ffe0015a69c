//! How JSON becomes terms, and terms JSON.

use std::collections::HashSet;

use sockeye_json::{Literals, MAX_DEPTH, Null, Objects, Options};

use crate::value::{BadArg, Read, Value};

/// How the JSON of a server becomes terms.
#[derive(Clone, Debug, Default)]
pub struct JsonOptions {
    /// How values are read.
    pub read: Options,
    /// What keys become.
    pub keys: KeyMode,
    /// How literals are written for a VM that reads bytes.
    pub literals: Option<Literals>,
}

/// The numbers that the atoms for JSON's literals have in the VM: those that it has told.
#[derive(Clone, Copy, Debug, Default)]
pub struct AtomNumbers {
    yes: Option<u16>,
    no: Option<u16>,
    /// By their [`Null`].
    nulls: [Option<u16>; 3],
}

impl AtomNumbers {
    /// Those of a map `#{Atom => Number}`.
    ///
    /// # Errors
    /// It is none.
    pub fn of<P>(map: &Value<P>) -> Read<Self> {
        let Value::Map(pairs) = map else {
            return Err(BadArg);
        };
        let mut numbers = Self::default();
        for (atom, number) in pairs {
            let place = match atom.atom()? {
                "true" => &mut numbers.yes,
                "false" => &mut numbers.no,
                _ => numbers.null_mut(null(atom)?),
            };
            *place = Some(number.read()?);
        }
        Ok(numbers)
    }

    fn null_mut(&mut self, null: Null) -> &mut Option<u16> {
        let [first, second, third] = &mut self.nulls;
        match null {
            Null::Null => first,
            Null::Undefined => second,
            Null::Nil => third,
        }
    }

    /// Those of a server with this `null`, if all are known.
    pub fn literals(mut self, null: Null) -> Option<Literals> {
        Some(Literals {
            null: (*self.null_mut(null))?,
            yes: self.yes?,
            no: self.no?,
        })
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Etf, EventWriter};

    type Term = Value<Vec<u8>>;

    fn map(pairs: &[(&str, i64)]) -> Term {
        let pair = |(name, n): &(&str, i64)| (Term::Atom((*name).into()), Term::Integer(*n));
        Term::Map(pairs.iter().map(pair).collect())
    }

    #[test]
    fn literals_are_numbers_where_all_are_known() {
        let numbers = AtomNumbers::of(&map(&[
            ("true", 1),
            ("false", 0),
            ("null", 65_535),
            ("nil", 300),
        ]))
        .unwrap();
        let text = br#"[true,false,null,"true"]"#;
        let written = |null, literals| {
            let mut options = JsonOptions::default();
            options.read.null = null;
            options.literals = literals;
            let mut out = Vec::new();
            Etf(&mut out).json(text, &options).unwrap();
            out
        };
        let end = *b"\x6d\0\0\0\x04true\x6a";
        for (null, bytes) in [(Null::Null, [255, 255]), (Null::Nil, [1, 44])] {
            let mut expected = b"\x6c\0\0\0\x04\x49\0\x01\x49\0\0\x49".to_vec();
            expected.extend(bytes);
            expected.extend(end);
            assert_eq!(written(null, numbers.literals(null)), expected);
        }
        let names = written(Null::Undefined, numbers.literals(Null::Undefined));
        let expected = b"\x6c\0\0\0\x04\x77\x04true\x77\x05false\x77\x09undefined";
        assert_eq!(names, [&expected[..], &end].concat());
        for lacking in [&[("true", 1), ("null", 2)], &[("false", 0), ("null", 2)]] {
            let numbers = AtomNumbers::of(&map(lacking)).unwrap();
            assert_eq!(numbers.literals(Null::Null), None);
        }
    }

    #[test]
    fn invalid_literal_numbers_are_refused() {
        for wrong in [
            map(&[("true", 65_536)]),
            map(&[("true", -1)]),
            map(&[("ok", 1)]),
            Term::Integer(1),
        ] {
            assert!(AtomNumbers::of(&wrong).is_err(), "{wrong:?}");
        }
    }
}
