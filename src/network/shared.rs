//! Which sharing a model is used through: the local user's own, which is handed over when the nodes do not have it, or
//! somebody else's.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sahara_circuits::graph::Graph;
use sahara_mpc::client::{
    Assignment, Client, ClientError, Committee, Consumers, GraphId, Offer, Sharing, SharingName, SharingRef, Visibility,
};

use crate::error::{Error, Result};
use crate::home::Home;
use crate::keys::{self, Role};
use crate::models::{Model, SharedModel, client_part};
use crate::progress::Progress;

use super::NetworkError;
use super::error::{find_error, not_for_us, owners_error};
use super::owner::{listed_before, percent_of, sharing_name};

/// The sharing of one model, found once and kept until a node says that it is gone.
pub(super) struct Shared {
    which: SharingRef,
    /// How the local user hands the model over, if it is the owner.
    own: Option<Own>,
    found: Mutex<Option<Sharing>>,
    /// Whether it was ever found: what is gone afterwards was taken back.
    known: AtomicBool,
    /// One hand-over of the model at a time.
    handing_over: Mutex<()>,
}

/// A sharing of the local user's.
struct Own {
    home: Home,
    owner: Client,
    name: SharingName,
    visibility: Visibility,
}

impl Shared {
    /// Somebody else's sharing. Whether the nodes know the weights is its owner's choice: `wanted` may only agree.
    pub(super) fn of_another(shared: &SharedModel, wanted: Option<Visibility>) -> Result<Self> {
        if wanted.is_some_and(|wanted| wanted != shared.visibility) {
            let (which, chosen) = (shared.which.clone(), shared.visibility);
            return Err(NetworkError::Weights { which, chosen }.into());
        }
        let which = shared.which.clone();
        Ok(Self::new(which, None))
    }

    /// The local user's own sharing of a model.
    ///
    /// # Errors
    /// When the owner's key cannot be read, or the model's name is none for a sharing.
    pub(super) fn own(home: &Home, committee: Committee, model: &Model, visibility: Visibility) -> Result<Self> {
        let owner = keys::client(home, Role::Owner, committee)?;
        let name = sharing_name(&model.info.name, visibility)?;
        let which = SharingRef::Named(owner.owner_key(), name.clone());
        let own = Some(Own { home: home.clone(), owner, name, visibility });
        Ok(Self::new(which, own))
    }

    fn new(which: SharingRef, own: Option<Own>) -> Self {
        Self { which, own, found: Mutex::default(), known: AtomicBool::new(false), handing_over: Mutex::default() }
    }

    /// How the sharing is named.
    pub(super) fn which(&self) -> &SharingRef {
        &self.which
    }

    /// Asks the nodes for the sharing, and keeps it if they have it; what is to be done otherwise, [`Shared::get`] decides.
    ///
    /// # Errors
    /// When a node cannot be asked.
    pub(super) fn look(&self, consumer: &Client, model: &Model) -> Result<()> {
        let graphs = graphs(model)?;
        match consumer.find(&self.which) {
            Ok(Some(sharing)) if graphs.are_in(&sharing) => self.keep(sharing),
            Ok(_) | Err(ClientError::Answer(_)) => {}
            Err(error) => return Err(find_error(consumer, error)),
        }
        Ok(())
    }

    fn keep(&self, sharing: Sharing) {
        self.known.store(true, Ordering::Relaxed);
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(sharing);
    }

    /// The sharing as all three nodes hold it; handed over first when they do not and it is the local user's. And
    /// whether it was handed over.
    pub(super) fn get(&self, consumer: &Client, model: &Model, progress: &Progress) -> Result<(Sharing, bool)> {
        if let Some(sharing) = self.found() {
            return Ok((sharing, false));
        }
        let _turn = self.handing_over.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sharing) = self.found() {
            return Ok((sharing, false));
        }
        let graphs = graphs(model)?;
        let mut handed_over = false;
        // A model of one's own is handed over at the beginning. What is not on the nodes later, its owner has taken back;
        // what is another one later, its owner has put there.
        let own = self.own.as_ref().filter(|_| !self.known.load(Ordering::Relaxed));
        let mut sharing = match (consumer.find(&self.which), own) {
            (Ok(Some(sharing)), None) if !graphs.are_in(&sharing) => {
                return Err(NetworkError::Changed(self.which.clone()).into());
            }
            (Ok(found), _) => found.filter(|sharing| graphs.are_in(sharing)),
            // Half an upload of one's own is put right by another.
            (Err(ClientError::Answer(_)), Some(_)) => None,
            (Err(error), _) => return Err(find_error(consumer, error)),
        };
        if let (None, Some(own)) = (&sharing, own) {
            let _turn = keys::turn_to_share(&own.home, consumer.stop(), progress)?;
            let (had, now) = own.hand_over(consumer, model, &graphs, progress)?;
            (sharing, handed_over) = (Some(now), !had);
        }
        let sharing = sharing.ok_or_else(|| self.missing(consumer))?;
        self.keep(sharing.clone());
        Ok((sharing, handed_over))
    }

    fn missing(&self, consumer: &Client) -> Error {
        match &self.own {
            Some(own) => NetworkError::Gone(own.name.clone()).into(),
            None => not_for_us(&self.which, consumer),
        }
    }

    fn found(&self) -> Option<Sharing> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets what was found: a node says that it does not have it.
    pub(super) fn forget(&self) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Own {
    /// Has the nodes take the model, or only lets `consumer` use what they have; whether they had it.
    fn hand_over(
        &self,
        consumer: &Client,
        model: &Model,
        graphs: &Graphs,
        progress: &Progress,
    ) -> Result<(bool, Sharing)> {
        // A vote is handed over by whoever says what its answers may cost.
        super::owner::terms(model, None)?;
        let (owner, asker) = (&self.owner, consumer.key());
        let held = owner.held(&self.name).map_err(|e| owners_error(owner, "asking the nodes for your model", e))?;
        // Whoever was let in before still is, and needs a client part as before.
        let mut consumers = Consumers::only([asker]);
        let mut client_part = None;
        if let Some(held) = held {
            consumers = listed_before(&held.listed, asker, progress)?.with(asker);
            let same = |sharing: &Sharing| graphs.are_in(sharing) && sharing.manifest().visibility() == self.visibility;
            if let Some(sharing) = held.sharing.filter(same) {
                let doing = "letting your own key use your model";
                owner.set_consumers(&self.name, consumers).map_err(|e| owners_error(owner, doing, e))?;
                return Ok((true, sharing));
            }
            client_part = held.client_part.then(|| client_part::pack(&model.compiled)).transpose()?;
        }
        let offer = Offer {
            name: self.name.clone(),
            graphs: &graphs.all,
            weights: &model.compiled.weights,
            visibility: self.visibility,
            assignments: &Assignment::ALL,
            access: consumers.into(),
            client_part: client_part.as_deref(),
            noise: None,
        };
        let doing = format!("sharing {} among the nodes", model.info.name);
        // Given up with the question that needs it.
        let owner = owner.until(consumer.stop().clone());
        let shared = owner.share(&offer, &percent_of(progress, &doing));
        shared.map(|sharing| (false, sharing)).map_err(|e| owners_error(&owner, &doing, e))
    }
}

/// The graphs of a model for all lengths.
pub(crate) struct Graphs {
    /// Shortest first.
    pub(crate) all: Vec<Arc<Graph>>,
    /// Their ids, in the same order.
    pub(crate) ids: Vec<GraphId>,
    /// The commitment to the weights that they have in common.
    weights_root: [u8; 32],
}

impl Graphs {
    /// Whether a sharing has these graphs and weights.
    pub(crate) fn are_in(&self, sharing: &Sharing) -> bool {
        sharing.is_of(&self.ids, &self.weights_root)
    }
}

/// The graphs of a model.
///
/// # Errors
/// When it has none of a length that it names.
pub(crate) fn graphs(model: &Model) -> Result<Graphs> {
    let buckets = model.compiled.buckets().into_iter();
    let all: Vec<Arc<Graph>> = buckets.map(|bucket| crate::embedding::graph(model, bucket)).collect::<Result<_>>()?;
    let weights_root = all.first().map_or([0; 32], |graph| graph.weights_root);
    Ok(Graphs { ids: all.iter().map(|graph| graph.id()).collect(), all, weights_root })
}
