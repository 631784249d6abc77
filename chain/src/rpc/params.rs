//! Parameters of a request: a list, read one after the other. Lists from outside are counted while they are read.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::error::{self, RpcResult};

/// Parameters of one request; more are refused.
const MAX_PARAMS: usize = 16;

/// The parameters of a request.
#[derive(Clone, Copy)]
pub struct Params<'a>(pub(super) Option<&'a RawValue>);

impl<'a> Params<'a> {
    /// The parameters, to be read one after the other.
    pub fn sequence(self) -> Sequence<'a> {
        let list = match self.0.map(RawValue::get) {
            None | Some("null") => Ok(vec![]),
            Some(text) => serde_json::from_str::<List<&RawValue, MAX_PARAMS>>(text)
                .map(|list| list.0)
                .map_err(|e| format!("invalid params: a list is expected ({e})")),
        };
        match list {
            Ok(items) => Sequence { items: items.into_iter(), place: 0, broken: None },
            Err(why) => Sequence { items: vec![].into_iter(), place: 0, broken: Some(why) },
        }
    }

    /// The only parameter.
    pub fn one<T: DeserializeOwned>(self) -> RpcResult<T> {
        let mut sequence = self.sequence();
        let value = sequence.next()?;
        match sequence.items.next() {
            None => Ok(value),
            Some(_) => Err(error::invalid("too many arguments, want at most 1")),
        }
    }
}

/// Parameters that are read one after the other.
pub struct Sequence<'a> {
    items: std::vec::IntoIter<&'a RawValue>,
    place: usize,
    broken: Option<String>,
}

impl Sequence<'_> {
    /// The next parameter, which must be there.
    pub fn next<T: DeserializeOwned>(&mut self) -> RpcResult<T> {
        let place = self.place;
        self.take()?.ok_or_else(|| error::invalid(format!("missing value for required argument {place}")))
    }

    /// The next parameter; nothing if it is absent or null.
    pub fn optional_next<T: DeserializeOwned>(&mut self) -> RpcResult<Option<T>> {
        Ok(self.take::<Option<T>>()?.flatten())
    }

    fn take<T: DeserializeOwned>(&mut self) -> RpcResult<Option<T>> {
        if let Some(why) = &self.broken {
            return Err(error::invalid(why.clone()));
        }
        let Some(item) = self.items.next() else { return Ok(None) };
        let place = self.place;
        self.place += 1;
        serde_json::from_str(item.get()).map(Some).map_err(|e| {
            let why = format!("invalid argument {place}: {e}");
            if why.contains(TOO_MANY) { error::limit(why) } else { error::invalid(why) }
        })
    }
}

/// Words of whoever gives too many items.
const TOO_MANY: &str = "items in a list";

/// A list of at most `N` items. A longer one is refused before its end is read.
#[derive(Clone, Debug)]
pub struct List<T, const N: usize>(pub Vec<T>);

impl<T, const N: usize> Default for List<T, N> {
    fn default() -> Self {
        Self(vec![])
    }
}

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for List<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Counted<T, const N: usize>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for Counted<T, N> {
            type Value = List<T, N>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {N} items")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = sequence.next_element()? {
                    if items.len() == N {
                        return Err(A::Error::custom(format!("more than {N} {TOO_MANY}")));
                    }
                    items.push(item);
                }
                Ok(List(items))
            }
        }

        deserializer.deserialize_seq(Counted(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_counted_while_it_is_read() {
        assert_eq!(serde_json::from_str::<List<u8, 3>>("[1,2,3]").unwrap().0, [1, 2, 3]);
        // What stands behind the fourth item is no JSON: it is not looked at any more.
        let error = serde_json::from_str::<List<u8, 3>>("[1,2,3,4,!").unwrap_err().to_string();
        assert!(error.contains("more than 3 items"), "{error}");
    }

    #[test]
    fn parameters_are_read_in_order_and_what_is_wrong_is_counted() {
        let raw = RawValue::from_string("[1, null, \"x\"]".into()).unwrap();
        let mut params = Params(Some(&raw)).sequence();
        assert_eq!(params.next::<u8>().unwrap(), 1);
        assert_eq!(params.optional_next::<u8>().unwrap(), None);
        assert_eq!(params.next::<u8>().unwrap_err().code, error::INVALID);
        let missing = Params(None).one::<u8>().unwrap_err();
        assert_eq!(missing.message, "missing value for required argument 0");
        let object = RawValue::from_string("{}".into()).unwrap();
        assert_eq!(Params(Some(&object)).one::<u8>().unwrap_err().code, error::INVALID);
        assert!(Params(Some(&raw)).one::<u8>().unwrap_err().message.contains("at most 1"));
    }
}
