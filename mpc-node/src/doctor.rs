//! `doctor`: looks at everything a node needs before it can serve, and says the fix for what is missing.

mod peers;

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use crate::address::{Address, Carrier};
use crate::config::{Config, ConfigError, ServedCommittee};
use crate::identity::{Identity, IdentityError};
use crate::tls::Admission;

pub use peers::admitted;

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
    /// What was looked at: `config`, `key`, `committee`, `owners`, `consumers`, `clock`, `port`, `metrics`,
    /// `peer`, `cpu`, `disk`, `memory`, `folders`.
    pub what: &'static str,
    /// Of which committee, by its short name and its file, where the node has several.
    pub committee: Option<String>,
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub fix: Option<String>,
}

impl Finding {
    fn good(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, committee: None, level: Level::Good, found: found.into(), fix: None }
    }

    fn warning(what: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what, committee: None, level: Level::Warning, found: found.into(), fix: Some(fix.into()) }
    }

    fn problem(what: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what, committee: None, level: Level::Problem, found: found.into(), fix: Some(fix.into()) }
    }
}

/// Examines the node whose home this is. Changes nothing.
pub fn examine(home: &Path) -> Vec<Finding> {
    let config = match Config::load(home) {
        Ok(config) => config,
        Err(ConfigError::Missing(_)) => {
            let found = format!("{} is not a node's home (no {})", home.display(), crate::config::FILE);
            let fix =
                format!("name the node's folder with --home, or run `sahara operator init --home {}`", home.display());
            return vec![Finding::problem("config", found, fix)];
        }
        Err(error) => {
            let fix = "correct the file; the comments in a new one explain each setting";
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
            findings.push(unusable(error));
            return findings;
        }
    };
    findings.push(Finding::good("key", format!("public key {}", identity.public())));
    findings.push(served("owners", "share models", &config.owners));
    findings.push(served("consumers", "ask", &config.consumers));
    let served = match config.load_committees() {
        Ok(served) => served,
        Err(error) => {
            let fix = "write the nodes' names, addresses and keys there (`sahara operator show` prints this one's); all operators \
                       of a committee need the same file";
            findings.push(Finding::problem("committee", error.to_string(), fix));
            return findings;
        }
    };
    findings.extend(config.left_folders(&served).iter().map(|folder| left(folder)));
    let identity = Arc::new(identity);
    let mut ports = Vec::new();
    for one in &served {
        let found = committee(&config, &identity, one, &mut ports);
        findings.extend(of_committee(found, one, served.len()));
    }
    findings.extend(ports);
    findings
}

/// What there is to say of a committee, and of the members that do not run; of this node's own ports once for all.
fn committee(
    config: &Config,
    identity: &Arc<Identity>,
    served: &ServedCommittee,
    ports: &mut Vec<Finding>,
) -> Vec<Finding> {
    let committee = &served.committee;
    if let Err(error) = committee.runnable() {
        let fix = "agree on a committee of three with the other operators, and write that file";
        return vec![Finding::problem("committee", error.to_string(), fix)];
    }
    let Some(index) = committee.index_of(&identity.public()) else {
        let found = format!("this node's key is not in {}", served.file.display());
        let fix = "add this node's public key there, or use the key file that belongs to the committee";
        return vec![Finding::problem("committee", found, fix)];
    };
    let said = format!("fingerprint {}; this is {}", committee.fingerprint(), committee.label(index));
    let mut findings = vec![Finding::good("committee", said)];
    let quic = committee.member(index).and_then(|own| Address::parse(&own.address).ok());
    if quic.is_some_and(|address| address.carrier == Carrier::Quic) && config.listen_quic.is_none() {
        let found = "this node's address in the committee file is of QUIC, over which it does not listen";
        let fix = "say `listen_quic` in node.toml and restart, or take quic:// off that address in everybody's file";
        findings.push(Finding::problem("port", found, fix));
    }
    findings.extend(peers::network(config, identity.clone(), committee, index, ports));
    findings
}

/// Findings say of which committee they are where a node has several.
fn of_committee(findings: Vec<Finding>, served: &ServedCommittee, several: usize) -> Vec<Finding> {
    let name = (several > 1).then(|| format!("{} ({})", served.committee.short(), served.file.display()));
    findings.into_iter().map(|finding| Finding { committee: name.clone(), ..finding }).collect()
}

/// What a committee has left that is not served any more.
fn left(folder: &Path) -> Finding {
    let found = format!("{} is of a committee that this node does not serve", folder.display());
    let fix = "remove it: it holds masked weights and seeds; or, if the node is to serve the committee again, name its file in \
               `committees`";
    Finding::warning("folders", found, fix)
}

/// A key file that cannot be used, and the one thing to do about it.
fn unusable(error: ConfigError) -> Finding {
    let missing = |source: &std::io::Error| source.kind() == ErrorKind::NotFound;
    let fix = match &error {
        ConfigError::Identity(IdentityError::Permissions(path)) => {
            let found = format!("key file {} can be read by other users", path.display());
            let fix =
                format!("run `chmod 600 {}`; if one of them may have read it, replace this member", path.display());
            return Finding::problem("key", found, fix);
        }
        ConfigError::Identity(IdentityError::Io { source, .. }) if !missing(source) => {
            "let the user that runs the node read the file"
        }
        _ => {
            "restore the key file from its backup; without one, `sahara operator init --home NEW` in another folder makes \
             another node, and that is another committee"
        }
    };
    Finding::problem("key", error.to_string(), fix)
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
    let wanted = config.limits.pack_megabytes + config.limits.model_megabytes + config.transcript_megabytes;
    match rustix::fs::statvfs(&config.home) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize) >> 20;
            if free >= wanted {
                Finding::good("disk", format!("{free} MB free, the limits allow {wanted} MB"))
            } else {
                Finding::warning(
                    "disk",
                    format!("{free} MB free, the limits allow packs, models and records of {wanted} MB"),
                    "free some space, or lower limits.pack_megabytes, limits.model_megabytes and transcript_megabytes",
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::committee::Committee;

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
        assert!(!findings[0].found.contains("operator init"), "the fix is said once: {findings:?}");

        let config =
            Config::init(&home, "127.0.0.1:1".parse().unwrap(), None, &crate::config::Parties::default()).unwrap();
        let findings = all(examine(&home));
        assert!(findings.iter().any(|f| f.what == "committee" && f.level == Level::Problem), "{findings:?}");

        let member =
            |n: u8, key| crate::committee::Member { name: format!("node {n}"), address: format!("127.0.0.1:{n}"), key };
        let other = || crate::identity::generate().unwrap().public();
        let own = config.load_identity().unwrap().public();
        let committee = Committee::new([member(1, own), member(2, other()), member(3, other())]).unwrap();
        committee.save(config.committee.as_ref().unwrap()).unwrap();
        let findings = all(examine(&home));
        assert_eq!(
            findings.iter().filter(|f| f.what == "peer" && f.level == Level::Problem).count(),
            2,
            "{findings:?}"
        );
        assert!(findings.iter().any(|f| f.what == "disk") && findings.iter().any(|f| f.what == "cpu"));
        let disk = findings.iter().find(|f| f.what == "disk").unwrap();
        let allowed = 16_384 + 8_192 + 4_096;
        assert!(disk.found.contains(&format!("{allowed} MB")), "packs, models and records: {disk:?}");
        let said = committee.fingerprint();
        assert!(findings.iter().any(|f| f.what == "committee" && f.found.contains(&said)), "{findings:?}");
        let memory = findings.iter().find(|f| f.what == "memory").unwrap();
        let said = format!("the limits allow the node {} MB", config.memory().div_ceil(1 << 20));
        assert!(memory.found.contains(&said), "{memory:?}");
        assert!(findings.iter().all(|f| f.committee.is_none()), "there is one only: {findings:?}");

        // A second committee has a section of its own, and what is left of a third is to go.
        let second = Committee::new([member(4, other()), member(5, own), member(6, other())]).unwrap();
        second.save(&home.join("second.toml")).unwrap();
        let file = home.join(crate::config::FILE);
        let text = std::fs::read_to_string(&file).unwrap();
        let text = text.replacen("# committees =", "committees =", 1);
        std::fs::write(&file, &text).unwrap();
        std::fs::create_dir_all(home.join("committees/0123456789abcdef")).unwrap();
        let findings = all(examine(&home));
        for (committee, file) in [(&committee, "committee.toml"), (&second, "second.toml")] {
            let section: Vec<_> = findings
                .iter()
                .filter(|f| f.committee.as_ref().is_some_and(|name| name.contains(&committee.short())))
                .collect();
            assert!(
                section.iter().all(|f| f.committee.as_ref().is_some_and(|name| name.contains(file))),
                "{section:?}"
            );
            let whats: Vec<_> = section.iter().map(|f| f.what).collect();
            assert_eq!(whats, ["committee", "peer", "peer"]);
            assert!(section[0].found.contains(&committee.fingerprint()), "{section:?}");
        }
        assert_eq!(findings.iter().filter(|f| f.what == "port").count(), 1, "{findings:?}");
        let left = findings.iter().find(|f| f.what == "folders").unwrap();
        assert!(left.found.contains("0123456789abcdef") && left.level == Level::Warning, "{left:?}");

        // One of two, and one that this node is no member of, are problems of their own; the other is looked at all the same.
        Committee::two([member(4, own), member(5, other())]).unwrap().save(&home.join("second.toml")).unwrap();
        let problem = |findings: &[Finding]| {
            let found = findings.iter().find(|f| f.what == "committee" && f.level == Level::Problem);
            found.map(|f| f.found.clone()).unwrap_or_default()
        };
        let findings = all(examine(&home));
        assert!(problem(&findings).contains("no helper"), "{findings:?}");
        assert_eq!(findings.iter().filter(|f| f.what == "peer").count(), 2, "{findings:?}");
        let foreign = Committee::new([member(4, other()), member(5, other()), member(6, other())]).unwrap();
        foreign.save(&home.join("second.toml")).unwrap();
        assert!(problem(&all(examine(&home))).contains("key is not in"));
    }

    #[test]
    fn a_key_that_others_may_read_and_one_that_is_gone_have_their_own_fixes() {
        let dir = tempfile::tempdir().unwrap();
        let listen = "127.0.0.1:1".parse().unwrap();
        let config = Config::init(dir.path(), listen, None, &crate::config::Parties::default()).unwrap();
        let fix = || {
            let findings = examine(dir.path());
            findings.into_iter().find(|f| f.what == "key").and_then(|f| f.fix).unwrap()
        };
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(&config.key, open).unwrap();
        assert!(fix().contains("chmod 600") && !fix().contains("init"), "{}", fix());
        std::fs::remove_file(&config.key).unwrap();
        assert!(fix().contains("restore") && fix().contains("another folder"), "{}", fix());
    }

    #[test]
    fn memory_is_enough_when_it_is_all_that_the_limits_allow() {
        assert_eq!(enough(13_000, 13_000).level, Level::Good);
        let little = enough(12_999, 13_000);
        assert!(little.level == Level::Warning && little.fix.unwrap().contains("limits.cache_megabytes"));
    }
}
