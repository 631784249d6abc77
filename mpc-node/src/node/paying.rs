//! What this node has to do with its market: sessions that consumers show, orders that it holds while their jobs run, receipts
//! that it signs as the helper, and the last ones, by which members that fell behind catch up.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use sahara_circuits::bytes::Writer;
use sahara_protocol::ring::secret::Secret;

use super::kept::{Kept, Known};
use super::lanes::Peer;
use super::patience::{slot, still_there};
use super::refusal::{Refusal, Trouble, own, peer};
use super::seat::Seat;
use crate::channel::SLOWEST;
use crate::lane::Lane;
use crate::market::{Complete, Market, Order, Place, Unlicensed, Waste};
use crate::meter::Traffic;
use crate::transcript::request_digest;
use crate::wire::{
    Again, AskSession, Cosign, Cosigned, FailCode, Kind, LastReceipt, LastReply, ManifestId, Present, Run, Sealing,
    seconds,
};

/// How often it is asked whether a total is free.
const PAUSE: Duration = Duration::from_millis(10);

/// Seconds between a job's name and its receipt, at most.
const LONGEST_AGO: u64 = 2 * 3600;

/// The market, and the place of a version that is asked for money.
///
/// # Errors
/// When it is not here, or not asked for money, or this node serves no market.
fn market<'a>(seat: &'a Seat, manifest: &ManifestId) -> Result<(&'a Arc<dyn Market>, Place), Refusal> {
    let market = seat.machine.market.as_ref();
    let none = || Refusal::new(FailCode::Refused, "this node serves no market: nothing here is asked for money");
    let market = market.ok_or_else(none)?;
    let missing = || {
        let text = format!("sharing {:.16}… is not here, or not asked for money", manifest.to_string());
        Refusal::new(FailCode::NoModel, text)
    };
    Ok((market, seat.models.place(manifest).ok_or_else(missing)?))
}

/// Proves a session that a consumer shows.
pub(super) fn present(seat: &Seat, lane: &mut Lane, peer: &Peer, shown: &Present) -> Result<(), Trouble> {
    let (machine, key) = (&seat.machine, lane.peer());
    let (market, place) = market(seat, &shown.manifest)?;
    machine.presenting.pace(peer.address, machine.uptime())?;
    let busy = || Refusal::new(FailCode::Busy, "this node proves as many sessions as it can, try again");
    let turns = machine.presenting.turns(peer.caller);
    let _turn = slot(turns, 1, lane, machine.config.timeouts.connect())?.ok_or_else(busy)?;
    market.present(&place, &key, &shown.session)?;
    machine.presenting.remember(key, machine.uptime());
    lane.send_frame(Kind::Done, &[]).map_err(own)
}

/// An order that this node has accepted; given up when dropped, unless it is complete.
pub(super) struct Accepted {
    market: Arc<dyn Market>,
    /// Of an evaluator: where its job is known to run.
    kept: Option<Arc<Kept>>,
    order: Order,
    waste: Waste,
    complete: bool,
}

impl Drop for Accepted {
    fn drop(&mut self) {
        if !self.complete {
            self.market.give_up(&self.order, self.waste);
        }
        if let Some(kept) = &self.kept {
            kept.ends(&self.order);
        }
    }
}

impl Accepted {
    /// What was ordered.
    pub(super) fn order(&self) -> &Order {
        &self.order
    }

    /// The job's pack is taken: from now on somebody has to answer for it.
    pub(super) fn takes_pack(&mut self) {
        self.waste = Waste::Pack;
    }

    /// Who is asked about it.
    pub(super) fn market(&self) -> &dyn Market {
        &*self.market
    }

    /// All members have signed; kept from now on.
    ///
    /// # Errors
    /// When the market cannot keep it.
    pub(super) fn complete(&mut self, complete: &Complete) -> Result<(), Unlicensed> {
        self.market.complete(&self.order, complete)?;
        self.complete = true;
        Ok(())
    }
}

/// Accepts what a consumer pays with, as an evaluator; nothing for a sharing that is not asked for money, which has no place. `run`
/// is signed by the consumer.
///
/// # Errors
/// When it does not pay, or pays for what costs nothing.
pub(super) fn accept(
    seat: &Seat,
    lane: &mut Lane,
    run: &Run,
    place: Option<Place>,
) -> Result<Option<Accepted>, Trouble> {
    let (market, place) = match (&seat.machine.market, place) {
        (Some(market), Some(place)) => (market, place),
        _ if run.voucher.is_empty() => return Ok(None),
        _ => return Err(Refusal::new(FailCode::Refused, "the sharing is not asked for money: send no voucher").into()),
    };
    if run.voucher.is_empty() {
        let text = "the sharing is asked for money: send a voucher with the job";
        return Err(Refusal::new(FailCode::Unpaid, text).into());
    }
    let order = Order {
        place,
        asker: lane.peer(),
        job: run.job,
        task: run.task,
        inputs: run.inputs,
        voucher: run.voucher.clone(),
    };
    let patience = seat.machine.config.timeouts.connect();
    let kept = seat.machine.kept.clone();
    // What ends this request must not give up what another one of the same name has accepted.
    if !kept.begins(&order) {
        return Err(Refusal::new(FailCode::Refused, "a job of this name is under way: choose another").into());
    }
    let accepted = Accepted { market: market.clone(), kept: Some(kept), order, waste: Waste::Nothing, complete: false };
    let order = accepted.order();
    let asked = Cell::new(false);
    let catch = || {
        let turn = seat.machine.catching.turn(order.asker, seat.machine.uptime());
        if turn.is_some() {
            catch_up(seat, market, order);
            asked.set(true);
        }
        turn.is_some()
    };
    let accept = || {
        let result = market.accept(order);
        if asked.get() && matches!(result, Err(Unlicensed::Behind(_))) {
            market.give_up(order, Waste::Questions);
        }
        result
    };
    caught_up(patience, || still_there(lane), catch, accept)?;
    Ok(Some(accepted))
}

/// What `ask` says of an order that runs: once more when this node has caught up with the others' receipts. Nobody waits here.
pub(super) fn caught_up_once<T>(
    seat: &Seat,
    accepted: &Accepted,
    ask: impl Fn() -> Result<T, Unlicensed>,
) -> Result<T, Trouble> {
    caught_up(Duration::ZERO, || Ok(()), || asks_the_others(seat, &accepted.market, &accepted.order), ask)
}

/// For an order whose job has run, or was signed by evaluators: that cannot be had for nothing.
fn asks_the_others(seat: &Seat, market: &Arc<dyn Market>, order: &Order) -> bool {
    catch_up(seat, market, order);
    true
}

/// What `ask` says of an order: once more when this node has caught up with the others' receipts, and again for `patience` while
/// another order holds the total, or `catch`, which does that, is not to ask the others yet.
fn caught_up<T>(
    patience: Duration,
    mut wanted: impl FnMut() -> Result<(), Trouble>,
    catch: impl Fn() -> bool,
    ask: impl Fn() -> Result<T, Unlicensed>,
) -> Result<T, Trouble> {
    let end = Instant::now() + patience;
    let mut behind = false;
    loop {
        match ask() {
            Err(Unlicensed::Behind(_)) if !behind && catch() => behind = true,
            Err(Unlicensed::Behind(_)) if !behind && Instant::now() < end => {
                wanted()?;
                std::thread::sleep(PAUSE);
            }
            Err(Unlicensed::Held(_)) if Instant::now() < end => {
                wanted()?;
                std::thread::sleep(PAUSE);
            }
            result => return Ok(result?),
        }
    }
}

/// Asks the other members for the last complete receipt of an order's session. Who does not answer, or tells nonsense, does not help.
pub(super) fn catch_up(seat: &Seat, market: &Arc<dyn Market>, order: &Order) {
    for member in seat.committee.indices().filter(|member| *member != seat.index) {
        match ask_last(seat, member, order) {
            Ok(Some(last)) => {
                if let Err(error) = market.learn(&order.place, &order.asker, &last) {
                    tracing::warn!(member = member + 1, %error, "another node's last receipt is not one");
                }
            }
            Ok(None) => {}
            Err(Trouble::Refusal(refusal)) => {
                tracing::info!(member = member + 1, why = refusal.text, "no last receipt")
            }
            Err(Trouble::Lane(error)) => tracing::info!(member = member + 1, %error, "no last receipt"),
        }
    }
}

/// Asks another member for the last complete receipt of an order's session.
pub(super) fn ask_last(seat: &Seat, member: u8, order: &Order) -> Result<Option<Complete>, Trouble> {
    let mut lane = seat.peer_lane(member).map_err(peer)?;
    lane.begin("when asked for a last receipt", Traffic::Setup, seat.machine.config.timeouts.connect());
    lane.send(&question(order)).map_err(peer)?;
    let LastReply(last) = lane.receive().map_err(peer)?;
    seat.put_back(member, lane);
    Ok(last)
}

/// As the first evaluator, before a session's first job uses a pack, and where the helper did not answer the last time: whether the
/// helper is there and will know the session when it is to sign.
///
/// # Errors
/// When it does not, or is not there.
pub(super) fn helper_knows(seat: &Seat, order: &Order) -> Result<(), Trouble> {
    let Some(market) = &seat.machine.market else { return Ok(()) };
    let helper = order.task.assignment.helper();
    let known = market.last(&order.place, &order.asker, &order.voucher).is_some(); // it has signed a receipt of it
    if known && !seat.is_silent(helper) {
        return Ok(());
    }
    let mut lane = seat.peer_lane(helper).map_err(peer)?;
    lane.begin("when asked whether it knows the session", Traffic::Setup, seat.machine.config.timeouts.round());
    lane.send(&AskSession(question(order))).map_err(peer)?;
    lane.receive_frame(Kind::Done).map_err(peer)?;
    seat.put_back(helper, lane);
    seat.answers(helper, true);
    Ok(())
}

fn question(order: &Order) -> LastReceipt {
    LastReceipt { manifest: order.place.manifest, consumer: order.asker, voucher: order.voucher.clone() }
}

/// As the helper: whether this node knows a consumer's session.
pub(super) fn session(seat: &Seat, lane: &mut Lane, caller: Option<u8>, asked: &AskSession) -> Result<(), Trouble> {
    let AskSession(question) = asked;
    if caller.is_none() {
        return Err(Refusal::new(FailCode::Refused, "only members ask for others' sessions").into());
    }
    let (market, place) = market(seat, &question.manifest)?;
    market.knows(&place, &question.consumer, &question.voucher)?;
    lane.send_frame(Kind::Done, &[]).map_err(own)
}

/// As an evaluator: its half of the answer of a paid job once more, for the same request, once its receipt is the last complete one
/// here. It is waited for while the job runs.
pub(super) fn again(seat: &Seat, lane: &mut Lane, asked: &Again) -> Result<(), Trouble> {
    let refuse = |code, text: &str| Trouble::from(Refusal::new(code, text));
    let (machine, consumer) = (&seat.machine, lane.peer());
    let end = Instant::now() + machine.config.timeouts.request();
    let answer = loop {
        match machine.kept.of(seat.digest, consumer, asked.job, machine.uptime()) {
            Known::Answered(answer) => break answer,
            Known::Running if Instant::now() < end && !machine.is_stopping() => {
                still_there(lane)?;
                std::thread::sleep(PAUSE);
            }
            Known::Running => return Err(refuse(FailCode::Busy, "the job still runs, try again")),
            Known::Nothing => return Err(refuse(FailCode::Refused, "no answer of a job of this name is kept here")),
        }
    };
    let order = &answer.order;
    if (order.task, order.inputs, &order.voucher) != (asked.task, asked.inputs, &asked.voucher) {
        return Err(refuse(FailCode::Refused, "the job of this name was another one"));
    }
    let none = || refuse(FailCode::Refused, "this node serves no market");
    let market = machine.market.as_ref().ok_or_else(none)?;
    let complete = || {
        let last = market.last(&order.place, &consumer, &order.voucher);
        last.filter(|last| last.receipt == answer.receipt)
    };
    let complete = loop {
        if let Some(complete) = complete() {
            break Some(complete);
        }
        if let Some(_turn) = machine.catching.turn(consumer, machine.uptime()) {
            catch_up(seat, market, order);
            break complete();
        }
        if Instant::now() >= end || machine.is_stopping() {
            break None;
        }
        still_there(lane)?;
        std::thread::sleep(PAUSE);
    };
    let incomplete = || refuse(FailCode::Unpaid, "the job's receipt is not signed by all, so there is no answer of it");
    let complete = complete.ok_or_else(incomplete)?;
    let mut tail = Writer::default();
    complete.write(&mut tail);
    let reply = Secret::from([&answer.reply[..], &tail.0].concat());
    lane.enter("while it fetched its answer", Traffic::Client, machine.config.timeouts.round());
    lane.pace(Some((machine.config.timeouts.round(), SLOWEST)));
    lane.send_frame(Kind::RunReply, &reply).map_err(own)?;
    lane.pace(None);
    lane.count();
    Ok(())
}

/// Tells anybody with which key something is sealed to this node.
pub(super) fn sealing(seat: &Seat, lane: &mut Lane) -> Result<(), Trouble> {
    let key = seat.machine.market.as_ref().and_then(|market| market.sealing());
    let key = key.ok_or_else(|| {
        Refusal::new(FailCode::Refused, "nothing is sealed to this node: it answers no requests of contracts")
    })?;
    lane.send(&Sealing(key)).map_err(own)
}

/// Answers who asks for the last complete receipt of a session: another member, or its consumer.
pub(super) fn last(seat: &Seat, lane: &mut Lane, caller: Option<u8>, question: &LastReceipt) -> Result<(), Trouble> {
    if caller.is_none() && question.consumer != lane.peer() {
        return Err(Refusal::new(FailCode::Refused, "another consumer's receipts are shown to nobody").into());
    }
    let (market, place) = market(seat, &question.manifest)?;
    let last = market.last(&place, &question.consumer, &question.voucher);
    lane.send(&LastReply(last)).map_err(own)
}

/// As the helper: signs the receipt of a job that both evaluators have signed, and keeps it.
pub(super) fn cosign(seat: &Seat, lane: &mut Lane, caller: Option<u8>, asked: Cosign) -> Result<(), Trouble> {
    let refuse = |text: &str| Trouble::from(Refusal::new(FailCode::Refused, text));
    let task = asked.task;
    let [first, second] = task.assignment.evaluators();
    if caller != Some(first) || task.assignment.helper() != seat.index {
        return Err(refuse("only the first evaluator of the assignment has receipts signed, by its helper"));
    }
    let request = request_digest(&seat.digest, &asked.asked.job, &task, &asked.asked.inputs);
    if !asked.consumer.verifies(&request, &asked.asked.signature) {
        return Err(refuse("the request of the job of a receipt is not signed by its consumer"));
    }
    // Evaluators took the name within an hour; the job itself has taken some time since.
    let (named, now) = (u64::from(asked.asked.job.seconds()), u64::from(seconds(SystemTime::now())));
    if named.abs_diff(now) > LONGEST_AGO {
        return Err(refuse("the job of a receipt was named too long ago, or by a clock that is wrong"));
    }
    let (market, place) = market(seat, &task.manifest)?;
    let keys = place.keys;
    let order = Order {
        place,
        asker: asked.consumer,
        job: asked.asked.job,
        task,
        inputs: asked.asked.inputs,
        voucher: asked.voucher,
    };
    // Whatever ends this before the receipt is complete, the total is free again.
    let mut accepted = Accepted { market: market.clone(), kept: None, order, waste: Waste::Nothing, complete: false };
    let (order, patience) = (&accepted.order, seat.machine.config.timeouts.round() / 2);
    let judge = || market.judge(order, None, &asked.receipt);
    let digest = caught_up(patience, || still_there(lane), || asks_the_others(seat, market, order), judge)?;
    let theirs = [first, second].map(|index| keys[usize::from(index)]);
    if !theirs.iter().zip(&asked.signatures).all(|(key, signature)| key.verifies(&digest, signature)) {
        return Err(refuse("a receipt is not signed by both evaluators of its job"));
    }
    // Whoever took too long for the evaluators signs nothing: they have told the consumer that the job failed.
    still_there(lane)?;
    let signature = seat.machine.identity.sign(&digest);
    accepted.complete(&complete(
        task.assignment.evaluators(),
        seat.index,
        asked.receipt,
        asked.signatures,
        signature,
    ))?;
    seat.machine.quotas.took_pack(accepted.order().asker, seat.machine.uptime());
    lane.send(&Cosigned(signature)).map_err(own)
}

/// A receipt with the signatures of both evaluators and of the helper, in the order of the committee.
pub(super) fn complete(
    evaluators: [u8; 2],
    helper: u8,
    receipt: Vec<u8>,
    [first, second]: [[u8; 64]; 2],
    third: [u8; 64],
) -> Complete {
    let mut signatures = [[0; 64]; 3];
    for (index, signature) in [(evaluators[0], first), (evaluators[1], second), (helper, third)] {
        if let Some(place) = signatures.get_mut(usize::from(index)) {
            *place = signature;
        }
    }
    Complete { receipt, signatures }
}
