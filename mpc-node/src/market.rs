//! What this crate asks of whoever knows the chain: a node before it computes for money ([`Market`]), and a consumer
//! before it asks for a job that is to be paid ([`Purse`]).
//!
//! Nothing here knows a chain, a contract or a coin: sessions, vouchers and receipts are bytes in the form of whoever
//! implements the traits. A node has a market or none; without one it refuses sharings for money by name.
//!
//! For one job a node calls [`Market::licensed`] when it is asked (and when packs are asked for), [`Market::accept`] before it takes
//! the input, then [`Market::draw_up`] (the first evaluator only), [`Market::judge`] and [`Market::complete`], in this order,
//! and [`Market::give_up`] instead of what is left when the job comes to nothing. The helper of a job has no part in it: it
//! calls [`Market::judge`] and [`Market::complete`] only, for an order that it sees for the first time then.

use std::fmt;

use thiserror::Error;

use crate::identity::PublicKey;
pub use crate::manifest::Asset;
pub use crate::wire::{Complete, JobId, MAX_RECEIPT, MAX_SEALING, MAX_SESSION, MAX_VOUCHER, ManifestId, Task};

/// Where something is asked for: one version of a sharing, at one committee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// [`crate::committee::Committee::digest`].
    pub committee: [u8; 32],
    /// Keys of the committee's members, in its order: signatures of receipts are in that order, too.
    pub keys: [PublicKey; 3],
    /// The version of the sharing.
    pub manifest: ManifestId,
    /// What its owner says gives access to it.
    pub asset: Asset,
}

/// A job that is to be paid. All members see the same one; the consumer has signed job, task and inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Where.
    pub place: Place,
    /// The key that asks.
    pub asker: PublicKey,
    /// The job's name; [`JobId::seconds`] says when it was chosen.
    pub job: JobId,
    /// What is computed; [`Task::encode`] are its bytes.
    pub task: Task,
    /// The consumer's commitments to the input shares of the first and the second evaluator.
    pub inputs: [[u8; 32]; 2],
    /// What pays, in the form of the purse that made it.
    pub voucher: Vec<u8>,
}

/// What both evaluators know of a job that has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobEnd {
    /// Commitments to the output shares of the first and the second evaluator.
    pub outputs: [[u8; 32]; 2],
    /// What the records of both agree on: [`crate::transcript::Record::agreed`].
    pub transcript: [u8; 32],
    /// Rounds between the evaluators.
    pub rounds: u32,
}

/// Why somebody is not served for money. What it says goes to the asker and to other members: no secrets.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unlicensed {
    /// No open session of the asker is known here: it has to be shown ([`Market::present`]), also again after a restart.
    #[error("{0}")]
    Unknown(String),
    /// Not allowed, or not paid in a way that counts.
    #[error("{0}")]
    Refused(String),
    /// Another order holds the total: a job that runs, or one whose consumer has just gone. It is asked again for a while.
    #[error("{0}")]
    Held(String),
    /// The voucher is further than one step above the last complete receipt known here; another member, or the consumer,
    /// may have a later one ([`Market::last`], [`Market::learn`]).
    #[error("{0}")]
    Behind(String),
    /// The voucher's total, or a higher one, was receipted for another job: whoever lacks that receipt asks for the last one.
    #[error("{0}")]
    Spent(String),
    /// This node cannot tell now: what it knows of the chain is too old, nobody answers it, or its disk fails.
    #[error("{0}")]
    Unable(String),
}

/// What a job that came to nothing has cost here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waste {
    /// Nothing that would not serve another job: it was refused, or given up, before its pack was taken.
    Nothing,
    /// Its pack, which serves nobody any more.
    Pack,
    /// Questions to the other members: it said that this node is behind, and none of them had a receipt that this node lacks. It was
    /// never accepted.
    Questions,
}

/// What a share node asks before it computes on a sharing whose access rule is a chain's
/// ([`crate::manifest::AccessRule::Chain`]), and tells afterwards. Called by many threads at the same time.
pub trait Market: Send + Sync {
    /// Whether `asker` has an open session for this place: asked before anything is made ready, dealt or computed for it, and
    /// often. Answers from memory.
    ///
    /// # Errors
    /// [`Unlicensed::Unknown`] when the asker has to show its session first.
    fn licensed(&self, place: &Place, asker: &PublicKey) -> Result<(), Unlicensed>;

    /// A consumer shows its session: at most [`MAX_SESSION`] bytes of its purse ([`Purse::session`]), from somebody who may be
    /// anybody. May take seconds, of which the implementation sees to an end: few are asked at the same time, so one that hangs keeps
    /// others out. What can be told without asking anybody (that it is the asker's at all, say) is looked at first.
    ///
    /// # Errors
    /// When it is not proven that the session is open, the asker's and for this place.
    fn present(&self, place: &Place, asker: &PublicKey, session: &[u8]) -> Result<(), Unlicensed>;

    /// Whether the session that this voucher names is open and the asker's, as far as this node knows: asked of the helper before the
    /// first job of a session uses a pack. A market that knows sessions apart looks at that one.
    ///
    /// # Errors
    /// As [`Market::licensed`].
    fn knows(&self, place: &Place, asker: &PublicKey, _voucher: &[u8]) -> Result<(), Unlicensed> {
        self.licensed(place, asker)
    }

    /// How many more calls the open sessions of this key pay for, of all assets: no more packs than that, and a few, are made for it
    /// ahead of its jobs. Answers from memory. A market that does not count says so by [`u64::MAX`].
    fn calls_left(&self, _asker: &PublicKey) -> u64 {
        u64::MAX
    }

    /// Whether this key is known to have had a session here, also before a restart: it is no stranger then. Answers from memory.
    fn is_customer(&self, _asker: &PublicKey) -> bool {
        false
    }

    /// An order, before its input is taken: signature, session, lane, job and request of the voucher, exactly one price above
    /// the last complete receipt, within the cap. Reserves that total for the order: another order of the session
    /// is [`Unlicensed::Held`] until this one is complete or given up. The same order again is the same reservation.
    ///
    /// # Errors
    /// When the voucher does not pay for this order.
    fn accept(&self, order: &Order) -> Result<(), Unlicensed>;

    /// As the first evaluator, for an order that it accepted: the receipt, at most [`MAX_RECEIPT`] bytes.
    ///
    /// # Errors
    /// When it cannot be drawn up: the session is over meanwhile, say.
    fn draw_up(&self, order: &Order, end: &JobEnd) -> Result<Vec<u8>, Unlicensed>;

    /// As any member: whether these bytes are the receipt that this node would sign for the order, and the digest to sign. `end`
    /// is what an evaluator knows of the job; the helper has none and checks everything else, the voucher's signature and step
    /// included. Signing binds: once a node has signed, it holds the total for this order until it is complete or given up.
    ///
    /// # Errors
    /// When the receipt says something else than this node knows.
    fn judge(&self, order: &Order, end: Option<&JobEnd>, receipt: &[u8]) -> Result<[u8; 32], Unlicensed>;

    /// All members have signed the receipt that was judged; the signatures have been checked. On disk when this returns: only then
    /// is the answer let go.
    ///
    /// # Errors
    /// When it cannot be kept: the answer is not let go, then.
    fn complete(&self, order: &Order, complete: &Complete) -> Result<(), Unlicensed>;

    /// The order came to nothing here, at whatever step (for one that was never accepted: nothing happens). Its total may be
    /// used by another. A receipt that this node has signed may still turn up complete: see [`Market::learn`]. Only what `waste`
    /// says may be held against whoever asked.
    fn give_up(&self, order: &Order, waste: Waste);

    /// The last complete receipt of the session and lane that the voucher names, if the session is the asker's and there is one.
    fn last(&self, place: &Place, asker: &PublicKey, voucher: &[u8]) -> Option<Complete>;

    /// Whether everybody may read the answer to an order that this node accepted: then the evaluators show each other their shares of it
    /// before they sign, so that a receipt can name the answer itself. They learn it by that, as everybody does.
    fn is_public(&self, _order: &Order) -> bool {
        false
    }

    /// The answer to an order whose answer is public: the output tensors, which both evaluators have from each other's shares and
    /// checked against what the other one signed. Called before [`Market::draw_up`] and [`Market::judge`].
    ///
    /// # Errors
    /// When it cannot be published.
    fn answered(&self, _order: &Order, _outputs: &[Vec<i32>]) -> Result<(), Unlicensed> {
        Ok(())
    }

    /// Whose key fetches this node's share of the answer afterwards: the asker's, unless somebody else asks in another one's name.
    fn reader(&self, order: &Order) -> PublicKey {
        order.asker
    }

    /// This node's sealing key, signed, in the implementation's form, at most [`MAX_SEALING`] bytes: told to anybody who asks. None
    /// where nothing is sealed to this node.
    fn sealing(&self) -> Option<Vec<u8>> {
        None
    }

    /// A complete receipt from somebody else, of a session that this node knows or not: kept on disk, if all members signed
    /// it ([`Complete::is_signed`]; checked by the implementation, as only it knows the digest), it is for this place and asker
    /// and later than what this node has. What this node has already, or something older, is no error.
    ///
    /// # Errors
    /// When it is not such a receipt.
    fn learn(&self, place: &Place, asker: &PublicKey, complete: &Complete) -> Result<(), Unlicensed>;
}

/// Why a purse does not pay, or does not take a receipt: for people, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Unpaid(pub String);

/// What a consumer asks before a job that is to be paid, and tells afterwards. Called by many threads at the same time. One client's
/// jobs of one asset come one after the other: [`Purse::voucher`], then [`Purse::paid`] or [`Purse::failed`]. Where several clients
/// share a purse, it sees to it itself that no two vouchers of one session are under way.
pub trait Purse: Send + Sync {
    /// What is shown to each member of the committee: bytes that let its market prove the session ([`Market::present`]). Asked
    /// once for each node and lane pool, and again when a node does not know it any more. May open a session.
    ///
    /// # Errors
    /// When there is no session and none can be opened: no licence, no money, above what the owner of the purse allows.
    fn session(&self, place: &Place) -> Result<Vec<u8>, Unpaid>;

    /// A voucher for one job, one price above the last receipt of the session; of the same total as before when the job before
    /// failed. `order` has no voucher yet.
    ///
    /// # Errors
    /// When the session's cap or its time is reached, or the owner of the purse allows no more.
    fn voucher(&self, order: &Order) -> Result<Vec<u8>, Unpaid>;

    /// A job's receipt, before its answer is given out. `end` is what the evaluators' signed records, which were checked against
    /// request and answer, say. Checks that the receipt is that of the order and the end, and the three signatures
    /// ([`Complete::is_signed`]), and keeps it.
    ///
    /// # Errors
    /// When the receipt is not the one that was paid for: the answer is not given out.
    fn paid(&self, order: &Order, end: &JobEnd, complete: &Complete) -> Result<(), Unpaid>;

    /// The job came to nothing, as far as the consumer knows. `lasts` are the different last complete receipts that the nodes show now,
    /// unchecked, three at most: the highest that is good, if it is of a total that this purse has no receipt for, spends that total.
    fn failed(&self, order: &Order, lasts: &[Complete]);

    /// The nodes refuse what the session in use for this place pays for, and no receipt that they show says why: whether there is
    /// another one, which is used from now on.
    fn refused(&self, _place: &Place) -> bool {
        false
    }

    /// The consumer gave the job up by itself. The nodes may finish it all the same and have a receipt later, which is no fault of
    /// theirs.
    fn dropped(&self, order: &Order);
}

impl fmt::Debug for dyn Purse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Purse") // nothing of what is in it
    }
}
