//! What the committee's nodes say to the doctor, and whether they let their operator in.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Finding;
use crate::channel::ChannelError;
use crate::client::{Client, ClientError, ClientOptions};
use crate::committee::Committee;
use crate::config::{Config, ServedCommittee};
use crate::identity::Identity;
use crate::lane::LaneError;

/// Clocks further apart than this make logs and certificates of other tools hard to compare.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);

/// What the nodes of the committee say. About this one's own port, and if it is not running, whether it could listen, is said in
/// `ports`, unless it was there.
pub(super) fn network(
    config: &Config,
    identity: Arc<Identity>,
    committee: &Committee,
    own: u8,
    ports: &mut Vec<Finding>,
) -> Vec<Finding> {
    let client = Client::shared(identity, committee.clone(), ClientOptions::default());
    let mut findings = Vec::new();
    for index in committee.indices() {
        let label = committee.label(index);
        let began = Instant::now();
        let answer = client.node_status(index);
        let micros = began.elapsed().as_micros();
        match answer {
            Ok(status) => {
                let found = format!("{label} answers ({:.1} ms with the handshake)", micros as f64 / 1e3);
                if index == own {
                    *ports = vec![Finding::good("port", found)];
                } else {
                    findings.push(Finding::good("peer", found));
                    findings.push(clock(&label, status.clock_millis, Duration::from_micros(micros as u64)));
                }
            }
            Err(error) if index == own && error.is_other_committee() => {
                *ports = vec![Finding::good("port", format!("{} answers", config.listen))];
                let found = "this node runs without this committee";
                let fix = "restart it: it reads its committee files when it starts";
                findings.push(Finding::problem("committee", found, fix));
            }
            Err(_) if index == own && ports.is_empty() => *ports = free_ports(config),
            Err(_) if index == own => {}
            Err(error) => findings.push(Finding::problem("peer", error.to_string(), fix(&error, &label))),
        }
    }
    findings
}

/// What to do about a node that cannot be talked to: silence, a closed door and a quarrel about keys have other causes.
fn fix(error: &ClientError, label: &str) -> String {
    let lane = match error {
        ClientError::Node(lane) => &**lane,
        _ => return format!("look at the log of {label}"),
    };
    match lane {
        LaneError::Connect { source, .. } => match source.kind() {
            ErrorKind::ConnectionRefused => format!(
                "the machine answers, but nothing listens there: check that {label} is running, and its port in the \
                 committee file"
            ),
            ErrorKind::TimedOut
            | ErrorKind::WouldBlock
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable => {
                let port = if label.contains("(quic://") { "port of UDP" } else { "port" };
                format!(
                    "nothing comes back: check the address of {label} in the committee file, and that the firewalls \
                     between let its {port} through"
                )
            }
            _ => format!("check the address of {label} in the committee file"),
        },
        LaneError::Channel { source: ChannelError::WrongKey, .. } => format!(
            "committee mismatch: another key answers at this address than your committee file has for {label}; compare \
             the file with that operator's"
        ),
        LaneError::Channel { source: ChannelError::NotAdmitted, .. } => format!(
            "committee mismatch: {label} does not know this node's key; compare the committee files, all three keys and \
             their order"
        ),
        LaneError::Failed { .. } if error.is_other_committee() => format!(
            "committee mismatch: {label} has another committee file; compare all keys and their order, and the epoch if the \
             file has one"
        ),
        LaneError::Failed { .. } => format!("{label} runs and says what is wrong: try again, or ask its operator"),
        LaneError::Channel { source: ChannelError::TooSlow, .. } => format!(
            "{label} answers, but not in time: see whether its machine or the network between is overloaded, and try again"
        ),
        LaneError::Channel { source: ChannelError::TimedOut(_), .. } => format!(
            "the connection stands but {label} says nothing: check that a share node listens there, not another program, \
             and look at its log"
        ),
        _ => format!("what answers at this address is no share node of this version: ask the operator of {label}"),
    }
}

/// Whether a node that does not run could take its ports.
fn free_ports(config: &Config) -> Vec<Finding> {
    let listener = TcpListener::bind(config.listen);
    let taken = |setting: &str, address: SocketAddr, error: &std::io::Error| {
        let fix = match setting {
            "listen" => "change `listen` in node.toml and the committee files",
            "listen_quic" => "change `listen_quic` in node.toml and the committee files",
            _ => "change `metrics` in node.toml",
        };
        let found = format!("cannot listen on {address} ({setting}): {error}");
        (found, format!("stop what uses the port (see `ss -ltunp`), or {fix}"))
    };
    let mut findings = vec![match &listener {
        Ok(_) => Finding::good("port", format!("{} is free (the node is not running)", config.listen)),
        Err(error) => {
            let (found, fix) = taken("listen", config.listen, error);
            Finding::problem("port", found, fix)
        }
    }];
    if let Some(address) = config.listen_quic {
        findings.push(match UdpSocket::bind(address) {
            Ok(_) => Finding::good("port", format!("{address} is free for QUIC (UDP)")),
            Err(error) => {
                let (found, fix) = taken("listen_quic", address, &error);
                Finding::problem("port", found, fix)
            }
        });
    }
    // The first port stays taken meanwhile: the same for both would be one too many.
    if let Some(address) = config.metrics {
        findings.push(match TcpListener::bind(address) {
            Ok(_) => Finding::good("metrics", format!("{address} is free")),
            Err(error) => {
                let (found, fix) = taken("metrics", address, &error);
                Finding::problem("metrics", found, fix)
            }
        });
    }
    findings
}

/// Whether the nodes of this home's committees let a key of its operator in, which belongs in the list `list`. Nothing
/// where there is no committee yet or a node is away: [`super::examine`] says that.
pub fn admitted(home: &Path, list: &'static str, identity: Identity) -> Vec<Finding> {
    let Ok(served) = Config::load(home).and_then(|config| config.load_committees()) else { return Vec::new() };
    let identity = Arc::new(identity);
    let found = |one: &ServedCommittee| {
        super::of_committee(admitted_by(&one.committee, list, identity.clone()), one, served.len())
    };
    served.iter().flat_map(found).collect()
}

fn admitted_by(committee: &Committee, list: &'static str, identity: Arc<Identity>) -> Vec<Finding> {
    let key = identity.public();
    let client = Client::shared(identity, committee.clone(), ClientOptions::default());
    let (mut refusing, mut answering) = (Vec::new(), 0);
    for (index, answer) in client.status().into_iter().enumerate() {
        match answer {
            Ok(_) => answering += 1,
            Err(error) if error.is_not_admitted() => refusing.push(committee.label(index as u8)),
            Err(_) => {}
        }
    }
    if !refusing.is_empty() {
        let found = format!("your own key {key} is not admitted by {}", refusing.join(" and "));
        let fix =
            format!("have it added to `{list}` in their node.toml, and the nodes restarted, if you want to use them");
        return vec![Finding::warning(list, found, fix)];
    }
    match answering {
        0 => Vec::new(),
        _ => vec![Finding::good(list, "your own key is admitted by all that answer")],
    }
}

fn clock(label: &str, theirs: u64, took: Duration) -> Finding {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_millis() as u64);
    let apart = Duration::from_millis(now.abs_diff(theirs)).saturating_sub(took);
    if apart <= CLOCK_TOLERANCE {
        Finding::good("clock", format!("agrees with {label}"))
    } else {
        Finding::warning(
            "clock",
            format!("differs from that of {label} by {} s", apart.as_secs()),
            "switch on time synchronisation on both machines (`timedatectl set-ntp true`)",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use crate::config::Parties;
    use crate::wire::{Fail, FailCode};

    #[test]
    fn each_port_of_a_node_that_does_not_run_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let other = taken.local_addr().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = Config::init(dir.path(), free, Some(other), &Parties::default()).unwrap();
        let found = |config: &Config| -> Vec<_> { free_ports(config).iter().map(|f| (f.what, f.level)).collect() };
        assert_eq!(found(&config), [("port", Level::Good), ("metrics", Level::Problem)]);
        let twice = Config { metrics: Some(free), ..config.clone() };
        assert_eq!(found(&twice), [("port", Level::Good), ("metrics", Level::Problem)]);
        let swapped = Config { listen: other, metrics: Some(free), ..config.clone() };
        assert_eq!(found(&swapped), [("port", Level::Problem), ("metrics", Level::Good)]);
        // A port of UDP is another one than that of TCP with its number.
        let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        let quic = |address| Config { listen_quic: Some(address), metrics: None, ..config.clone() };
        assert_eq!(found(&quic(datagrams.local_addr().unwrap())), [("port", Level::Good), ("port", Level::Problem)]);
        assert_eq!(found(&quic(other)), [("port", Level::Good), ("port", Level::Good)]);
    }

    #[test]
    fn silence_is_a_firewall_and_a_closed_door_is_none() {
        let connect = |kind: ErrorKind| {
            let who = "node 2 (198.51.100.2:7700)".to_owned();
            fix(&ClientError::from(LaneError::Connect { who, source: kind.into() }), "node 2")
        };
        for kind in [ErrorKind::TimedOut, ErrorKind::HostUnreachable] {
            assert!(connect(kind).contains("firewalls"), "{kind}");
        }
        let closed = connect(ErrorKind::ConnectionRefused);
        let who = "node 2 (quic://198.51.100.2:7700)".to_owned();
        let silent = LaneError::Connect { who: who.clone(), source: ErrorKind::TimedOut.into() };
        assert!(fix(&ClientError::from(silent), &who).contains("port of UDP"));
        assert!(closed.contains("nothing listens there") && !closed.contains("firewall"), "{closed}");
    }

    #[test]
    fn who_is_slow_or_busy_is_no_other_program_and_no_other_committee() {
        let who = || "node 2".to_owned();
        let channel = |source| LaneError::Channel { who: who(), step: "when asked for its status".into(), source };
        let failed = |code, text: &str| LaneError::Failed { who: who(), fail: Fail { code, text: text.into() } };
        let said = |error: LaneError| fix(&ClientError::from(error), "node 2");
        for slow in
            [channel(ChannelError::TooSlow), failed(FailCode::Busy, "this node has as many connections as it may have")]
        {
            let said = said(slow);
            assert!(said.contains("try again") && !said.contains("version") && !said.contains("mismatch"), "{said}");
        }
        assert!(said(channel(ChannelError::TooSlow)).contains("not in time"));
        assert!(said(failed(FailCode::Refused, crate::lane::OTHER_COMMITTEE)).contains("committee mismatch"));
        assert!(!said(failed(FailCode::Refused, "something else")).contains("committee mismatch"));
        let other = ChannelError::Tls(rustls::Error::DecryptError);
        assert!(said(channel(other)).contains("no share node of this version"));
    }
}
