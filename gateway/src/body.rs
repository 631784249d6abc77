//! Reading a request's JSON within limits: nothing larger than the body itself is ever built from it, however it is made.

use std::cell::Cell;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::openai::{Input, MAX_INPUTS};

/// Most fields of a request.
const MAX_FIELDS: usize = 64;
/// Most bytes of a field's name that are looked at.
const MAX_NAME: usize = 256;

/// The fields of a body that is a JSON object; a field that is given twice counts as the last of the two.
#[derive(Debug, Default)]
pub struct Fields {
    /// Values that are no lists, by name.
    pub scalars: Vec<(String, Scalar)>,
    /// The field `input`.
    pub input: Option<Inputs>,
}

/// The value of a field that is neither a list nor an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// `null`.
    Null,
    /// A string.
    Text(String),
    /// A whole number that is not negative.
    Count(u64),
    /// Anything else.
    Other,
}

/// What `input` holds.
#[derive(Debug, PartialEq)]
pub enum Inputs {
    /// One text, or one list of token numbers.
    One(Input),
    /// Several.
    Many(Vec<Input>),
    /// Neither, in words.
    Wrong(&'static str),
    /// More than [`MAX_INPUTS`].
    TooMany,
}

impl Fields {
    /// The value of a field, if it was given.
    pub fn scalar(&self, name: &str) -> Option<&Scalar> {
        self.scalars.iter().rev().find(|(given, _)| given == name).map(|(_, value)| value)
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Fields::default();
                while let Some(mut name) = map.next_key::<String>()? {
                    if name == "input" {
                        fields.input = Some(map.next_value()?);
                        continue;
                    }
                    if fields.scalars.len() == MAX_FIELDS {
                        return Err(serde::de::Error::custom(format!("more than {MAX_FIELDS} fields")));
                    }
                    let end = name.floor_char_boundary(MAX_NAME);
                    name.truncate(end);
                    fields.scalars.push((name, map.next_value()?));
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

/// The functions of a visitor for what is not a list, each giving a value.
macro_rules! visit {
    ($($name:ident($value:ident: $kind:ty) => $made:expr;)*) => {
        $(fn $name<E>(self, $value: $kind) -> Result<Self::Value, E> { Ok($made) })*
    };
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ScalarVisitor;
        impl<'de> Visitor<'de> for ScalarVisitor {
            type Value = Scalar;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            visit! {
                visit_str(text: &str) => Scalar::Text(text.to_owned());
                visit_u64(count: u64) => Scalar::Count(count);
                visit_i64(_number: i64) => Scalar::Other;
                visit_f64(_number: f64) => Scalar::Other;
                visit_bool(_truth: bool) => Scalar::Other;
            }
            fn visit_unit<E>(self) -> Result<Scalar, E> {
                Ok(Scalar::Null)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Scalar, A::Error> {
                drain(list).map(|()| Scalar::Other)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Scalar::Other)
            }
        }
        deserializer.deserialize_any(ScalarVisitor)
    }
}

/// One element of `input`.
enum Element {
    Text(String),
    Id(u32),
    Ids(Vec<u32>),
    Wrong,
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ElementVisitor;
        impl<'de> Visitor<'de> for ElementVisitor {
            type Value = Element;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or token numbers")
            }
            visit! {
                visit_str(text: &str) => Element::Text(text.to_owned());
                visit_u64(id: u64) => u32::try_from(id).map_or(Element::Wrong, Element::Id);
                visit_i64(_number: i64) => Element::Wrong;
                visit_f64(_number: f64) => Element::Wrong;
                visit_bool(_truth: bool) => Element::Wrong;
            }
            fn visit_unit<E>(self) -> Result<Element, E> {
                Ok(Element::Wrong)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Element, A::Error> {
                let mut ids = Vec::new();
                while let Some(id) = list.next_element::<Scalar>()? {
                    match id {
                        Scalar::Count(id) if u32::try_from(id).is_ok() => ids.push(id as u32),
                        _ => return drain(list).map(|()| Element::Wrong),
                    }
                }
                Ok(Element::Ids(ids))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Element, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Element::Wrong)
            }
        }
        deserializer.deserialize_any(ElementVisitor)
    }
}

const FORMS: &str = "'input' must be a string, a list of strings, a list of token numbers or a list of such lists.";

impl<'de> Deserialize<'de> for Inputs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InputsVisitor;
        impl<'de> Visitor<'de> for InputsVisitor {
            type Value = Inputs;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("texts")
            }
            visit! {
                visit_str(text: &str) => Inputs::One(Input::Text(text.to_owned()));
                visit_u64(_number: u64) => Inputs::Wrong(FORMS);
                visit_i64(_number: i64) => Inputs::Wrong(FORMS);
                visit_f64(_number: f64) => Inputs::Wrong(FORMS);
                visit_bool(_truth: bool) => Inputs::Wrong(FORMS);
            }
            fn visit_unit<E>(self) -> Result<Inputs, E> {
                Ok(Inputs::Wrong(FORMS))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Inputs, A::Error> {
                let (mut ids, mut many) = (Vec::new(), Vec::new());
                while let Some(element) = list.next_element::<Element>()? {
                    match element {
                        Element::Id(id) if many.is_empty() => {
                            ids.push(id);
                            continue;
                        }
                        Element::Text(_) | Element::Ids(_) if many.len() == MAX_INPUTS => {
                            return drain(list).map(|()| Inputs::TooMany);
                        }
                        Element::Text(text) if ids.is_empty() => many.push(Input::Text(text)),
                        Element::Ids(tokens) if ids.is_empty() => many.push(Input::Tokens(tokens)),
                        _ => return drain(list).map(|()| Inputs::Wrong(FORMS)),
                    }
                }
                Ok(if ids.is_empty() { Inputs::Many(many) } else { Inputs::One(Input::Tokens(ids)) })
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Inputs, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Inputs::Wrong(FORMS))
            }
        }
        deserializer.deserialize_any(InputsVisitor)
    }
}

/// Reads a JSON object of at most `most` values in all, however deep they lie: text takes no more memory than in the body,
/// but a small value takes many times as much.
///
/// # Errors
/// For what is no JSON object, and for more values.
pub fn object(body: &[u8], most: usize) -> Result<Map<String, Value>, serde_json::Error> {
    let left = Cell::new(most);
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = Counted(&left).deserialize(&mut reader)?;
    reader.end()?;
    match value {
        Value::Object(fields) => Ok(fields),
        _ => Err(serde::de::Error::custom("it is none")),
    }
}

/// Reads a value and counts it and what is in it.
struct Counted<'a>(&'a Cell<usize>);

impl Counted<'_> {
    fn one<E: serde::de::Error>(&self, value: impl Into<Value>) -> Result<Value, E> {
        let left = self.0.get().checked_sub(1).ok_or_else(|| E::custom("it has too many values"))?;
        self.0.set(left);
        Ok(value.into())
    }
}

impl<'de> DeserializeSeed<'de> for Counted<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Counted<'_> {
    type Value = Value;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        self.one(text)
    }
    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Value, E> {
        self.one(number)
    }
    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Value, E> {
        self.one(number)
    }
    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Value, E> {
        self.one(number)
    }
    fn visit_bool<E: serde::de::Error>(self, truth: bool) -> Result<Value, E> {
        self.one(truth)
    }
    fn visit_unit<E: serde::de::Error>(self) -> Result<Value, E> {
        self.one(Value::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(Counted(self.0))? {
            values.push(value);
        }
        self.one(values)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            fields.insert(name, map.next_value_seed(Counted(self.0))?);
        }
        self.one(fields)
    }
}

/// Reads the rest of a list without keeping it.
fn drain<'de, A: SeqAccess<'de>>(mut list: A) -> Result<(), A::Error> {
    while list.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Fields, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn large_structures_are_read_past_and_not_kept() {
        let list = format!("[{}1]", "1,".repeat(100_000));
        let fields = read(&format!(r#"{{"x":{list},"y":{{"a":{list}}},"z":-1,"n":null,"input":[{list}]}}"#)).unwrap();
        assert_eq!(fields.scalar("x"), Some(&Scalar::Other));
        assert_eq!(fields.scalar("y"), Some(&Scalar::Other));
        assert_eq!(fields.scalar("n"), Some(&Scalar::Null));
        assert!(matches!(&fields.input, Some(Inputs::Many(many)) if many.len() == 1));
        let texts = format!(r#"{{"input":[{}""]}}"#, r#""","#.repeat(MAX_INPUTS));
        assert_eq!(read(&texts).unwrap().input, Some(Inputs::TooMany));
        let many = (0..=MAX_FIELDS).map(|i| format!(r#""{i}":1"#)).collect::<Vec<_>>().join(",");
        assert!(read(&format!("{{{many}}}")).unwrap_err().to_string().contains("more than 64 fields"));
        let name = "ä".repeat(10_000);
        assert!(read(&format!(r#"{{"{name}":1}}"#)).unwrap().scalars[0].0.len() <= MAX_NAME);
    }

    #[test]
    fn an_object_has_a_bounded_number_of_values() {
        let text = r#"{"a":[1,-2,2.5,"x",{"b":null}],"c":true}"#;
        let same: Value = serde_json::from_str(text).unwrap();
        assert_eq!(Value::Object(object(text.as_bytes(), 9).unwrap()), same);
        assert!(object(text.as_bytes(), 8).unwrap_err().to_string().contains("too many values"));
        let nested = format!(r#"{{"a":{}{}}}"#, "[".repeat(100), "]".repeat(100));
        assert!(object(nested.as_bytes(), 50).is_err());
        for wrong in ["[]", "7", "{", "{} x", ""] {
            assert!(object(wrong.as_bytes(), 100).is_err(), "{wrong}");
        }
    }

    #[test]
    fn forms_are_not_mixed_and_the_last_of_two_counts() {
        for wrong in ["7", "null", "true", "[1,\"a\"]", "[\"a\",1]", "[[1],2]", "[[\"a\"]]", "[-1]", "[1.5]", "{}"] {
            let input = read(&format!(r#"{{"input":{wrong}}}"#)).unwrap().input;
            assert!(matches!(input, Some(Inputs::Wrong(_))), "{wrong}: {input:?}");
        }
        let fields = read(r#"{"model":"a","input":"x","model":"b","input":[3]}"#).unwrap();
        assert_eq!(fields.scalar("model"), Some(&Scalar::Text("b".into())));
        assert_eq!(fields.input, Some(Inputs::One(Input::Tokens(vec![3]))));
    }
}
