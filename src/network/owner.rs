//! What the owner of models does on share nodes: hands them over, says who may use them, takes them back.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use sahara_circuits::votes;
use sahara_mpc::client::{Access, Assignment, Client, Consumers, Listed, Offer, Sharing, SharingName, Visibility};
use sahara_mpc::engine::NodeNoise;
use sahara_mpc::identity::PublicKey;
use sahara_mpc::manifest::{AccessRule, Asset, Budget, NoiseTerms, Sensitivity};
use sahara_mpc::wire::SharingEntry;

use super::error::{find_error, owners_error};
use super::{NetworkError, committee, graphs};
use crate::embedding::{Stop, wanted};
use crate::error::{Error, Result};
use crate::home::Home;
use crate::keys::{self, Role};
use crate::models::{Model, StoreError, client_part};
use crate::progress::Progress;

/// How a model is shared.
#[derive(Clone, Debug)]
pub struct ShareOptions {
    /// What it is called there; none means the model's name, with `.open` for open weights.
    pub name: Option<SharingName>,
    /// Whether the nodes may know the weights.
    pub visibility: Visibility,
    /// Who may use it; none means whoever might before, at first the local user's own key.
    pub consumers: Option<Consumers>,
    /// The asset whose licences give access to it instead, for money: then there are no `consumers`, and the owner pays, too.
    pub asset: Option<Asset>,
    /// Under which terms the answers of a vote leave; no other model has such terms, and no vote goes without.
    pub noise: Option<NoiseOptions>,
    /// Hand it over again even if the nodes have it.
    pub force: bool,
}

/// The noise on the counts of a vote, and what all answers may cost.
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseOptions {
    /// What you call the data that the voters learned from: all your sharings that name it draw on one budget.
    pub dataset: SharingName,
    /// Standard deviation that is left to whoever knows one node's part of the noise, in votes.
    pub deviation: f64,
    /// ε of all answers together.
    pub epsilon: f64,
    /// Its δ.
    pub delta: f64,
}

impl NoiseOptions {
    /// The terms for a vote's graph. One voter's data is one record: it changes two counts by one each.
    fn terms(&self, input: u32) -> Result<NoiseTerms> {
        let range = |e: String| NetworkError::Budget(e);
        // Each node adds half of what is left; rounded up.
        let variance = (self.deviation * self.deviation / 2.0).ceil();
        let sound = self.deviation.is_finite() && variance >= 1.0;
        let variance = if sound { variance as u64 } else { 0 };
        let noise = NodeNoise::new(vec![input], variance).map_err(|e| range(e.to_string()))?;
        let sensitivity = Sensitivity { l1: votes::L1, l2_squared: votes::L2_SQUARED };
        let budget = Budget::new(self.epsilon, self.delta).map_err(range)?;
        Ok(NoiseTerms { noise, assignment: Assignment::ALL[0], dataset: self.dataset.clone(), sensitivity, budget })
    }
}

/// What a model is shared with: terms for a vote, and none for others.
pub(super) fn terms(model: &Model, options: Option<&NoiseOptions>) -> Result<Option<NoiseTerms>> {
    let graphs = graphs(model)?;
    let inputs: Vec<Option<u32>> = graphs.all.iter().map(|graph| votes::noise_input(graph)).collect();
    match (inputs[..].first().copied().flatten(), options) {
        (None, None) => Ok(None),
        (Some(input), Some(options)) if inputs.iter().all(|other| *other == Some(input)) => {
            options.terms(input).map(Some)
        }
        (Some(_), None) => Err(NetworkError::Noise(
            "the model is a vote: it is shared with the name of its data, a deviation and a budget",
        )
        .into()),
        _ => Err(NetworkError::Noise("the model is no vote: its answers do not leave with noise").into()),
    }
}

impl Default for ShareOptions {
    fn default() -> Self {
        Self { name: None, visibility: Visibility::Private, consumers: None, asset: None, noise: None, force: false }
    }
}

/// A sharing of the local user's, as it is now.
#[derive(Clone, Debug)]
pub struct OwnSharing {
    /// As all three nodes hold it.
    pub sharing: Sharing,
    /// Who may use it; nobody by a list of keys where an asset gives access.
    pub consumers: Consumers,
    /// Whether the model was handed over for it.
    pub uploaded: bool,
}

/// The local user as the owner of models on a committee's nodes.
pub struct Owner {
    home: Home,
    client: Client,
}

impl Owner {
    /// The owner of this home, on the committee of a file or the local network. No node is asked yet.
    ///
    /// # Errors
    /// When there is no such committee, or the owner's key cannot be read.
    pub fn connect(home: &Home, committee_file: Option<&Path>) -> Result<Self> {
        let committee = committee(home, committee_file)?;
        Ok(Self { home: home.clone(), client: keys::client(home, Role::Owner, committee)? })
    }

    /// Hands a model to the nodes, or changes who may use it where they have it.
    ///
    /// # Errors
    /// When the nodes cannot be reached or refuse, or `stop` is set: then they have the version that they had before.
    pub fn share(&self, model: &Model, options: &ShareOptions, stop: &Stop, progress: &Progress) -> Result<OwnSharing> {
        let visibility = options.visibility;
        let name = match &options.name {
            Some(name) => name.clone(),
            None => sharing_name(&model.info.name, visibility)?,
        };
        let owner = &self.client;
        let own = keys::load(&self.home, Role::Consumer)?.public();
        let _turn = keys::turn_to_share(&self.home, stop, progress)?;
        progress.step("asking the nodes for your model");
        let held = owner.held(&name).map_err(|e| owners_error(owner, "asking the nodes for your model", e))?;
        let consumers = match (&options.consumers, &held) {
            _ if options.asset.is_some() => Consumers::Only(Vec::new()),
            (Some(named), _) => named.clone(),
            (None, Some(held)) => listed_before(&held.listed, own, progress)?,
            (None, None) => Consumers::only([own]),
        };
        let noise = terms(model, options.noise.as_ref())?;
        let graphs = graphs(model)?;
        let same = |sharing: &Sharing| {
            let manifest = sharing.manifest();
            let sold = match &manifest.access {
                AccessRule::Keys(_) => None,
                AccessRule::Chain(asset) => Some(*asset),
            };
            graphs.are_in(sharing)
                && (manifest.visibility(), sold) == (visibility, options.asset)
                && manifest.noise == noise
                && manifest.client_part.is_some()
        };
        let unchanged = held.as_ref().is_some_and(|held| held.settled && held.listed.keys() == Some(&consumers));
        let before = held.as_ref().map(|held| held.listed.keys().cloned().unwrap_or(Consumers::Only(Vec::new())));
        if let Some(sharing) = held.and_then(|held| held.sharing).filter(|sharing| !options.force && same(sharing)) {
            wanted(stop)?;
            if !unchanged && options.asset.is_none() {
                let changing = "changing who may use your model";
                owner.set_consumers(&name, consumers.clone()).map_err(|e| owners_error(owner, changing, e))?;
            }
            return Ok(OwnSharing { sharing, consumers, uploaded: false });
        }
        // Who is taken off the list is off it at the nodes that have an earlier version, whatever becomes of the upload; who
        // is new on it comes with the new version. A node that refuses is given the list with the upload.
        if let Some(before) = before.filter(|_| !unchanged) {
            wanted(stop)?;
            let _ = owner.set_consumers(&name, before.both(&consumers));
        }
        progress.step("packing what consumers need");
        let part = client_part::pack(&model.compiled)?;
        let counted = noise.as_ref().map(|terms| [terms.assignment]);
        let offer = Offer {
            name,
            graphs: &graphs.all,
            weights: &model.compiled.weights,
            visibility,
            assignments: counted.as_ref().map_or(&Assignment::ALL, |one| one),
            access: options.asset.map_or_else(|| consumers.clone().into(), Access::Chain),
            client_part: Some(&part),
            noise: noise.clone(),
        };
        let doing = format!("sharing {} among the nodes", model.info.name);
        let shared = owner.until(stop.clone()).share(&offer, &percent_of(progress, &doing));
        let sharing = shared.map_err(|e| owners_error(owner, &doing, e))?;
        Ok(OwnSharing { sharing, consumers, uploaded: true })
    }

    /// Takes a model back from the nodes; whether they had it.
    ///
    /// # Errors
    /// When the nodes cannot be reached or refuse.
    pub fn unshare(&self, name: &SharingName) -> Result<bool> {
        self.client.unshare(name).map_err(|e| owners_error(&self.client, "taking the model back", e))
    }
}

/// What the nodes list for the local user.
#[derive(Debug, Default)]
pub struct Listing {
    /// The models, by owner and name.
    pub sharings: Vec<SharingEntry>,
    /// Why some nodes do not say what they have.
    pub silent: Vec<Error>,
}

/// The models on the nodes that the local user owns or may ask, as far as these keys of theirs tell.
///
/// # Errors
/// When there is no such committee, no node of it can be asked, or none lists anything and one does not say what it has.
pub fn sharings(home: &Home, committee_file: Option<&Path>, roles: &[Role]) -> Result<Listing> {
    let committee = committee(home, committee_file)?;
    let mut listing = Listing::default();
    for &role in roles {
        let client = keys::client(home, role, committee.clone())?;
        match client.sharings() {
            Ok(found) => {
                listing.sharings.extend(found.sharings);
                listing.silent.extend(found.failed.into_iter().map(|error| find_error(&client, error)));
            }
            // A key that no node admits owns nothing there.
            Err(error) if role == Role::Owner && roles.len() > 1 && error.is_not_admitted() => {}
            Err(error) => return Err(find_error(&client, error)),
        }
    }
    listing.sharings.sort_by(|a, b| (a.owner, &a.name).cmp(&(b.owner, &b.name)));
    listing.sharings.dedup_by(|a, b| (a.owner, &a.name) == (b.owner, &b.name));
    // Where a node does not say what it has, that nothing is there would be too much said.
    if listing.sharings.is_empty() && !listing.silent.is_empty() {
        return Err(listing.silent.swap_remove(0));
    }
    Ok(listing)
}

/// Who may use a model as before; `own` alone where no list counts here, which is told.
///
/// # Errors
/// When a node says that it was taken back, though another still has it: then only the owner can say.
pub(super) fn listed_before(listed: &Listed, own: PublicKey, progress: &Progress) -> Result<Consumers> {
    let why = match listed {
        Listed::Keys(keys) => return Ok(keys.clone()),
        Listed::TakenBack { shown_by } => return Err(NetworkError::TakenBack { still: shown_by.clone() }.into()),
        Listed::Elsewhere => "this model was shared with another committee",
        Listed::Unbound => "an earlier program signed who may use this model, for no committee in particular",
    };
    progress.note(&format!("{why}: whoever could use it has to be named anew"));
    Ok(Consumers::only([own]))
}

/// Shows how far an upload is.
pub(super) fn percent_of<'a>(progress: &'a Progress, doing: &'a str) -> impl Fn(u64, u64) + Sync + 'a {
    progress.step(doing);
    // Held while it is shown: three uploads report, and the number only grows.
    let shown = Mutex::new(0);
    move |sent, total| {
        let percent = 100 * sent / total.max(1);
        let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
        if *shown < percent {
            *shown = percent;
            progress.percent(doing, percent);
        }
    }
}

/// What the local user's sharing of a model is called: private and open weights are two sharings.
pub(super) fn sharing_name(model: &str, visibility: Visibility) -> Result<SharingName> {
    let name = match visibility {
        Visibility::Private => model.to_owned(),
        Visibility::Open => format!("{model}.open"),
    };
    name.parse().map_err(|why| StoreError::Unshareable { name, why }.into())
}
