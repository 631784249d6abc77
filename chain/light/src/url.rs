//! Where a node is asked.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Letters of an address.
const MAX_LETTERS: usize = 260;

/// The address of a node's JSON-RPC: `http://HOST:PORT`, with the feature `https` also `https://HOST:PORT`. What it answers is
/// proven or of no consequence, so nothing of it needs to be genuine. It has no path, no user and no password: nothing in it is
/// secret, and it may stand in any error.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Url(String);

/// Why something is no address of a node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no address of a node: {why}")]
pub struct UrlError {
    /// What was given.
    pub given: String,
    /// What is wrong.
    pub why: &'static str,
}

impl Url {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(given: &str) -> Result<Self, UrlError> {
        let wrong = |why| UrlError { given: given.chars().take(MAX_LETTERS).collect(), why };
        if given.len() > MAX_LETTERS {
            return Err(wrong("it is too long"));
        }
        let (scheme, place) = given.split_once("://").ok_or_else(|| wrong("want http://HOST:PORT"))?;
        match scheme {
            "http" => {}
            "https" if cfg!(feature = "https") => {}
            "https" => return Err(wrong("https is not spoken here; use http, every answer is proven anyway")),
            _ => return Err(wrong("want http://HOST:PORT")),
        }
        let place = place.strip_suffix('/').unwrap_or(place);
        let (host, port) = place.rsplit_once(':').ok_or_else(|| wrong("want http://HOST:PORT"))?;
        let named = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_';
        let numbered = |host: &str| host.parse::<std::net::Ipv6Addr>().is_ok();
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).is_some_and(numbered);
        if !bracketed && (host.is_empty() || !host.chars().all(named)) {
            return Err(wrong("want a name or an address between :// and the port"));
        }
        match port.parse::<u16>() {
            Ok(1..) if port.bytes().all(|b| b.is_ascii_digit()) => Ok(Self(format!("{scheme}://{place}"))),
            _ => Err(wrong("want a port from 1 to 65535 at its end")),
        }
    }
}

impl TryFrom<String> for Url {
    type Error = UrlError;

    fn try_from(given: String) -> Result<Self, UrlError> {
        given.parse()
    }
}

impl From<Url> for String {
    fn from(url: Url) -> Self {
        url.0
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_addresses_are_taken() {
        for good in ["http://127.0.0.1:8545", "http://node.example:1", "http://[::1]:65535"] {
            assert_eq!(good.parse::<Url>().unwrap().as_str(), good);
            assert_eq!(format!("{good}/").parse::<Url>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "http://",
            "http://a",
            "http://a:",
            "http://a:0",
            "http://a:65536",
            "http://a:+1",
            "http://:1",
            "ftp://a:1",
            "http://user@a:1",
            "http://a:1/path",
            "http://a:1?x",
            "http://a b:1",
            "http://[::g]:1",
            "https://a:1/key",
            "https://user:word@a:1",
            "https://a",
            "://a:1",
            "http://a:1//",
        ] {
            assert!(bad.parse::<Url>().is_err(), "{bad}");
        }
        match "https://a:1".parse::<Url>() {
            Ok(url) => assert!(cfg!(feature = "https") && url.as_str() == "https://a:1"),
            Err(error) => {
                assert!(!cfg!(feature = "https") && error.to_string().contains("https is not spoken"), "{error}");
            }
        }
        assert!(format!("http://{}:1", "a".repeat(300)).parse::<Url>().unwrap_err().to_string().contains("too long"));
    }
}
