//! A term as an owned tree, for rare calls, where the cost of a copy does not matter.

use sockeye_etf::{Cursor, Malformed, Token};

/// A term. `P` names a process.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<P> {
    /// An atom.
    Atom(Box<str>),
    /// An integer of 64 bits.
    Integer(i64),
    /// A float.
    Float(f64),
    /// A binary.
    Binary(Box<[u8]>),
    /// A proper list.
    List(Vec<Value<P>>),
    /// A tuple.
    Tuple(Vec<Value<P>>),
    /// A map.
    Map(Vec<(Value<P>, Value<P>)>),
    /// A process.
    Process(P),
    /// Anything else.
    Other,
}

/// The term is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadArg;

impl From<Malformed> for BadArg {
    fn from(Malformed: Malformed) -> Self {
        BadArg
    }
}

/// What came of reading a term.
pub type Read<T> = Result<T, BadArg>;

/// What a value can be read as.
pub trait FromValue<P>: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// It is something else, or out of range.
    fn from_value(value: &Value<P>) -> Read<Self>;
}

impl<P> Value<P> {
    /// Whether it is the atom of this name.
    pub fn is(&self, name: &str) -> bool {
        matches!(self, Value::Atom(atom) if **atom == *name)
    }

    /// Reads it.
    ///
    /// # Errors
    /// It is something else, or out of range.
    pub fn read<T: FromValue<P>>(&self) -> Read<T> {
        T::from_value(self)
    }

    /// The name of an atom.
    ///
    /// # Errors
    /// It is none.
    pub fn atom(&self) -> Read<&str> {
        match self {
            Value::Atom(name) => Ok(name),
            _ => Err(BadArg),
        }
    }

    /// The bytes of a binary.
    ///
    /// # Errors
    /// It is none.
    pub fn bytes(&self) -> Read<&[u8]> {
        match self {
            Value::Binary(bytes) => Ok(bytes),
            _ => Err(BadArg),
        }
    }

    /// The elements of a list.
    ///
    /// # Errors
    /// It is none.
    pub fn list(&self) -> Read<&[Value<P>]> {
        match self {
            Value::List(elements) => Ok(elements),
            _ => Err(BadArg),
        }
    }

    /// The elements of a tuple.
    ///
    /// # Errors
    /// It is none.
    pub fn tuple(&self) -> Read<&[Value<P>]> {
        match self {
            Value::Tuple(elements) => Ok(elements),
            _ => Err(BadArg),
        }
    }

    /// What a map has under the atom of this name, if anything.
    pub fn find(&self, key: &str) -> Option<&Value<P>> {
        match self {
            Value::Map(pairs) => pairs.iter().find(|(k, _)| k.is(key)).map(|(_, v)| v),
            _ => None,
        }
    }

    /// What a map has under the atom of this name.
    ///
    /// # Errors
    /// It has nothing there, or is none.
    pub fn get(&self, key: &str) -> Read<&Value<P>> {
        self.find(key).ok_or(BadArg)
    }

    /// The same, read.
    ///
    /// # Errors
    /// As for `get` and `read`.
    pub fn get_as<T: FromValue<P>>(&self, key: &str) -> Read<T> {
        self.get(key)?.read()
    }
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl<P> FromValue<P> for $type {
            fn from_value(value: &Value<P>) -> Read<Self> {
                match value {
                    Value::Integer(n) => Self::try_from(*n).map_err(|_| BadArg),
                    _ => Err(BadArg),
                }
            }
        }
    )*};
}

integers!(u8, u16, u32, u64, usize, i16, i32, i64);

impl<P> FromValue<P> for bool {
    fn from_value(value: &Value<P>) -> Read<Self> {
        match value {
            Value::Atom(name) if &**name == "true" => Ok(true),
            Value::Atom(name) if &**name == "false" => Ok(false),
            _ => Err(BadArg),
        }
    }
}

impl<P> FromValue<P> for f64 {
    fn from_value(value: &Value<P>) -> Read<Self> {
        match value {
            Value::Float(v) => Ok(*v),
            _ => Err(BadArg),
        }
    }
}

impl<P> FromValue<P> for String {
    fn from_value(value: &Value<P>) -> Read<Self> {
        String::from_utf8(value.bytes()?.to_vec()).map_err(|_| BadArg)
    }
}

impl<P, T: FromValue<P>> FromValue<P> for Vec<T> {
    fn from_value(value: &Value<P>) -> Read<Self> {
        value.list()?.iter().map(T::from_value).collect()
    }
}

impl<P, A: FromValue<P>, B: FromValue<P>> FromValue<P> for (A, B) {
    fn from_value(value: &Value<P>) -> Read<Self> {
        match value.tuple()? {
            [a, b] => Ok((a.read()?, b.read()?)),
            _ => Err(BadArg),
        }
    }
}

/// Levels of a term that is read; what is deeper is [`Value::Other`].
const DEEPEST: usize = 64;

/// Reads the next term of external term format. What has no place in a tree, an improper list for one, is [`Value::Other`].
///
/// # Errors
/// The bytes are no term.
pub fn read_etf<P>(
    cursor: &mut Cursor<'_>,
    process: &mut impl FnMut(&[u8]) -> P,
) -> Result<Value<P>, Malformed> {
    read(cursor, process, DEEPEST)
}

fn read<P>(
    cursor: &mut Cursor<'_>,
    process: &mut impl FnMut(&[u8]) -> P,
    deep: usize,
) -> Result<Value<P>, Malformed> {
    let Some(deeper) = deep.checked_sub(1) else {
        cursor.term()?;
        return Ok(Value::Other);
    };
    Ok(match cursor.token()? {
        Token::Integer(n) => Value::Integer(n),
        Token::Float(v) => Value::Float(v),
        Token::Atom(name) => Value::Atom(name.text()?.into()),
        Token::Binary(bytes) => Value::Binary(bytes.into()),
        Token::Nil => Value::List(Vec::new()),
        Token::Bytes(bytes) => {
            Value::List(bytes.iter().map(|b| Value::Integer((*b).into())).collect())
        }
        Token::List(n) => {
            let elements = several(cursor, process, deeper, n)?;
            match read(cursor, process, deeper)? {
                Value::List(tail) if tail.is_empty() => Value::List(elements),
                _ => Value::Other,
            }
        }
        Token::Tuple(n) => Value::Tuple(several(cursor, process, deeper, n)?),
        Token::Map(n) => {
            let pair = |_| {
                let key = read(cursor, process, deeper)?;
                Ok((key, read(cursor, process, deeper)?))
            };
            Value::Map((0..n).map(pair).collect::<Result<_, _>>()?)
        }
        Token::Pid(bytes) => Value::Process(process(bytes)),
        Token::Big(..) | Token::Other(_) => Value::Other,
    })
}

fn several<P>(
    cursor: &mut Cursor<'_>,
    process: &mut impl FnMut(&[u8]) -> P,
    deep: usize,
    n: u32,
) -> Result<Vec<Value<P>>, Malformed> {
    (0..n).map(|_| read(cursor, process, deep)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn value(bytes: &[u8]) -> Value<()> {
        let mut cursor = Cursor::new(bytes);
        let value = read_etf(&mut cursor, &mut |_| ()).unwrap();
        assert!(cursor.is_at_end());
        value
    }

    #[test]
    fn terms_without_a_place_in_a_tree_are_skipped() {
        // [1 | 2]
        assert_eq!(value(&[108, 0, 0, 0, 1, 97, 1, 97, 2]), Value::Other);
        let nested = |levels: usize| [&[104, 1].repeat(levels)[..], &[97, 7]].concat();
        let mut fits = &value(&nested(DEEPEST - 1));
        while let Value::Tuple(parts) = fits {
            fits = &parts[0];
        }
        assert_eq!(*fits, Value::Integer(7));
        let mut deeper = &value(&nested(DEEPEST));
        while let Value::Tuple(parts) = deeper {
            deeper = &parts[0];
        }
        assert_eq!(*deeper, Value::Other);
        value(&nested(if cfg!(miri) { 10_000 } else { 1_000_000 }));
    }
}
