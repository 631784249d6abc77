//! Where a node is reached, as committee files say it: `host:port` or `tls://host:port` for TLS over TCP, `quic://host:port`
//! for QUIC.

use std::fmt;

/// What carries the bytes of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// TLS 1.3 over TCP.
    Tls,
    /// QUIC: TLS 1.3 over UDP.
    Quic,
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => "tls",
            Self::Quic => "quic",
        })
    }
}

/// An address of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address<'a> {
    /// What carries the bytes.
    pub carrier: Carrier,
    /// `host:port`.
    pub place: &'a str,
}

impl<'a> Address<'a> {
    /// Reads an address as it is written.
    ///
    /// # Errors
    /// What is wrong with it: its form, a scheme that is not known, or one that this program is built without.
    pub fn parse(text: &'a str) -> Result<Self, String> {
        let (carrier, place) = match text.split_once("://") {
            None => (Carrier::Tls, text),
            Some(("tls", place)) => (Carrier::Tls, place),
            Some(("quic", place)) if cfg!(feature = "quic") => (Carrier::Quic, place),
            Some(("quic", _)) => {
                return Err("asks for QUIC, which this program is built without (feature `quic` of sahara-mpc)".into());
            }
            Some((scheme, _)) => {
                return Err(format!(
                    "begins with `{}://`, which is not known (this program knows `tls://` and `quic://`)",
                    scheme.escape_debug()
                ));
            }
        };
        if !is_place(place) {
            return Err("is not of the form host:port, tls://host:port or quic://host:port".into());
        }
        Ok(Self { carrier, place })
    }
}

/// Whether a text has the form host:port.
fn is_place(text: &str) -> bool {
    let host_and_port = text.rsplit_once(':');
    host_and_port.is_some_and(|(host, port)| {
        !host.is_empty()
            && !host.contains('/')
            && port.bytes().all(|byte| byte.is_ascii_digit())
            && port.parse::<u16>().is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_what_carries_the_bytes_and_tls_over_tcp_where_it_says_nothing() {
        for (text, carrier, place) in [
            ("node.example:7700", Carrier::Tls, "node.example:7700"),
            ("tls://203.0.113.7:7700", Carrier::Tls, "203.0.113.7:7700"),
            ("[2001:db8::1]:7700", Carrier::Tls, "[2001:db8::1]:7700"),
        ] {
            assert_eq!(Address::parse(text), Ok(Address { carrier, place }), "{text}");
        }
        let quic = Address::parse("quic://[2001:db8::1]:7700");
        if cfg!(feature = "quic") {
            assert_eq!(quic, Ok(Address { carrier: Carrier::Quic, place: "[2001:db8::1]:7700" }));
        } else {
            assert!(quic.unwrap_err().contains("built without (feature `quic`"));
        }
        for (text, say) in [
            ("node.example", "host:port"),
            (":7700", "host:port"),
            ("node.example:77000", "host:port"),
            ("node.example:+770", "host:port"),
            ("tls://", "host:port"),
            ("tls://node.example:7700/", "host:port"),
            ("http://node.example:7700", "`http://`, which is not known"),
            ("QUIC://node.example:7700", "`QUIC://`, which is not known"),
        ] {
            let error = Address::parse(text).unwrap_err();
            assert!(error.contains(say), "{text}: {error}");
        }
    }
}
