//! Who may come in: the names this node answers to, and the pages in a browser that may ask it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// What browsers are told and held to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Door {
    /// Origins of pages that may ask, such as `https://app.example.org`. `*` is every page.
    pub origins: Vec<String>,
    /// Names by which the node is reached through loopback, as behind a proxy, beside `localhost` and addresses.
    pub hosts: Vec<String>,
}

impl Door {
    /// Every page may ask, as on a chain for development.
    pub fn open() -> Self {
        Self { origins: vec!["*".into()], hosts: vec![] }
    }

    /// What a page at `origin` is told: the value of `Access-Control-Allow-Origin`; nothing if it may not ask.
    pub fn allows<'a>(&'a self, origin: &'a str) -> Option<&'a str> {
        if self.origins.iter().any(|known| known == "*") {
            return Some("*");
        }
        let same = |known: &&String| known.trim_end_matches('/').eq_ignore_ascii_case(origin);
        self.origins.iter().find(same).map(|_| origin)
    }

    /// Whether `host` names this node, for a client that came through loopback. A page whose name was made to point at
    /// this machine would come with its own name.
    pub fn answers_to(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        bare.parse::<IpAddr>().is_ok()
            || bare.eq_ignore_ascii_case("localhost")
            || self.hosts.iter().any(|known| known == "*" || known.eq_ignore_ascii_case(bare))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_pages_and_own_names_are_let_in() {
        let door = Door { origins: vec!["https://app.example.org".into()], hosts: vec!["rpc.example.org".into()] };
        assert_eq!(door.allows("https://app.example.org"), Some("https://app.example.org"));
        for other in ["https://example.org", "null", "", "https://app.example.org.evil.net", "http://app.example.org"] {
            assert_eq!(door.allows(other), None, "{other}");
        }
        assert_eq!(Door::open().allows("null"), Some("*"));
        for own in ["localhost", "localhost:8545", "127.0.0.1:8545", "[::1]:8545", "[::1]", "RPC.example.org:80"] {
            assert!(door.answers_to(own), "{own}");
        }
        for other in ["evil.net", "evil.net:8545", "localhost.evil.net:8545", "127.0.0.1.evil.net", "", ":8545"] {
            assert!(!door.answers_to(other), "{other}");
        }
        assert!(!Door::open().answers_to("evil.net"), "every page is not every name");
    }
}
