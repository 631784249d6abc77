//! `doctor`: looks at everything a node needs before it can serve, and says the fix for what is missing.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::channel::ChannelError;
use crate::client::{Client, ClientError, ClientOptions};
use crate::committee::Committee;
use crate::config::Config;
use crate::identity::Identity;
use crate::lane::LaneError;
use crate::tls::Admission;
use crate::wire::FailCode;

/// Clocks further apart than this make logs and certificates of other tools hard to compare.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Good,
    /// Works, but not well.
    Warning,
    /// The node cannot serve like this.
    Problem,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at: `config`, `key`, `committee`, `clock`, `port`, `peer`, `cpu`, `disk`, `memory`.
    pub what: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub fix: Option<String>,
}

impl Finding {
    fn good(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, level: Level::Good, found: found.into(), fix: None }
    }

    fn warning(what: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what, level: Level::Warning, found: found.into(), fix: Some(fix.into()) }
    }

    fn problem(what: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what, level: Level::Problem, found: found.into(), fix: Some(fix.into()) }
    }
}

/// Examines the node whose home this is. Changes nothing.
pub fn examine(home: &Path) -> Vec<Finding> {
    let config = match Config::load(home) {
        Ok(config) => config,
        Err(error) => {
            let fix = format!("correct the file, or run `sahara operator init --home {}`", home.display());
            return vec![Finding::problem("config", error.to_string(), fix)];
        }
    };
    let mut findings = vec![Finding::good("config", format!("{} is valid", home.join(crate::config::FILE).display()))];
    findings.push(cpu());
    findings.push(disk(&config));
    findings.extend(memory(&config));
    let identity = match config.load_identity() {
        Ok(identity) => identity,
        Err(error) => {
            findings.push(Finding::problem(
                "key",
                error.to_string(),
                "restore the key file, or make a new node with `sahara operator init`",
            ));
            return findings;
        }
    };
    findings.push(Finding::good("key", format!("public key {}", identity.public())));
    findings.push(served("owners", "share models", &config.owners));
    findings.push(served("consumers", "ask", &config.consumers));
    let committee = match config.load_committee() {
        Ok(committee) => committee,
        Err(error) => {
            let fix = "write the three nodes' names, addresses and keys there; all three operators need the same file";
            findings.push(Finding::problem("committee", error.to_string(), fix));
            return findings;
        }
    };
    match committee.index_of(&identity.public()) {
        Some(index) => {
            findings.push(Finding::good("committee", format!("this is {}", committee.label(index))));
            findings.extend(network(&config, Arc::new(identity), &committee, index));
        }
        None => findings.push(Finding::problem(
            "committee",
            format!("this node's key is not in {}", config.committee.display()),
            "add this node's public key there, or use the key file that belongs to the committee",
        )),
    }
    findings
}

/// Whom the node serves: nobody is no fault, but hardly what its operator wants.
fn served(list: &'static str, doing: &str, admission: &Admission) -> Finding {
    match admission {
        Admission::Any => Finding::good(list, format!("anybody may {doing}")),
        Admission::Only(keys) if keys.is_empty() => Finding::warning(
            list,
            format!("nobody may {doing}"),
            format!("add public keys to `{list}` in {} (`sahara whoami` prints them)", crate::config::FILE),
        ),
        Admission::Only(keys) => Finding::good(list, format!("keys that may {doing}: {}", keys.len())),
    }
}

fn cpu() -> Finding {
    #[cfg(target_arch = "x86_64")]
    {
        let missing: Vec<_> = [
            ("avx2", std::arch::is_x86_feature_detected!("avx2")),
            ("aes", std::arch::is_x86_feature_detected!("aes")),
            ("pclmulqdq", std::arch::is_x86_feature_detected!("pclmulqdq")),
        ]
        .into_iter()
        .filter_map(|(name, here)| (!here).then_some(name))
        .collect();
        if missing.is_empty() {
            let wide = [
                ("vaes", std::arch::is_x86_feature_detected!("vaes")),
                ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
            ];
            let wide: Vec<_> = wide.into_iter().filter_map(|(name, here)| here.then_some(name)).collect();
            return Finding::good(
                "cpu",
                format!("avx2, aes, pclmulqdq{}", wide.iter().map(|n| format!(", {n}")).collect::<String>()),
            );
        }
        Finding::warning(
            "cpu",
            format!("the CPU (or the virtual machine) lacks {}", missing.join(", ")),
            "jobs will be several times slower: use a machine of x86-64-v3 or later, or let the hypervisor pass the host's CPU through",
        )
    }
    #[cfg(not(target_arch = "x86_64"))]
    Finding::warning("cpu", "not an x86-64 CPU", "jobs run on portable code, several times slower than with AVX2")
}

fn disk(config: &Config) -> Finding {
    let probe = config.home.join("doctor.partial");
    let written = std::fs::write(&probe, [0; 4096]);
    let _ = std::fs::remove_file(&probe);
    if let Err(error) = written {
        return Finding::problem(
            "disk",
            format!("cannot write to {}: {error}", config.home.display()),
            "check owner, permissions and free space of the directory",
        );
    }
    let wanted = config.limits.pack_megabytes + config.limits.model_megabytes;
    match rustix::fs::statvfs(&config.home) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize) >> 20;
            if free >= wanted {
                Finding::good("disk", format!("{free} MB free"))
            } else {
                Finding::warning(
                    "disk",
                    format!("{free} MB free, the limits allow packs and models of {wanted} MB"),
                    "free some space, or lower limits.pack_megabytes and limits.model_megabytes",
                )
            }
        }
        Err(error) => {
            Finding::warning("disk", format!("cannot ask for free space: {error}"), "look at it by hand with `df`")
        }
    }
}

fn memory(config: &Config) -> Option<Finding> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    let free = line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? >> 10;
    Some(enough(free, config.memory().div_ceil(1 << 20)))
}

/// Whether what is free is what the limits allow the node to take.
fn enough(free: u64, wanted: u64) -> Finding {
    let found = format!("{free} MB available, the limits allow the node {wanted} MB");
    if free >= wanted {
        return Finding::good("memory", found);
    }
    let fix = "lower limits.job_megabytes, limits.cache_megabytes (models and jobs then have to be smaller) and \
               limits.pack_memory_megabytes (packs then go to disk), or add memory";
    Finding::warning("memory", found, fix)
}

fn network(config: &Config, identity: Arc<Identity>, committee: &Committee, own: u8) -> Vec<Finding> {
    let client = Client::shared(identity, committee.clone(), ClientOptions::default());
    let mut findings = Vec::new();
    for index in 0..3 {
        let label = committee.label(index);
        let began = Instant::now();
        let answer = client.node_status(index);
        let micros = began.elapsed().as_micros();
        match answer {
            Ok(status) => {
                let what = if index == own { "port" } else { "peer" };
                findings.push(Finding::good(
                    what,
                    format!("{label} answers ({:.1} ms with the handshake)", micros as f64 / 1e3),
                ));
                if index != own {
                    findings.push(clock(&label, status.clock_millis, Duration::from_micros(micros as u64)));
                }
            }
            Err(_) if index == own => findings.push(port(config)),
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
                format!(
                    "nothing comes back: check the address of {label} in the committee file, and that the firewalls \
                     between let its port through"
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
        LaneError::Failed { fail, .. } if fail.code == FailCode::Refused => {
            format!("committee mismatch: {label} has another committee file; compare all three keys and their order")
        }
        LaneError::Channel { source: ChannelError::TimedOut(_), .. } => format!(
            "the connection stands but {label} says nothing: check that a share node listens there, not another program, \
             and look at its log"
        ),
        _ => format!("what answers at this address is no share node of this version: ask the operator of {label}"),
    }
}

fn port(config: &Config) -> Finding {
    match TcpListener::bind(config.listen) {
        Ok(_) => Finding::good("port", format!("{} is free (the node is not running)", config.listen)),
        Err(error) => Finding::problem(
            "port",
            format!("cannot listen on {}: {error}", config.listen),
            "stop what uses the port (see `ss -ltnp`), or change `listen` in node.toml and the committee files",
        ),
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
    use super::*;

    #[test]
    fn each_finding_has_a_fix_unless_it_is_good() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("node");
        let all = |findings: Vec<Finding>| {
            assert!(findings.iter().all(|f| (f.level == Level::Good) == f.fix.is_none()), "{findings:?}");
            findings
        };
        let findings = all(examine(&home));
        assert_eq!((findings.len(), findings[0].what, findings[0].level), (1, "config", Level::Problem));

        let config =
            Config::init(&home, "127.0.0.1:1".parse().unwrap(), None, &crate::config::Parties::default()).unwrap();
        let findings = all(examine(&home));
        assert!(findings.iter().any(|f| f.what == "committee" && f.level == Level::Problem), "{findings:?}");

        let member =
            |n: u8, key| crate::committee::Member { name: format!("node {n}"), address: format!("127.0.0.1:{n}"), key };
        let other = || crate::identity::generate().unwrap().public();
        let own = config.load_identity().unwrap().public();
        let committee = Committee::new([member(1, own), member(2, other()), member(3, other())]).unwrap();
        committee.save(&config.committee).unwrap();
        let findings = all(examine(&home));
        assert_eq!(
            findings.iter().filter(|f| f.what == "peer" && f.level == Level::Problem).count(),
            2,
            "{findings:?}"
        );
        assert!(findings.iter().any(|f| f.what == "disk") && findings.iter().any(|f| f.what == "cpu"));
        let memory = findings.iter().find(|f| f.what == "memory").unwrap();
        let said = format!("the limits allow the node {} MB", config.memory().div_ceil(1 << 20));
        assert!(memory.found.contains(&said), "{memory:?}");
    }

    #[test]
    fn memory_is_enough_when_it_is_all_that_the_limits_allow() {
        assert_eq!(enough(13_000, 13_000).level, Level::Good);
        let little = enough(12_999, 13_000);
        assert!(little.level == Level::Warning && little.fix.unwrap().contains("limits.cache_megabytes"));
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
        assert!(closed.contains("nothing listens there") && !closed.contains("firewall"), "{closed}");
    }
}
