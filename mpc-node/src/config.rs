//! A node's configuration: `node.toml` in its home directory, written with comments by `init`.

mod committees;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::Write;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;

use crate::address::{Address, Carrier};
use crate::committee::CommitteeError;
use crate::durable::{self, Readers};
use crate::engine::{CostLimits, MAX_GRAPH_BYTES, graph_scratch};
use crate::identity::{self, Identity, IdentityError, PublicKey};
use crate::records::RecordLimits;
use crate::tls::Admission;
use crate::wire::Kind;
pub(crate) use committees::FOLDERS;
pub use committees::ServedCommittee;

/// Version of the file format.
const VERSION: u32 = 1;
/// Megabytes that a node takes with nothing to do, and for the answers of paid jobs that it keeps for a while.
const PROGRAM_MEGABYTES: u64 = 64;
/// Bytes of a lane's thread and of the frames it handles, besides its buffers: the longest answer, its parts and its bytes.
const LANE_MEMORY: u64 = 1 << 20;
/// Bytes of a job's record of what was said, for each round: two links of the chain, as they are and as they are written.
const ROUND_MEMORY: u64 = 256;
/// Bytes of a sharing's manifest and record without its lists of keys.
const SHARING_MEMORY: u64 = 8 << 10;
/// Bytes of a key on an access list: as it is, and as its owner has signed it.
const KEY_MEMORY: u64 = 64;
/// Bytes that a further committee takes besides its members' lanes: names of packs that they may hand back, and its files' lists.
const COMMITTEE_MEMORY: u64 = 16 << 20;
/// Most committees that one node serves.
const MOST_COMMITTEES: usize = 64;
/// Lanes that each other node of a committee may have.
pub(crate) const MEMBER_LANES: usize = 96;
/// The configuration's file name in a node's home.
pub const FILE: &str = "node.toml";

/// A configuration that cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file system refuses.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is no configuration here.
    #[error("{} is not a node's home (no {FILE}): run `sahara operator init --home {}`", .0.display(), .0.display())]
    Missing(PathBuf),
    /// The content is wrong.
    #[error("{}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The key file.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The committee file.
    #[error(transparent)]
    Committee(#[from] CommitteeError),
}

/// Everything a node is told by its operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Directory with the configuration, the key, models, packs and transcripts.
    pub home: PathBuf,
    /// Where lanes connect to, over TCP.
    pub listen: SocketAddr,
    /// Where lanes connect to over QUIC, if anywhere.
    pub listen_quic: Option<SocketAddr>,
    /// Where the others connect to, as committee files have it: `listen` as it is written, unless another place is named.
    pub advertise: String,
    /// Where metrics and `/healthz` are served, if anywhere.
    pub metrics: Option<SocketAddr>,
    /// The key file.
    pub key: PathBuf,
    /// The committee file whose folders are those of the home itself, unless all have their own.
    pub committee: Option<PathBuf>,
    /// Further committee files; what belongs to each committee is in a folder of its own below the home.
    pub committees: Vec<PathBuf>,
    /// Who may share models.
    pub owners: Admission,
    /// Who may ask questions, as far as the owners of the models let them.
    pub consumers: Admission,
    /// What the node's program needs to know of the chain on which its sharings are sold; nothing here reads it. Where it is named,
    /// keys that are in no list may show what they have bought.
    pub market: Option<PathBuf>,
    /// Packs that this node, as first evaluator, has made ahead for each task it has served; also the most that it makes as
    /// helper for one job that a first evaluator shows it (one at least).
    pub packs_ahead: u32,
    /// What the operator should know of a setting of an older version that has no effect any more.
    pub retired: Option<&'static str>,
    /// Days for which records of jobs are kept.
    pub transcript_days: u32,
    /// Megabytes of records of jobs in all; the oldest go first.
    pub transcript_megabytes: u64,
    /// Limits.
    pub limits: Limits,
    /// Time-outs.
    pub timeouts: Timeouts,
}

/// Limits on what others may make a node do.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections whose key is not known yet.
    pub handshakes: u32,
    /// Of these, from one address.
    pub handshakes_per_address: u32,
    /// Consumers' connections at a time.
    pub lanes: u32,
    /// Of these, of one key.
    pub lanes_per_key: u32,
    /// Of these, from one address.
    pub lanes_per_address: u32,
    /// Jobs at a time in each evaluator role.
    pub jobs: u32,
    /// Jobs of one key, running or waiting.
    pub jobs_per_key: u32,
    /// Megabytes that all running jobs and the dealing of packs may take.
    pub job_megabytes: u64,
    /// Megabytes of plans, graphs and weight material kept ready in memory.
    pub cache_megabytes: u64,
    /// Most megabytes dealt for one job of a graph.
    pub graph_deal_megabytes: u64,
    /// Most multiplications, and elements read and written, of one job of a graph, in units of 10^9.
    pub graph_giga_products: u64,
    /// Most rounds of one job of a graph.
    pub graph_rounds: u64,
    /// Seconds of dealing, and of reading models into memory, that one key may cause in ten minutes.
    pub dealing_seconds: u32,
    /// Megabytes that one key may upload in an hour.
    pub upload_megabytes: u64,
    /// Megabytes that one key may fetch of one owner's in an hour.
    pub download_megabytes: u64,
    /// Packs for one task.
    pub packs: u32,
    /// Megabytes of packs in all; a file takes whole blocks, and there are 16,384 packs at most.
    pub pack_megabytes: u64,
    /// Of these, megabytes in memory, with what used packs have left for the next; further packs go to disk.
    pub pack_memory_megabytes: u64,
    /// Megabytes of registered models in all.
    pub model_megabytes: u64,
    /// Of these, megabytes of one owner.
    pub owner_megabytes: u64,
    /// Sharings in all, deleted ones included.
    pub sharings: u32,
    /// Of these, sharings of one owner.
    pub owner_sharings: u32,
    /// Keys on the access lists of all sharings; each first list counts twice, once for a later one.
    pub access_keys: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshakes: 128,
            handshakes_per_address: 64,
            lanes: 256,
            lanes_per_key: 64,
            lanes_per_address: 192,
            jobs: 4,
            jobs_per_key: 32,
            job_megabytes: 8 << 10,
            cache_megabytes: 4 << 10,
            graph_deal_megabytes: 4 << 10,
            graph_giga_products: 256,
            graph_rounds: 1 << 14,
            dealing_seconds: 300,
            upload_megabytes: 16 << 10,
            download_megabytes: 4 << 10,
            packs: 64,
            pack_megabytes: 16 << 10,
            pack_memory_megabytes: 1 << 10,
            model_megabytes: 8 << 10,
            owner_megabytes: 2 << 10,
            sharings: 16 << 10,
            owner_sharings: 64,
            access_keys: 1 << 20,
        }
    }
}

impl Limits {
    /// The most memory that a node takes under these limits, in bytes: caches, one graph that is read, jobs and what they sign,
    /// packs in memory and what is remembered of all, sharings, a thread and buffers for each connection, and what the program itself needs.
    /// All of that is for all `committees` together, but for the lanes of each one's other members.
    fn memory(&self, committees: u64) -> u64 {
        let megabytes = self.cache_megabytes + self.job_megabytes + self.pack_memory_megabytes + PROGRAM_MEGABYTES;
        let lanes = self.all_lanes(committees);
        let doors = u64::from(self.handshakes) * crate::channel::STRANGER_BYTES;
        let transcripts = 3 * u64::from(self.jobs) * self.graph_rounds * ROUND_MEMORY;
        let sharings = u64::from(self.sharings) * SHARING_MEMORY + u64::from(self.access_keys) * KEY_MEMORY;
        let graph = graph_scratch(MAX_GRAPH_BYTES as u64);
        let lanes = lanes * (crate::channel::CHANNEL_MEMORY + LANE_MEMORY);
        let packs = crate::packs::MOST_PACKS as u64 * crate::packs::PACK_MEMORY;
        let further = committees.saturating_sub(1) * COMMITTEE_MEMORY;
        (megabytes << 20) + packs + lanes + doors + transcripts + sharings + graph + further
    }

    /// Lanes of consumers and of the other members of all committees.
    fn all_lanes(&self, committees: u64) -> u64 {
        u64::from(self.lanes) + 2 * committees * MEMBER_LANES as u64
    }

    /// What a job of a graph may cost.
    pub fn cost(&self) -> CostLimits {
        CostLimits {
            dealt: self.graph_deal_megabytes << 20,
            operations: self.graph_giga_products * 1_000_000_000,
            rounds: self.graph_rounds,
            share: Kind::Input.limit() as u64,
            job_memory: largest(self.job_megabytes << 20),
            cache_memory: self.cache_megabytes << 20,
        }
    }
}

/// The most that one thing gets of so much memory.
pub(crate) fn largest(all: u64) -> u64 {
    all - all / 4
}

/// How long a node waits.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// Seconds from connecting to the end of the greeting, and for the frame that begins a request.
    pub connect: u64,
    /// Seconds for the other evaluator's next frame, besides what its bytes take at 256 KiB a second.
    pub round: u64,
    /// Seconds for a consumer who has asked one evaluator for a job to ask the other one, too.
    pub meet: u64,
    /// Seconds for another node to prepare a pack, or for the rest of a request.
    pub request: u64,
    /// Seconds an unused connection is kept.
    pub idle: u64,
    /// Seconds a pack is kept that no job takes.
    pub pack: u64,
    /// Seconds that running jobs get at shutdown.
    pub shutdown: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: 5, round: 10, meet: 2, request: 60, idle: 600, pack: 6 * 3600, shutdown: 10 }
    }
}

impl Timeouts {
    /// For connecting, handshake and greeting together.
    pub fn connect(&self) -> Duration {
        Duration::from_secs(self.connect)
    }

    /// For the other evaluator's next frame.
    pub fn round(&self) -> Duration {
        Duration::from_secs(self.round)
    }

    /// For the consumer to ask the other evaluator, too.
    pub fn meet(&self) -> Duration {
        Duration::from_secs(self.meet)
    }

    /// For a pack that no job takes.
    pub fn pack(&self) -> Duration {
        Duration::from_secs(self.pack)
    }

    /// For another node to prepare a pack, or for the rest of a request.
    pub fn request(&self) -> Duration {
        Duration::from_secs(self.request)
    }

    /// For an unused connection.
    pub fn idle(&self) -> Duration {
        Duration::from_secs(self.idle)
    }

    /// For running jobs at shutdown.
    pub fn shutdown(&self) -> Duration {
        Duration::from_secs(self.shutdown)
    }
}

/// Whom a new node serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parties {
    /// Who may share models.
    pub owners: Admission,
    /// Who may ask.
    pub consumers: Admission,
}

impl Default for Parties {
    /// Nobody.
    fn default() -> Self {
        Self { owners: Admission::Only(BTreeSet::new()), consumers: Admission::Only(BTreeSet::new()) }
    }
}

/// Where a new node listens, and what others are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Places<'a> {
    /// An address or name of this machine with a port: lanes over TCP.
    pub listen: &'a str,
    /// The same for lanes over QUIC, if it is to listen to them, too.
    pub listen_quic: Option<&'a str>,
    /// What the others connect to, if that is not `listen`.
    pub advertise: Option<&'a str>,
    /// Metrics and `/healthz`.
    pub metrics: Option<SocketAddr>,
}

impl Config {
    /// Makes a node's home: `node.toml` with comments and a key. An existing key is kept; an existing
    /// `node.toml` is an error.
    ///
    /// # Errors
    /// When `node.toml` exists, or the folder or a file in it cannot be written.
    pub fn init(
        home: &Path,
        listen: SocketAddr,
        metrics: Option<SocketAddr>,
        parties: &Parties,
    ) -> Result<Self, ConfigError> {
        Self::init_at(home, &Places { listen: &listen.to_string(), metrics, ..Places::default() }, parties)
    }

    /// As [`Self::init`], where places may be names of this machine, and others may be told another one.
    ///
    /// # Errors
    /// When `node.toml` exists, an address is none, or the folder or a file in it cannot be written.
    pub fn init_at(home: &Path, places: &Places<'_>, parties: &Parties) -> Result<Self, ConfigError> {
        let io = |path: &Path| {
            let path = path.to_path_buf();
            move |source| ConfigError::Io { action: "write", path, source }
        };
        std::fs::create_dir_all(home).map_err(io(home))?;
        let path = home.join(FILE);
        if path.exists() {
            let reason = "exists already: edit it, or remove it to start over".into();
            return Err(ConfigError::Content { path, reason });
        }
        identity::load_or_generate(&home.join("key"))?;
        let text = template(places, parties);
        // Refused before it stands in a file.
        Self::parse(&text, home).map_err(|reason| ConfigError::Content { path: path.clone(), reason })?;
        durable::replace(&path, Readers::Everybody, |file| file.write_all(text.as_bytes())).map_err(io(&path))?;
        Self::load(home)
    }

    /// Reads the configuration of the node whose home this is.
    ///
    /// # Errors
    /// When there is no `node.toml`, or it cannot be read or is not a configuration.
    pub fn load(home: &Path) -> Result<Self, ConfigError> {
        let path = home.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(ConfigError::Missing(home.into())),
            Err(source) => return Err(ConfigError::Io { action: "read", path, source }),
        };
        Self::parse(&text, home).map_err(|reason| ConfigError::Content { path, reason })
    }

    /// Reads the text of a configuration; relative paths are relative to `home`.
    ///
    /// # Errors
    /// The first entry that is unknown, missing or out of range, in one line.
    pub fn parse(text: &str, home: &Path) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|e| e.to_string().trim_end().to_owned())?;
        if file.version != VERSION {
            return Err(format!("version {} is not known (this program knows {VERSION})", file.version));
        }
        if let Some(text) = file.advertise.as_deref() {
            let wrong = |why: &str| format!("advertise = \"{}\" {why}", text.escape_debug());
            let address = Address::parse(text).map_err(|why| wrong(&why))?;
            if address.carrier == Carrier::Quic && file.listen_quic.is_none() {
                return Err(wrong("names QUIC, over which this node does not listen: say listen_quic as well"));
            }
        }
        if file.listen_quic.is_some() && !cfg!(feature = "quic") {
            return Err(
                "listen_quic asks for QUIC, which this program is built without (feature `quic` of sahara-mpc)".into(),
            );
        }
        let owners = file.owners.admission("owners")?;
        let consumers = file.consumers.admission("consumers")?;
        let (limits, timeouts) = (file.limits, file.timeouts);
        let retired = file.transcripts_kept.is_some().then_some(
            "transcripts_kept has no effect any more: records are kept by transcript_days and transcript_megabytes",
        );
        let positive = [
            ("limits.handshakes", u64::from(limits.handshakes)),
            ("limits.handshakes_per_address", u64::from(limits.handshakes_per_address)),
            ("limits.lanes", u64::from(limits.lanes)),
            ("limits.lanes_per_key", u64::from(limits.lanes_per_key)),
            ("limits.lanes_per_address", u64::from(limits.lanes_per_address)),
            ("limits.jobs", u64::from(limits.jobs)),
            ("limits.jobs_per_key", u64::from(limits.jobs_per_key)),
            ("limits.job_megabytes", limits.job_megabytes),
            ("limits.cache_megabytes", limits.cache_megabytes),
            ("limits.graph_deal_megabytes", limits.graph_deal_megabytes),
            ("limits.graph_giga_products", limits.graph_giga_products),
            ("limits.graph_rounds", limits.graph_rounds),
            ("limits.dealing_seconds", u64::from(limits.dealing_seconds)),
            ("limits.upload_megabytes", limits.upload_megabytes),
            ("limits.download_megabytes", limits.download_megabytes),
            ("limits.packs", u64::from(limits.packs)),
            ("limits.sharings", u64::from(limits.sharings)),
            ("limits.owner_sharings", u64::from(limits.owner_sharings)),
            ("limits.access_keys", u64::from(limits.access_keys)),
            ("transcript_days", u64::from(file.transcript_days)),
            ("transcript_megabytes", file.transcript_megabytes),
            ("timeouts.connect", timeouts.connect),
            ("timeouts.round", timeouts.round),
            ("timeouts.meet", timeouts.meet),
            ("timeouts.request", timeouts.request),
            ("timeouts.idle", timeouts.idle),
            ("timeouts.pack", timeouts.pack),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0 || *value > 1 << 20) {
            return Err(format!("{name} must be from 1 to {}", 1 << 20));
        }
        if limits.packs as usize > crate::wire::MAX_PACKS / 2 {
            return Err(format!("limits.packs must be at most {}", crate::wire::MAX_PACKS / 2));
        }
        // Whoever lists committees need not have one whose folders are those of the home.
        let committee = file.committee.or_else(|| file.committees.is_empty().then(default_committee));
        if file.committees.len() + usize::from(committee.is_some()) > MOST_COMMITTEES {
            return Err(format!("{} committees are listed, {MOST_COMMITTEES} at most", file.committees.len()));
        }
        Ok(Self {
            home: home.into(),
            listen: resolve("listen", &file.listen)?,
            listen_quic: file.listen_quic.as_deref().map(|listen| resolve("listen_quic", listen)).transpose()?,
            advertise: file.advertise.unwrap_or(file.listen),
            metrics: file.metrics,
            key: home.join(file.key),
            committee: committee.map(|file| home.join(file)),
            committees: file.committees.into_iter().map(|file| home.join(file)).collect(),
            owners,
            consumers,
            market: file.market.map(|file| home.join(file)),
            packs_ahead: file.packs_ahead.min(limits.packs),
            retired,
            transcript_days: file.transcript_days,
            transcript_megabytes: file.transcript_megabytes,
            limits,
            timeouts,
        })
    }

    /// The most memory that the node takes, in bytes: what all its limits add up to.
    pub fn memory(&self) -> u64 {
        let committees = self.committee_files().count() as u64;
        let lanes = || crate::channel::quic::memory(self.limits.all_lanes(committees), self.limits.handshakes.into());
        let quic = self.listen_quic.map_or(0, |_| lanes());
        self.limits.memory(committees) + quic + self.record_limits().memory()
    }

    /// Most connections over QUIC, in whatever state: lanes, those at the door, and some that are over.
    pub(crate) fn most_connections(&self) -> usize {
        let committees = self.committee_files().count() as u64;
        let counted = self.limits.all_lanes(committees) + u64::from(self.limits.handshakes);
        usize::try_from(counted).unwrap_or(usize::MAX).saturating_add(crate::channel::quic::CLOSED)
    }

    /// How many records of jobs are kept.
    pub fn record_limits(&self) -> RecordLimits {
        record_limits(self.transcript_days, self.transcript_megabytes)
    }

    /// The node's key.
    ///
    /// # Errors
    /// When the key file cannot be read, is not one, or others may read it.
    pub fn load_identity(&self) -> Result<Identity, ConfigError> {
        Ok(identity::load(&self.key)?)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    listen: String,
    listen_quic: Option<String>,
    advertise: Option<String>,
    metrics: Option<SocketAddr>,
    #[serde(default = "default_key")]
    key: PathBuf,
    committee: Option<PathBuf>,
    #[serde(default)]
    committees: Vec<PathBuf>,
    #[serde(default)]
    owners: Keys,
    #[serde(default)]
    consumers: Keys,
    market: Option<PathBuf>,
    #[serde(default)]
    packs_ahead: u32,
    /// Of older configurations.
    transcripts_kept: Option<toml::Value>,
    #[serde(default = "default_transcript_days")]
    transcript_days: u32,
    #[serde(default = "default_transcript_megabytes")]
    transcript_megabytes: u64,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    timeouts: Timeouts,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Keys {
    Word(String),
    Listed(Vec<String>),
}

impl Default for Keys {
    /// Nobody.
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

impl Keys {
    fn admission(self, setting: &str) -> Result<Admission, String> {
        match self {
            Self::Word(word) if word == "any" => Ok(Admission::Any),
            Self::Word(word) => Err(format!("{setting} = \"{word}\" is neither \"any\" nor a list of keys")),
            Self::Listed(keys) => {
                let keys: Result<_, String> = keys.iter().map(|key| key.parse::<PublicKey>()).collect();
                keys.map(Admission::Only).map_err(|why| format!("{setting}: {why}"))
            }
        }
    }
}

/// A list of keys as it is written in the file.
fn listed(admission: &Admission) -> String {
    match admission {
        Admission::Any => "\"any\"".into(),
        Admission::Only(keys) => {
            let keys: Vec<_> = keys.iter().map(|key| format!("\n    \"{key}\",")).collect();
            if keys.is_empty() { "[]".into() } else { format!("[{}\n]", keys.concat()) }
        }
    }
}

/// The address that `listen` or `listen_quic` means: itself, or what a name of this machine resolves to.
fn resolve(setting: &str, listen: &str) -> Result<SocketAddr, String> {
    let wrong = |why: &str| format!("{setting} = \"{}\" {why}", listen.escape_debug());
    let addresses =
        listen.to_socket_addrs().map_err(|_| wrong("is no address, and no name that can be resolved, with a port"));
    addresses?.next().ok_or_else(|| wrong("resolves to nothing"))
}

fn default_key() -> PathBuf {
    "key".into()
}

fn default_committee() -> PathBuf {
    "committee.toml".into()
}

fn record_limits(days: u32, megabytes: u64) -> RecordLimits {
    RecordLimits { retention: Duration::from_secs(24 * 3600 * u64::from(days)), bytes: megabytes << 20 }
}

fn default_transcript_days() -> u32 {
    30
}

fn default_transcript_megabytes() -> u64 {
    4096
}

/// Settings, one a line, with their comments in one column.
fn settings(lines: &[(&str, &dyn Display, &str)]) -> String {
    let lines: Vec<(String, &str)> =
        lines.iter().map(|(name, value, comment)| (format!("{name} = {value}"), *comment)).collect();
    let width = lines.iter().map(|(setting, _)| setting.len()).max().unwrap_or(0);
    let line = |(setting, comment): &(String, &str)| match comment.is_empty() {
        true => format!("{setting}\n"),
        false => format!("{setting:width$}  # {comment}\n"),
    };
    lines.iter().map(line).collect()
}

fn template(places: &Places<'_>, parties: &Parties) -> String {
    let listen = places.listen;
    let listen_quic = match places.listen_quic {
        Some(address) => format!("listen_quic = \"{address}\""),
        None => format!("# listen_quic = \"{listen}\""),
    };
    let advertise = match places.advertise {
        Some(address) => format!("advertise = \"{address}\""),
        None => "# advertise = \"node.example:7700\"".into(),
    };
    let metrics = match places.metrics {
        Some(address) => format!("metrics = \"{address}\""),
        None => "# metrics = \"127.0.0.1:9101\"".into(),
    };
    let (l, t) = (Limits::default(), Timeouts::default());
    let records = record_limits(default_transcript_days(), default_transcript_megabytes());
    let quic = places.listen_quic.map_or(0, |_| crate::channel::quic::memory(l.all_lanes(1), l.handshakes.into()));
    let memory = (l.memory(1) + quic + records.memory()).div_ceil(1 << 20);
    let most_packs = format!("packs in all ({} at most)", crate::packs::MOST_PACKS);
    let limits = settings(&[
        ("handshakes", &l.handshakes, "connections whose key is not known yet"),
        ("handshakes_per_address", &l.handshakes_per_address, ""),
        ("lanes", &l.lanes, "consumers' connections at a time"),
        ("lanes_per_key", &l.lanes_per_key, ""),
        ("lanes_per_address", &l.lanes_per_address, ""),
        ("jobs", &l.jobs, "jobs at a time, in each evaluator role"),
        ("jobs_per_key", &l.jobs_per_key, "running or waiting"),
        (
            "job_megabytes",
            &l.job_megabytes,
            "memory of running jobs and of dealing; three quarters at most for one job",
        ),
        ("cache_megabytes", &l.cache_megabytes, "memory of plans, graphs and weights kept ready"),
        ("packs", &l.packs, "packs for one task"),
        ("pack_megabytes", &l.pack_megabytes, &most_packs),
        ("pack_memory_megabytes", &l.pack_memory_megabytes, "of these, in memory; further packs go to disk"),
        ("model_megabytes", &l.model_megabytes, "models in all"),
        ("owner_megabytes", &l.owner_megabytes, "of these, of one owner"),
        ("sharings", &l.sharings, "models in all, deleted ones included: their names stay for ever"),
        ("owner_sharings", &l.owner_sharings, "of these, of one owner"),
        ("access_keys", &l.access_keys, "keys on the access lists of all models; each first list counts twice"),
        ("graph_deal_megabytes", &l.graph_deal_megabytes, "what one job of a graph may be dealt"),
        (
            "graph_giga_products",
            &l.graph_giga_products,
            "multiplications, and elements moved (10^9), of one job of a graph",
        ),
        ("graph_rounds", &l.graph_rounds, "rounds of one job of a graph"),
        (
            "dealing_seconds",
            &l.dealing_seconds,
            "of dealing, and of reading models, that one key may cause in ten minutes",
        ),
        ("upload_megabytes", &l.upload_megabytes, "that one key may upload in an hour"),
        (
            "download_megabytes",
            &l.download_megabytes,
            "that one key may fetch of one owner's in an hour: client parts of models",
        ),
    ]);
    let timeouts = settings(&[
        ("connect", &t.connect, "connecting, handshake and greeting together"),
        ("round", &t.round, "the other evaluator's next frame"),
        ("meet", &t.meet, "for a job's consumer to ask the second evaluator, too"),
        ("request", &t.request, "the rest of a request"),
        ("idle", &t.idle, "an unused connection"),
        ("pack", &t.pack, "a pack that no job takes"),
        ("shutdown", &t.shutdown, "what running jobs get when the node is stopped"),
    ]);
    format!(
        r#"# Configuration of a Sahara share node. Relative paths are relative to this directory.
version = {VERSION}

# Where the other nodes and consumers connect (TLS 1.3 over TCP, both sides prove their key): an address or name of this machine.
listen = "{listen}"

# The same over QUIC, which is UDP: it may be the same port, and the firewall has to let UDP through. Whoever is to come that way
# has quic:// before the address in their committee file.
{listen_quic}

# What committee files say instead, if the others connect to another place (behind a router, or on all addresses): host:port,
# or quic://host:port.
{advertise}

# Where Prometheus metrics and /healthz are served. No authentication: keep it on a private address.
{metrics}

# This node's secret key (mode 600) and the list of the three nodes.
key = "key"
committee = "committee.toml"

# Further committees of which this node is a member, with the same key, address, owners, consumers and limits: what the
# limits say is for all committees together. What belongs to a further committee is in a folder of its own, committees/…,
# which can be removed once the node has left it.
# committees = ["second.toml"]

# Whoever is to be served must be in the lists of all three nodes of a committee.

# Who may share models with this node's committees: a list of public keys (`sahara whoami` prints them), or "any".
owners = {owners}

# Who may connect and ask, as far as the owner of a model lets them: a list of public keys, or "any". An owner shares
# with one key and asks with another (`sahara whoami` prints both): one who asks, too, needs that key here.
consumers = {consumers}

# What the program needs to know to sell here what owners register on a chain: the network, the account, when to settle. With it
# keys that are in no list may connect, to show what they have bought; they are served if it is paid for.
# market = "market.toml"

# Preprocessing packs made ahead for each task that this node has served as first evaluator; as helper it makes no more
# than so many (one at least) for one job of a consumer.
packs_ahead = 0

# Signed records of jobs are kept for so long. Beyond the megabytes the consumer with most loses its oldest before
# their time. (Keep the clock right: jobs are named with their time by the consumer's clock, and refused when that is more
# than a minute ahead of this one, or an hour behind it.)
transcript_days = {days}
transcript_megabytes = {megabytes}

# All memory that a node takes under these limits: {memory} MB at most. `sahara operator doctor` adds up yours, and
# compares them with what this machine has. Lower job_megabytes, cache_megabytes and pack_memory_megabytes on a small one.
[limits]
{limits}
[timeouts]    # seconds
{timeouts}"#,
        owners = listed(&parties.owners),
        consumers = listed(&parties.consumers),
        days = default_transcript_days(),
        megabytes = default_transcript_megabytes(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(listen: &str) -> Places<'_> {
        Places { listen, ..Places::default() }
    }

    fn address(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[test]
    fn init_writes_the_defaults_and_never_overwrites() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("node");
        assert!(Config::load(&home).unwrap_err().to_string().contains("operator init"));
        let ours = Parties { owners: Admission::Only([PublicKey([7; 32])].into()), consumers: Admission::Any };
        let config = Config::init(&home, address(7001), Some(address(9101)), &ours).unwrap();
        assert_eq!((&config.owners, &config.consumers), (&ours.owners, &ours.consumers));
        assert_eq!(config.limits, Limits::default());
        assert_eq!(config.timeouts, Timeouts::default());
        let text = std::fs::read_to_string(home.join(FILE)).unwrap();
        let memory = config.memory().div_ceil(1 << 20);
        assert!(text.contains(&format!("under these limits: {memory} MB at most")), "{text}");
        let larger = Config { transcript_megabytes: 2 * config.transcript_megabytes, ..config.clone() };
        assert!(larger.memory() > config.memory() && config.memory() > 13 << 30);
        assert_eq!((config.listen, config.metrics), (address(7001), Some(address(9101))));
        let key = config.load_identity().unwrap().public();
        let nobody = Parties::default();
        assert!(Config::init(&home, address(7001), None, &nobody).is_err());
        std::fs::remove_file(home.join(FILE)).unwrap();
        let again = Config::init(&home, address(7001), None, &nobody).unwrap();
        assert_eq!((&again.owners, &again.consumers), (&nobody.owners, &nobody.consumers));
        let silent = "version = 1\nlisten = \"127.0.0.1:7001\"\n";
        assert_eq!(Config::parse(silent, &home).unwrap().owners, nobody.owners, "what is not said is nobody");
        assert_eq!(again.load_identity().unwrap().public(), key);
        assert_eq!(again.metrics, None);
    }

    #[test]
    fn a_name_of_this_machine_is_a_place_to_listen() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::init_at(dir.path(), &at("localhost:7001"), &Parties::default()).unwrap();
        assert_eq!(config.advertise, "localhost:7001", "what is not said is as it is written");
        assert!(config.listen.ip().is_loopback() && config.listen.port() == 7001);
        let unknown = dir.path().join("unknown");
        let error =
            Config::init_at(&unknown, &at("no-such-host.invalid:7001"), &Parties::default()).unwrap_err().to_string();
        assert!(error.contains("no-such-host.invalid") && !unknown.join(FILE).exists(), "{error}");
    }

    #[test]
    fn the_address_that_others_use_is_kept_and_comments_stand_in_one_column() {
        let dir = tempfile::tempdir().unwrap();
        let advertised = Some("node.example:7700");
        let places = Places { advertise: advertised, ..at("0.0.0.0:7700") };
        let config = Config::init_at(dir.path(), &places, &Parties::default()).unwrap();
        assert_eq!(Some(config.advertise.as_str()), advertised);
        let text = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
        let limits = text.split("[limits]").nth(1).unwrap().split("[timeouts]").next().unwrap();
        let columns: BTreeSet<usize> = limits.lines().filter_map(|line| line.find('#')).collect();
        assert_eq!(columns.len(), 1, "{limits}");
    }

    #[test]
    fn a_node_listens_over_quic_where_it_is_told_to_and_counts_its_memory() {
        let dir = tempfile::tempdir().unwrap();
        let home = |name: &str| dir.path().join(name);
        let plain = Config::init_at(&home("plain"), &at("127.0.0.1:7001"), &Parties::default()).unwrap();
        assert_eq!(plain.listen_quic, None);
        let places = Places {
            listen_quic: Some("127.0.0.1:7001"),
            advertise: Some("quic://node.example:7001"),
            ..at("127.0.0.1:7001")
        };
        let made = Config::init_at(&home("quic"), &places, &Parties::default());
        if !cfg!(feature = "quic") {
            let error = made.unwrap_err().to_string();
            assert!(error.contains("built without (feature `quic`"), "{error}");
            return;
        }
        let quic = made.unwrap();
        assert_eq!(quic.listen_quic, Some(address(7001)));
        let more = quic.memory() - plain.memory();
        assert_eq!(more, crate::channel::quic::memory(256 + 2 * 96, 128));
        let text = std::fs::read_to_string(home("quic").join(FILE)).unwrap();
        assert!(text.contains(&format!("under these limits: {} MB at most", quic.memory().div_ceil(1 << 20))));
        let error = Config::parse(&text.replacen("\nlisten_quic", "\n# listen_quic", 1), dir.path()).unwrap_err();
        assert!(error.contains("over which this node does not listen"), "{error}");
        let error =
            Config::parse(&text.replacen("listen_quic = \"127.0.0.1:7001", "listen_quic = \"here", 1), dir.path());
        assert!(error.unwrap_err().contains("listen_quic = \"here"));
    }

    #[test]
    fn wrong_settings_are_named() {
        let anybody = Parties { owners: Admission::Any, consumers: Admission::Any };
        let text = template(&at("127.0.0.1:7001"), &anybody);
        for (from, to, say) in [
            ("version = 1", "version = 2", "version 2"),
            ("consumers = \"any\"", "consumers = \"some\"", "neither"),
            ("owners = \"any\"", "owners = \"some\"", "owners"),
            ("consumers = \"any\"", "consumers = [\"12\"]", "64 hexadecimal"),
            ("jobs = 4", "jobs = 0", "limits.jobs"),
            ("jobs = 4", "jbos = 4", "jbos"),
            ("packs = 64", "packs = 100000", "limits.packs"),
            ("listen = \"127.0.0.1:7001\"", "listen = \"here\"", "listen"),
            ("# advertise = \"node.example:7700\"", "advertise = \"node.example\"", "host:port"),
        ] {
            let error = Config::parse(&text.replacen(from, to, 1), Path::new("/n")).unwrap_err();
            assert!(error.contains(say), "{error}");
        }
    }
}
