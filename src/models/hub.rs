//! The Hugging Face hub: which files a repository has, and each of those that may change an answer, at one revision.
//!
//! `HF_ENDPOINT` names a mirror; `HF_TOKEN`, or the file in which the hub's own tools keep it, opens repositories that are not
//! public. The token goes to that one host and to no other that it points to.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::crypto::aws_lc_rs;
use sahara_circuits::hf::{folder, most_weights};
use serde::Deserialize;
use ureq::http::{Response, StatusCode, Uri};
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, Body};
use zeroize::Zeroizing;

use super::fetch::{FetchedFile, copy};
use super::pinned::PinnedFile;
use super::{DownloadError, StoreError};
use crate::error::{Error, Result};
use crate::progress::Progress;

/// Where the hub is unless `HF_ENDPOINT` says otherwise.
const ENDPOINT: &str = "https://huggingface.co";
/// How long it may take to find the host, to connect, and to begin an answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a download may stand still.
const STALLED: Duration = Duration::from_secs(60);
/// Largest list of a repository's files, in bytes.
const MAX_LISTING: u64 = 8 << 20;
/// Most times that the hub may point elsewhere for one file.
const MAX_REDIRECTS: usize = 5;
/// Slowest download that is waited for, in bytes a second on average, after [`STALLED`].
const SLOWEST: u64 = 1 << 10;
/// Most small files of a model.
const MAX_FILES: usize = 64;
/// A download says how far it is at most once for so many bytes.
const TOLD_EVERY: u64 = 8 << 20;

/// A hub, or a mirror of it.
pub struct Hub {
    agent: Agent,
    endpoint: String,
    token: Option<Zeroizing<String>>,
}

/// What the hub says of a repository.
#[derive(Deserialize)]
struct Listing {
    /// The commit whose files these are.
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

/// A repository at one revision.
pub struct Repository<'a> {
    hub: &'a Hub,
    /// `owner/name`.
    id: String,
    revision: String,
    into: &'a Path,
    progress: &'a Progress,
    fetched: Vec<FetchedFile>,
    /// Bytes that files of weights may have from now on, all together.
    weights_left: u64,
}

impl Hub {
    /// The hub that the environment names.
    ///
    /// # Errors
    /// `HF_ENDPOINT` is no address of a web server.
    pub fn from_environment() -> Result<Self> {
        let endpoint = std::env::var("HF_ENDPOINT").ok().filter(|endpoint| !endpoint.is_empty());
        Self::at(endpoint.as_deref().unwrap_or(ENDPOINT), token())
    }

    fn at(endpoint: &str, token: Option<Zeroizing<String>>) -> Result<Self> {
        let endpoint = endpoint.trim_end_matches('/');
        if !is_web(endpoint) || origin(endpoint).is_none() {
            return Err(DownloadError::Endpoint(endpoint.to_owned()).into());
        }
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(aws_lc_rs::default_provider()))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .https_only(endpoint.starts_with("https://"))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("sahara/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(PATIENCE))
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_per_read(Some(STALLED))
            .build();
        Ok(Self { agent: config.into(), endpoint: endpoint.to_owned(), token })
    }

    /// An answer, of where the hub points to if it does; what comes with a pointer is not read. The token goes to the hub's
    /// own host only, at each step.
    fn get(&self, path: &str, doing: &str) -> Result<Response<Body>> {
        let failed = |why: &dyn std::fmt::Display| -> Error {
            DownloadError::Unreachable { doing: doing.to_owned(), why: why.to_string() }.into()
        };
        let mut place = format!("{}/{path}", self.endpoint);
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.agent.get(&place);
            let at_hub = origin(&place).is_some_and(|host| origin(&self.endpoint) == Some(host));
            if let Some(token) = self.token.as_ref().filter(|_| at_hub) {
                request = request.header("Authorization", format!("Bearer {}", token.as_str()));
            }
            let response = request.call().map_err(|e| failed(&e))?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let location = response.headers().get("location").and_then(|to| to.to_str().ok()).unwrap_or_default();
            place = match location {
                path if path.starts_with('/') && !path.starts_with("//") => format!("{}{path}", host_of(&place)),
                place if is_web(place) => place.to_owned(),
                _ => return Err(failed(&"it points to no address")),
            };
        }
        Err(failed(&format_args!("it points on more than {MAX_REDIRECTS} times")))
    }

    /// The files of `owner/name` (`id`) that may change an answer, written into a folder; a model that cannot be used is refused
    /// before its weights are fetched.
    ///
    /// # Errors
    /// The hub cannot be reached, has no such repository or does not show it, or the model is not one that is read.
    pub fn model(&self, id: &str, into: &Path, progress: &Progress) -> Result<Vec<FetchedFile>> {
        let mut repository = Repository::new(self, id, into, progress);
        let names = repository.list()?;
        let unusable = |source| StoreError::Unusable { what: id.to_owned(), source };
        let small: Vec<&String> = names.iter().filter(|name| folder::is_setting(Path::new(name))).collect();
        if small.len() > MAX_FILES {
            let id = id.to_owned();
            return Err(DownloadError::TooMany { id, files: small.len(), most: MAX_FILES }.into());
        }
        for file in small {
            repository.fetch(file)?;
        }
        repository.weights_left = most_weights(into).map_err(unusable)?;
        let modules = into.join("modules.json");
        let modules = if modules.exists() { folder::module_folders(&modules).map_err(unusable)? } else { Vec::new() };
        let transformer = modules.first().cloned().unwrap_or_default();
        for module in modules.iter().skip(1) {
            let weights = module.join("model.safetensors").display().to_string();
            if names.contains(&weights) {
                repository.fetch_weights(&weights)?;
            }
        }
        let within = |file: &str| transformer.join(file).display().to_string();
        let (whole, index) = (within("model.safetensors"), within("model.safetensors.index.json"));
        if names.contains(&whole) {
            repository.fetch_weights(&whole)?;
        } else if names.contains(&index) {
            repository.fetch(&index)?;
            for shard in folder::shards(&into.join(&index)).map_err(unusable)? {
                repository.fetch_weights(&within(&shard))?;
            }
        } else {
            let id = id.to_owned();
            return Err(DownloadError::NoWeights { id, file: whole, convert: folder::CONVERT }.into());
        }
        Ok(repository.fetched)
    }

    /// These files of `owner/name`.
    ///
    /// # Errors
    /// As [`Hub::model`], and if a file is not there.
    pub fn files(&self, id: &str, files: &[PinnedFile], into: &Path, progress: &Progress) -> Result<Vec<FetchedFile>> {
        let mut repository = Repository::new(self, id, into, progress);
        for file in files {
            repository.fetch_at_most(file.name, file.bytes, "not the pinned file")?;
        }
        Ok(repository.fetched)
    }
}

impl<'a> Repository<'a> {
    fn new(hub: &'a Hub, id: &str, into: &'a Path, progress: &'a Progress) -> Self {
        Self {
            hub,
            id: id.to_owned(),
            revision: "main".to_owned(),
            into,
            progress,
            fetched: Vec::new(),
            weights_left: 0,
        }
    }

    /// The names of all files. What is fetched from now on is of the commit that has them.
    fn list(&mut self) -> Result<BTreeSet<String>> {
        let doing = format!("asking the Hugging Face hub for {}", self.id);
        self.progress.step(&doing);
        let response = self.hub.get(&format!("api/models/{}/revision/{}", self.id, self.revision), &doing)?;
        let body = self.answer(response, &doing)?.ok_or_else(|| self.unknown())?;
        let mut bytes = Vec::new();
        let read = Told::new(body, None, &doing, self.progress).take(MAX_LISTING + 1).read_to_end(&mut bytes);
        read.map_err(|source| DownloadError::BrokenOff { doing: doing.clone(), source })?;
        let wrong = |why: String| -> Error { DownloadError::NoHub { doing: doing.clone(), why }.into() };
        if bytes.len() as u64 > MAX_LISTING {
            return Err(wrong(format!("a list of more than {MAX_LISTING} bytes")));
        }
        let listing: Listing = serde_json::from_slice(&bytes).map_err(|e| wrong(e.to_string()))?;
        if listing.sha.is_empty() || listing.sha.len() > 64 || !listing.sha.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong("the answer names no commit".to_owned()));
        }
        self.revision = listing.sha;
        Ok(listing.siblings.into_iter().map(|sibling| sibling.rfilename).collect())
    }

    /// Fetches a small file that must be there.
    fn fetch(&mut self, file: &str) -> Result<()> {
        self.fetch_at_most(file, folder::limit(Path::new(file)), "not a model this program reads").map(drop)
    }

    /// Fetches a file of weights that must be there.
    fn fetch_weights(&mut self, file: &str) -> Result<()> {
        let (left, one) = (self.weights_left, folder::limit(Path::new(file)));
        let why = if left < one {
            "all weights together are larger than config.json asks for"
        } else {
            "not a model this program reads"
        };
        self.weights_left -= self.fetch_at_most(file, left.min(one), why)?;
        Ok(())
    }

    /// Fetches a file that must be there, and not larger than so many bytes; how many it has.
    fn fetch_at_most(&mut self, file: &str, limit: u64, why: &'static str) -> Result<u64> {
        let doing = format!("downloading {file} of {} from the Hugging Face hub", self.id);
        self.progress.step(&doing);
        let response = self.hub.get(&format!("{}/resolve/{}/{}", self.id, self.revision, in_url(file)), &doing)?;
        let length = response.body().content_length();
        let body = self
            .answer(response, &doing)?
            .ok_or_else(|| DownloadError::NoFile { id: self.id.clone(), file: file.to_owned() })?;
        let failed = |source: io::Error| -> Error {
            let error = match source.kind() {
                ErrorKind::FileTooLarge => {
                    DownloadError::TooLarge { id: self.id.clone(), file: file.to_owned(), limit, why }
                }
                _ => DownloadError::BrokenOff { doing: doing.clone(), source },
            };
            error.into()
        };
        if length.is_some_and(|length| length > limit) {
            return Err(failed(ErrorKind::FileTooLarge.into()));
        }
        let told = Told::new(body, length, &doing, self.progress);
        let fetched = copy(told, file, limit, self.into, &failed)?;
        let bytes = fetched.bytes;
        self.fetched.push(fetched);
        Ok(bytes)
    }

    /// The body of an answer; none if what was asked for is not there.
    fn answer(&self, response: Response<Body>, doing: &str) -> Result<Option<impl Read + use<>>> {
        let said = response.headers().get("x-error-code").and_then(|code| code.to_str().ok()).unwrap_or_default();
        match (response.status(), said) {
            (StatusCode::OK, _) => Ok(Some(response.into_body().into_reader())),
            (_, "RepoNotFound") => Err(self.unknown()),
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => Err(self.unknown()),
            (status, _) => Err(DownloadError::Status { doing: doing.to_owned(), status: status.to_string() }.into()),
        }
    }

    fn unknown(&self) -> Error {
        DownloadError::NoRepository(self.id.clone()).into()
    }
}

/// Whether this is an address of the web.
fn is_web(address: &str) -> bool {
    address.starts_with("https://") || address.starts_with("http://")
}

/// What makes an address one of the same host (RFC 6454): scheme, host and port.
fn origin(address: &str) -> Option<(String, String, u16)> {
    let uri: Uri = address.parse().ok()?;
    let usual = |scheme: &str| if scheme == "https" { 443 } else { 80 };
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let port = uri.port_u16().unwrap_or_else(|| usual(&scheme));
    Some((scheme, uri.host()?.to_ascii_lowercase(), port))
}

/// The part of an address before its path.
fn host_of(address: &str) -> &str {
    let host = address.find("://").map_or(0, |at| at + 3);
    address[host..].find('/').map_or(address, |at| &address[..host + at])
}

/// A path as a part of an address (RFC 3986, section 2.3).
fn in_url(path: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(byte);
    path.bytes().map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// The token of the hub's own tools.
fn token() -> Option<Zeroizing<String>> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let file = || {
        let home = || variable("HOME").map(|home| PathBuf::from(home).join(".cache/huggingface"));
        let path = variable("HF_TOKEN_PATH").map(PathBuf::from);
        let path = path.or_else(|| Some(variable("HF_HOME").map(PathBuf::from).or_else(home)?.join("token")))?;
        std::fs::read_to_string(path).ok()
    };
    let token = Zeroizing::new(variable("HF_TOKEN").or_else(file)?);
    let token = Zeroizing::new(token.trim().to_owned());
    (!token.is_empty()).then_some(token)
}

/// A download that says how far it is.
struct Told<'a, R> {
    body: R,
    doing: &'a str,
    progress: &'a Progress,
    length: Option<u64>,
    read: u64,
    next: u64,
    since: Instant,
}

impl<'a, R> Told<'a, R> {
    fn new(body: R, length: Option<u64>, doing: &'a str, progress: &'a Progress) -> Self {
        Self { body, doing, progress, length, read: 0, next: TOLD_EVERY, since: Instant::now() }
    }
}

impl<R: Read> Read for Told<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.body.read(buffer)?;
        self.read += n as u64;
        if self.since.elapsed() > STALLED + Duration::from_secs(self.read / SLOWEST) {
            return Err(io::Error::new(ErrorKind::TimedOut, "less than a kilobyte a second"));
        }
        if self.read >= self.next {
            self.next = self.read + TOLD_EVERY.max(self.length.unwrap_or_default() / 20);
            let of = self.length.map(|length| format!(" of {}", length / 1_000_000)).unwrap_or_default();
            self.progress.step(&format!("{}: {}{of} MB", self.doing, self.read / 1_000_000));
        }
        Ok(n)
    }
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
