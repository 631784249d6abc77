//! Rounds, as coordinators and providers ask for them.

use std::time::Duration;

use sahara_protocol::ring::secret::Secret;
use sahara_protocol::ring::words;
use sahara_protocol::round::share;

use super::{Client, ClientError};
use crate::channel::time_for;
use crate::engine::{Seed, random_seed};
use crate::lane::Lane;
use crate::meter::Traffic;
use crate::rounds::{RoundId, RoundResult, SignedTerms, attachment_hash, contribution_digest, share_commitment};
use crate::wire::{
    AbandonRound, CloseRound, Contribute, FetchRound, Kind, Message, OpenRound, RoundList, RoundReply, ShowRound,
};

/// A provider's vector, shared and signed for one round: what each evaluator gets.
pub struct Contribution {
    requests: [Contribute; 2],
    shares: [Secret<u8>; 2],
}

impl Client {
    /// Opens a round, of which this client's key is the coordinator, at all three nodes; at none if one refuses.
    ///
    /// # Errors
    /// When a node is not reached, has no room or refuses the terms; [`ClientError::Request`] for another's terms.
    pub fn open_round(&self, terms: &SignedTerms, attachment: &[u8]) -> Result<(), ClientError> {
        if terms.terms().coordinator != self.key() {
            return Err(ClientError::Request("the terms of the round name another coordinator".into()));
        }
        let open = |node| {
            self.for_round(node, "while a round was opened", attachment.len(), |lane| {
                lane.send(&OpenRound(terms.clone()))?;
                lane.receive_frame(Kind::GoOn)?;
                lane.send_stream(attachment)?;
                lane.receive_frame(Kind::Done)?;
                Ok(())
            })
        };
        let opened: Result<(), ClientError> = self.at_all(open).into_iter().collect();
        // Those that have opened it hold memory for what will not come; which of them there are, they know.
        opened.inspect_err(|_| drop(self.abandon_round(terms)))
    }

    /// The rounds at a node that this client's key has opened or may take part in, the oldest first.
    ///
    /// # Errors
    /// When the node is not reached or says what makes no sense.
    pub fn rounds_at(&self, node: u8) -> Result<RoundList, ClientError> {
        self.ask(node, "when asked for its rounds", |lane| {
            lane.send_frame(Kind::ListRounds, &[])?;
            Ok(lane.receive()?)
        })
    }

    /// One of the rounds at a node, with its attachment if that is wanted.
    ///
    /// # Errors
    /// When the node is not reached, has no such round, or gives another one.
    pub fn round_at(&self, node: u8, round: RoundId, attachment: bool) -> Result<(RoundReply, Vec<u8>), ClientError> {
        let most = if attachment { crate::rounds::MOST_ATTACHMENT } else { 0 };
        self.for_round(node, "when asked for a round", most, |lane| {
            lane.send(&ShowRound { round, attachment })?;
            let reply: RoundReply = lane.receive()?;
            let terms = reply.terms.terms();
            let who = lane.who().to_owned();
            let other = |what: &str| ClientError::Answer(format!("{who} shows {what}"));
            if reply.terms.id() != round || terms.committee != self.committee.digest() {
                return Err(other("another round than was asked for"));
            }
            let (len, hash) = terms.attachment;
            let bytes = if attachment { lane.receive_stream(len as usize)? } else { Vec::new() };
            if attachment && attachment_hash(&bytes) != hash {
                return Err(other("another attachment than the round's"));
            }
            Ok((reply, bytes))
        })
    }

    /// Shares a vector for a round, and signs what either evaluator gets. That it is no longer than allowed is checked by
    /// [`Client::contribute`], and by the nodes.
    ///
    /// # Errors
    /// [`ClientError::Request`] when this client's key is not one of the round's providers, or the vector has another length.
    pub fn contribution(&self, terms: &SignedTerms, vector: &[i32]) -> Result<Contribution, ClientError> {
        let (round, key, vectors) = (terms.id(), self.key(), terms.terms().vectors);
        if terms.terms().place_of(&key).is_none() {
            return Err(ClientError::Request("this key is not one of the round's providers".into()));
        }
        if vector.len() != vectors.dimension() {
            let text = format!("the vector has {} coordinates, the round's have {}", vector.len(), vectors.dimension());
            return Err(ClientError::Request(text));
        }
        let seed = random_seed()?;
        let second = share(&vectors, vector, &seed);
        let mut bytes = Vec::with_capacity(vectors.share_bytes());
        words::encode(vectors.width(), &second, &mut bytes);
        let shares = [Secret::from(seed.as_bytes().to_vec()), bytes.into()];
        let salts = [random_seed()?, random_seed()?];
        let commitments = [0, 1].map(|i| share_commitment(&round, &key, i as u8, salts[i].as_bytes(), &shares[i]));
        let signature = self.identity.sign(&contribution_digest(&round, &key, &commitments));
        let requests = salts.map(|salt: Seed| Contribute { round, shares: commitments, salt, signature });
        Ok(Contribution { requests, shares })
    }

    /// Sends one evaluator (0 or 1) of a round its share.
    ///
    /// # Errors
    /// When the node is not reached, or refuses it.
    pub fn send_share(&self, terms: &SignedTerms, sent: &Contribution, evaluator: usize) -> Result<(), ClientError> {
        let node = terms.terms().assignment.evaluators().get(evaluator).copied();
        let node = node.ok_or_else(|| ClientError::Request("a round has two evaluators".into()))?;
        let (request, share) = (&sent.requests[evaluator], &sent.shares[evaluator]);
        self.for_round(node, "while a share was sent", share.len(), |lane| {
            lane.send(request)?;
            lane.receive_frame(Kind::GoOn)?;
            lane.send_frame(Kind::Vector, share)?;
            lane.receive_frame(Kind::Done)?;
            Ok(())
        })
    }

    /// Takes part in a round: shares a vector and sends both evaluators theirs.
    ///
    /// # Errors
    /// As [`Client::contribution`] and [`Client::send_share`]; [`ClientError::Request`] when the vector is longer than allowed, or a
    /// coordinate has more bits.
    pub fn contribute(&self, terms: &SignedTerms, vector: &[i32]) -> Result<(), ClientError> {
        let vectors = terms.terms().vectors;
        let half = 1_i64 << (vectors.bits() - 1);
        let square: u128 = vector.iter().map(|x| u128::from(x.unsigned_abs()).pow(2)).sum();
        if square > vectors.bound().into() || vector.iter().any(|x| !(-half..half).contains(&i64::from(*x))) {
            let text = "the vector is longer than the round allows, or a coordinate has more bits: clip it";
            return Err(ClientError::Request(text.into()));
        }
        let sent = self.contribution(terms, vector)?;
        self.send_share(terms, &sent, 0)?;
        self.send_share(terms, &sent, 1)
    }

    /// Closes a round of this client's: the sum of what was sent by now. Closing again gives the same sum.
    ///
    /// # Errors
    /// When a node is not reached or fails, fewer than the terms say take part, or the result is not what both evaluators signed.
    pub fn close_round(&self, terms: &SignedTerms) -> Result<RoundResult, ClientError> {
        self.result_by(terms, 0, &CloseRound(terms.id()))
    }

    /// Gives a round of this client's up at all nodes, as far as they are reached: what was sent for it is wiped.
    ///
    /// # Errors
    /// The first of what the nodes say, when one does not.
    pub fn abandon_round(&self, terms: &SignedTerms) -> Result<(), ClientError> {
        let abandon = |node| {
            self.ask(node, "while a round was given up", |lane| {
                lane.send(&AbandonRound(terms.id()))?;
                lane.receive_frame(Kind::Done)?;
                Ok(())
            })
        };
        self.at_all(abandon).into_iter().collect()
    }

    /// What came out of a round, from one of its evaluators (0 or 1).
    ///
    /// # Errors
    /// When the node is not reached or has no result, or it is not what both evaluators signed.
    pub fn round_result(&self, terms: &SignedTerms, evaluator: usize) -> Result<RoundResult, ClientError> {
        self.result_by(terms, evaluator, &FetchRound(terms.id()))
    }

    fn result_by<M: Message>(
        &self,
        terms: &SignedTerms,
        evaluator: usize,
        ask: &M,
    ) -> Result<RoundResult, ClientError> {
        let assignment = terms.terms().assignment;
        let keys = self.committee.roles(assignment)?.evaluators.map(|member| member.key);
        let node = assignment.evaluators().get(evaluator).copied();
        let node = node.ok_or_else(|| ClientError::Request("a round has two evaluators".into()))?;
        let bytes = 4 * terms.terms().vectors.dimension();
        let result: RoundResult = self.for_round(node, "while a round was closed", bytes, |lane| {
            lane.send(ask)?;
            Ok(lane.receive()?)
        })?;
        if !result.is_of(terms, keys) {
            return Err(ClientError::Answer("the result of the round is not what both evaluators have signed".into()));
        }
        Ok(result)
    }

    /// A request about a round, with the time of a job and what so many bytes take.
    fn for_round<T>(
        &self,
        node: u8,
        step: &str,
        bytes: usize,
        mut work: impl FnMut(&mut Lane) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let time: Duration = self.options.job_timeout + time_for(bytes as u64);
        self.on_lane(node, |lane| {
            lane.begin(step, Traffic::Client, time);
            lane.limit(Some(time));
            work(lane)
        })
    }
}
