//! Which sharing a model is used through: the local user's own, which is handed over when the nodes do not have it, or
//! somebody else's.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sahara_circuits::graph::Graph;
use sahara_mpc::client::{
    Assignment, Client, ClientError, Committee, Consumers, GraphId, Listed, Offer, Sharing, SharingName, SharingRef,
    Visibility,
};
use sahara_mpc::identity::PublicKey;
use sahara_mpc::wire::FailCode;

use crate::error::{Blame, Error, Result};
use crate::home::Home;
use crate::keys::{self, Role};
use crate::models::{Model, SharedModel, client_part};
use crate::progress::Progress;

use super::network_error;

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
            let chosen = if shared.visibility == Visibility::Open { "open" } else { "private" };
            return Err(Error::user(format!(
                "the owner of {} shares it with {chosen} weights: leave out --weights, or say --weights {chosen}",
                shared.which
            )));
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
            Err(error) => return Err(asking(consumer, error)),
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
                return Err(Error::changed(format!(
                    "the owner has shared another version of {} meanwhile: ask again",
                    self.which
                )));
            }
            (Ok(found), _) => found.filter(|sharing| graphs.are_in(sharing)),
            // Half an upload of one's own is put right by another.
            (Err(ClientError::Answer(_)), Some(_)) => None,
            (Err(error), _) => return Err(asking(consumer, error)),
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
            Some(own) => Error::missing(format!(
                "{} is not on the nodes any more, or no longer for your own key: `sahara model share` hands it over again",
                own.name
            )),
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

fn asking(consumer: &Client, error: ClientError) -> Error {
    network_error(consumer, "asking the nodes for the model", error)
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
        let (owner, asker) = (&self.owner, consumer.key());
        let held = owner.held(&self.name).map_err(|e| sharing_error(owner, "asking the nodes for your model", e))?;
        // Whoever was let in before still is, and needs a client part as before.
        let mut consumers = Consumers::only([asker]);
        let mut client_part = None;
        if let Some(held) = held {
            consumers = listed_before(&held.listed, asker, progress)?.with(asker);
            let same = |sharing: &Sharing| graphs.are_in(sharing) && sharing.manifest().visibility() == self.visibility;
            if let Some(sharing) = held.sharing.filter(same) {
                let doing = "letting your own key use your model";
                owner.set_consumers(&self.name, consumers).map_err(|e| sharing_error(owner, doing, e))?;
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
            consumers,
            client_part: client_part.as_deref(),
        };
        let doing = format!("sharing {} among the nodes", model.info.name);
        // Given up with the question that needs it.
        let owner = owner.until(consumer.stop().clone());
        let shared = owner.share(&offer, &percent_of(progress, &doing));
        shared.map(|sharing| (false, sharing)).map_err(|e| sharing_error(&owner, &doing, e))
    }
}

/// Who may use a model as before; `own` alone where it was shared with another committee, which is told.
///
/// # Errors
/// When a node says that it was taken back, though another still has it: then only the owner can say.
pub fn listed_before(listed: &Listed, own: PublicKey, progress: &Progress) -> Result<Consumers> {
    match (listed, listed.why()) {
        (Listed::Keys(keys), _) => Ok(keys.clone()),
        (Listed::TakenBack { .. }, Some(why)) => Err(Error::user(why)),
        (_, why) => {
            why.iter().for_each(|why| progress.note(why));
            Ok(Consumers::only([own]))
        }
    }
}

/// Shows how far an upload is.
pub fn percent_of<'a>(progress: &'a Progress, doing: &'a str) -> impl Fn(u64, u64) + Sync + 'a {
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

/// There is no such sharing for the key of `consumer`.
pub(crate) fn not_for_us(which: &SharingRef, consumer: &Client) -> Error {
    Error::missing(format!(
        "the nodes have no {which} for your key: its owner has to share it with this committee and put your key on its list: {}",
        consumer.key()
    ))
}

/// What the local user's sharing of a model is called: private and open weights are two sharings.
pub fn sharing_name(model: &str, visibility: Visibility) -> Result<SharingName> {
    let name = match visibility {
        Visibility::Private => model.to_owned(),
        Visibility::Open => format!("{model}.open"),
    };
    name.parse()
        .map_err(|why| Error::user(format!("{why}: give the model another name with `sahara model pull --name`")))
}

/// The graphs of a model for all lengths.
pub struct Graphs {
    /// Shortest first.
    pub all: Vec<Arc<Graph>>,
    /// Their ids, in the same order.
    pub ids: Vec<GraphId>,
    /// The commitment to the weights that they have in common.
    weights_root: [u8; 32],
}

impl Graphs {
    /// Whether a sharing has these graphs and weights.
    pub fn are_in(&self, sharing: &Sharing) -> bool {
        sharing.is_of(&self.ids, &self.weights_root)
    }
}

/// The graphs of a model.
///
/// # Errors
/// When it has none of a length that it names.
pub fn graphs(model: &Model) -> Result<Graphs> {
    let buckets = model.compiled.buckets().into_iter();
    let all: Vec<Arc<Graph>> = buckets.map(|bucket| crate::embedding::graph(model, bucket)).collect::<Result<_>>()?;
    let weights_root = all.first().map_or([0; 32], |graph| graph.weights_root);
    Ok(Graphs { ids: all.iter().map(|graph| graph.id()).collect(), all, weights_root })
}

/// An error of sharing in words for the owner: what a node refuses is for a person to settle.
pub fn sharing_error(owner: &Client, doing: &str, error: ClientError) -> Error {
    if error.is_not_admitted() {
        return Error::user(format!(
            "{doing}: {error}: its operator must add your key to the list `owners` in its node.toml: {}",
            owner.key()
        ));
    }
    match error.code() {
        Some(FailCode::Refused) => Error::wrap(doing, Blame::User, error),
        _ => network_error(owner, doing, error),
    }
}
