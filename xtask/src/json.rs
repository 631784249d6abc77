//! A small JSON reader and the little writing that a table needs, so that chores have no
//! dependencies. It reads what our own programs print; it is not for bytes from strangers.

use std::fmt;

/// A JSON value; objects keep the order of their members.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// Any number, as a float
    Number(f64),
    /// A string
    Text(String),
    /// `[…]`
    List(Vec<Value>),
    /// `{…}`
    Object(Vec<(String, Value)>),
}

impl Value {
    /// Reads exactly one value.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader { text, at: 0, depth: 0 };
        let value = reader.value()?;
        reader.space();
        if reader.at == text.len() { Ok(value) } else { Err(reader.wrong("the end")) }
    }

    /// A member of an object.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Object(members) => members.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// A member that is a string.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_text()
    }

    /// What a string says.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The values of a list.
    pub fn list(&self) -> Option<&[Value]> {
        match self {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// A member that is a number.
    pub fn number(&self, key: &str) -> Option<f64> {
        match self.get(key)? {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// A member that is a truth value.
    pub fn truth(&self, key: &str) -> Option<bool> {
        match self.get(key)? {
            Value::Bool(truth) => Some(*truth),
            _ => None,
        }
    }
}

/// In one line; with `{:#}`, each member of an object on its own.
impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let indent = out.alternate().then_some(0);
        self.write(out, indent)
    }
}

impl Value {
    fn write(&self, out: &mut fmt::Formatter<'_>, indent: Option<usize>) -> fmt::Result {
        let within = indent.map(|depth| depth + 2);
        let line = |out: &mut fmt::Formatter<'_>, depth: Option<usize>| match depth {
            Some(depth) => write!(out, "\n{:depth$}", ""),
            None => Ok(()),
        };
        match self {
            Value::Null => out.write_str("null"),
            Value::Bool(truth) => write!(out, "{truth}"),
            Value::Number(number) => write!(out, "{number}"),
            Value::Text(text) => write_text(out, text),
            Value::List(items) => {
                out.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    out.write_str(if index == 0 { "" } else { "," })?;
                    line(out, within)?;
                    item.write(out, within)?;
                }
                line(out, indent.filter(|_| !items.is_empty()))?;
                out.write_str("]")
            }
            Value::Object(members) => {
                out.write_str("{")?;
                for (index, (name, value)) in members.iter().enumerate() {
                    out.write_str(if index == 0 { "" } else { "," })?;
                    line(out, within)?;
                    write_text(out, name)?;
                    out.write_str(if indent.is_some() { ": " } else { ":" })?;
                    value.write(out, within)?;
                }
                line(out, indent.filter(|_| !members.is_empty()))?;
                out.write_str("}")
            }
        }
    }
}

fn write_text(out: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    out.write_str("\"")?;
    for letter in text.chars() {
        match letter {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            letter if letter < ' ' => write!(out, "\\u{:04x}", letter as u32)?,
            letter => write!(out, "{letter}")?,
        }
    }
    out.write_str("\"")
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
}

impl Reader<'_> {
    fn value(&mut self) -> Result<Value, String> {
        self.space();
        if self.depth > 64 {
            return Err("nested too deeply".to_owned());
        }
        match self.peek() {
            Some('{') => self.object(),
            Some('[') => self.list(),
            Some('"') => self.string().map(Value::Text),
            Some('t') => self.word("true", Value::Bool(true)),
            Some('f') => self.word("false", Value::Bool(false)),
            Some('n') => self.word("null", Value::Null),
            _ => self.number(),
        }
    }

    fn object(&mut self) -> Result<Value, String> {
        let mut members = Vec::new();
        self.open('{')?;
        while !self.close('}', members.is_empty())? {
            self.space();
            let name = self.string()?;
            self.space();
            self.expect(':')?;
            members.push((name, self.value()?));
        }
        Ok(Value::Object(members))
    }

    fn list(&mut self) -> Result<Value, String> {
        let mut items = Vec::new();
        self.open('[')?;
        while !self.close(']', items.is_empty())? {
            items.push(self.value()?);
        }
        Ok(Value::List(items))
    }

    fn open(&mut self, bracket: char) -> Result<(), String> {
        self.depth += 1;
        self.expect(bracket)
    }

    /// True at the closing bracket; otherwise steps over the comma between members.
    fn close(&mut self, bracket: char, first: bool) -> Result<bool, String> {
        self.space();
        if self.peek() == Some(bracket) {
            self.depth -= 1;
            self.expect(bracket)?;
            return Ok(true);
        }
        if !first {
            self.expect(',')?;
        }
        Ok(false)
    }

    fn string(&mut self) -> Result<String, String> {
        self.expect('"')?;
        let mut text = String::new();
        loop {
            let letter = self.next()?;
            match letter {
                '"' => return Ok(text),
                '\\' => match self.next()? {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    'r' => text.push('\r'),
                    'b' => text.push('\u{8}'),
                    'f' => text.push('\u{c}'),
                    'u' => {
                        let digits: String = (0..4).map(|_| self.next()).collect::<Result<_, _>>()?;
                        let code = u32::from_str_radix(&digits, 16).map_err(|error| error.to_string())?;
                        text.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                    }
                    other => text.push(other),
                },
                letter => text.push(letter),
            }
        }
    }

    fn number(&mut self) -> Result<Value, String> {
        let rest = &self.text[self.at..];
        let length = rest.find(|letter: char| !"+-.eE0123456789".contains(letter)).unwrap_or(rest.len());
        let number = rest[..length].parse().map_err(|_| self.wrong("a value"))?;
        self.at += length;
        Ok(Value::Number(number))
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, String> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.wrong(word));
        }
        self.at += word.len();
        Ok(value)
    }

    fn space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Result<char, String> {
        let letter = self.peek().ok_or_else(|| self.wrong("more"))?;
        self.at += letter.len_utf8();
        Ok(letter)
    }

    fn expect(&mut self, letter: char) -> Result<(), String> {
        if self.peek() != Some(letter) {
            return Err(self.wrong(&format!("{letter:?}")));
        }
        self.at += letter.len_utf8();
        Ok(())
    }

    fn wrong(&self, wanted: &str) -> String {
        format!("expected {wanted} at byte {}", self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::Value;

    #[test]
    fn reads_and_writes_an_object() {
        let text = r#"{"a":1.5,"b":[true,null,-2],"c":{"d":"x\"y"},"e":[]}"#;
        let value = Value::parse(text).unwrap();
        assert_eq!(value.number("a"), Some(1.5));
        assert_eq!(value.get("c").and_then(|c| c.get("d")), Some(&Value::Text("x\"y".into())));
        assert_eq!(value.to_string(), text);
        let lines = format!("{value:#}");
        assert!(lines.starts_with("{\n  \"a\": 1.5,\n  \"b\": [\n    true,\n") && lines.ends_with("\n  \"e\": []\n}"));
        assert_eq!(Value::parse(&lines), Ok(value));
    }

    #[test]
    fn refuses_what_is_not_json() {
        for text in ["", "{", "[1,]", "{\"a\" 1}", "tru", "1 2", "\"open"] {
            assert!(Value::parse(text).is_err(), "{text}");
        }
    }
}
