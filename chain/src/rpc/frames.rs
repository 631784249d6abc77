//! The frames of a WebSocket while they come. What a frame announces is known here before anything is made ready for it:
//! a message is paid for by what it says that it will have, and frames beside messages are counted.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    budget::{Flight, MAX_REQUEST, Reserved},
    error::{self, RpcResult},
};

/// Pings and pongs of one client within [`SPAN`].
const MAX_CONTROLS: usize = 100;
/// How long they are counted together.
const SPAN: Duration = Duration::from_secs(30);
/// Bytes of a ping or pong, says RFC 6455.
const MAX_CONTROL: u64 = 125;

/// What comes over one WebSocket.
pub struct Intake {
    /// What the message that is coming has reserved.
    coming: Reserved,
    /// Messages that have come whole and were not taken yet.
    whole: VecDeque<Reserved>,
    /// How long a message may take.
    patience: Duration,
    until: Option<Instant>,
    controls: usize,
    counted_since: Instant,
    frame: Frame,
}

/// Where in a frame the stream stands.
#[derive(Default)]
struct Frame {
    head: [u8; 14],
    /// Bytes of the head that are there.
    got: usize,
    /// Bytes of the payload that are still to come.
    left: u64,
    inside: bool,
    control: bool,
    last: bool,
    /// A message has begun and its last frame has not ended.
    open: bool,
}

impl Intake {
    /// Nothing has come yet; messages draw on all of `accounts`, and may take `patience` each.
    pub fn new(accounts: Vec<Arc<Flight>>, patience: Duration, at: Instant) -> Self {
        Self {
            coming: Reserved::from(accounts),
            whole: VecDeque::new(),
            patience,
            until: None,
            controls: 0,
            counted_since: at,
            frame: Frame::default(),
        }
    }

    /// Takes note of `bytes` that came at `at`.
    ///
    /// # Errors
    ///
    /// The bytes must not be passed on: they announce more than may be had, or are too many frames beside messages.
    pub fn take(&mut self, mut bytes: &[u8], at: Instant) -> RpcResult<()> {
        while let Some((first, rest)) = bytes.split_first() {
            let frame = &mut self.frame;
            if frame.inside {
                let some = usize::try_from(frame.left).unwrap_or(usize::MAX).min(bytes.len());
                frame.left -= some as u64;
                bytes = bytes.get(some..).unwrap_or_default();
            } else {
                if let Some(place) = frame.head.get_mut(frame.got) {
                    *place = *first;
                }
                frame.got += 1;
                bytes = rest;
                if frame.got < frame.head_length() {
                    continue;
                }
                self.announced(at)?;
            }
            if self.frame.left == 0 {
                self.ended();
            }
        }
        match self.frame.got == 0 && !self.frame.open {
            true => self.until = None,
            false => _ = self.until.get_or_insert(at + self.patience),
        }
        Ok(())
    }

    /// The bytes of the next message that came whole.
    pub fn pop(&mut self) -> Reserved {
        self.whole.pop_front().unwrap_or_else(|| self.coming.another())
    }

    /// Reading goes on after a pause that was not the client's: what had begun to come has its time from now on.
    pub fn resume(&mut self, at: Instant) {
        self.until = self.until.map(|_| at + self.patience);
    }

    /// When what has begun to come must be whole.
    pub fn until(&self) -> Option<Instant> {
        self.until
    }

    /// The head of a frame is there.
    fn announced(&mut self, at: Instant) -> RpcResult<()> {
        let frame = &mut self.frame;
        frame.inside = true;
        frame.control = frame.head[0] & 8 != 0;
        frame.last = frame.head[0] & 0x80 != 0;
        frame.left = frame.payload();
        if frame.control {
            if at.saturating_duration_since(self.counted_since) >= SPAN {
                (self.controls, self.counted_since) = (0, at);
            }
            self.controls += 1;
            if self.controls > MAX_CONTROLS || frame.left > MAX_CONTROL {
                let seconds = SPAN.as_secs();
                return Err(error::limit(format!(
                    "a client may send {MAX_CONTROLS} pings and pongs of {MAX_CONTROL} bytes in {seconds} s"
                )));
            }
            return Ok(());
        }
        frame.open = true;
        let length = usize::try_from(frame.left).ok();
        match length.filter(|length| self.coming.bytes().saturating_add(*length) <= MAX_REQUEST) {
            Some(length) => self.coming.grow(length),
            None => Err(error::limit(format!("a request has at most {MAX_REQUEST} bytes"))),
        }
    }

    /// The payload of a frame is there.
    fn ended(&mut self) {
        if !self.frame.control && self.frame.last {
            let fresh = self.coming.another();
            self.whole.push_back(std::mem::replace(&mut self.coming, fresh));
            self.frame.open = false;
            self.until = None;
        }
        self.frame.got = 0;
        self.frame.inside = false;
    }
}

impl Frame {
    fn head_length(&self) -> usize {
        if self.got < 2 {
            return 2;
        }
        2 + self.length_bytes() + if self.head[1] & 0x80 == 0 { 0 } else { 4 }
    }

    fn length_bytes(&self) -> usize {
        match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        }
    }

    fn payload(&self) -> u64 {
        match self.length_bytes() {
            0 => u64::from(self.head[1] & 0x7f),
            more => self.head.iter().skip(2).take(more).fold(0, |length, byte| length << 8 | u64::from(*byte)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::budget::now, *};

    const TEXT: u8 = 0x81;
    const PONG: u8 = 0x8a;

    fn frame(first: u8, length: usize) -> Vec<u8> {
        let mut out = vec![first];
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short @ 0..126), _) => out.push(0x80 | short),
            (_, Ok(middle)) => {
                out.push(0x80 | 126);
                out.extend(middle.to_be_bytes());
            }
            _ => {
                out.push(0x80 | 127);
                out.extend((length as u64).to_be_bytes());
            }
        }
        out.extend([0xff; 4]);
        out.extend(vec![0x81; length]);
        out
    }

    fn intake(total: usize) -> (Arc<Flight>, Intake) {
        let all = Flight::new(total);
        (all.clone(), Intake::new(vec![all], Duration::from_secs(30), now()))
    }

    #[test]
    fn however_a_stream_is_cut_each_message_counts_what_it_has() {
        // A message in three frames with a pong between, one that is empty, a long one, and the head of another.
        let lengths = [400, 0, 70_000];
        let mut stream = [frame(0x01, 100), frame(PONG, 125), frame(0, 200), frame(0x80, 100)].concat();
        stream.extend([frame(TEXT, 0), frame(TEXT, 70_000)].concat());
        stream.extend(&frame(TEXT, 90_000)[..14]);
        for step in [1, 2, 3, 7, 125, 4_096, stream.len()] {
            let (all, mut intake) = intake(1 << 20);
            for piece in stream.chunks(step) {
                intake.take(piece, now()).unwrap();
            }
            assert_eq!((1 << 20) - all.left(), 70_400 + 90_000, "cut into {step}");
            let taken: Vec<Reserved> = lengths.map(|_| intake.pop()).into();
            assert_eq!(taken.iter().map(Reserved::bytes).collect::<Vec<_>>(), lengths, "cut into {step}");
            drop(taken);
            assert_eq!((1 << 20) - all.left(), 90_000, "cut into {step}: what was taken is given back");
            drop(intake);
            assert_eq!(all.left(), 1 << 20);
        }
    }

    #[test]
    fn what_is_announced_is_refused_before_it_comes() {
        let (all, mut intake) = intake(1 << 20);
        let refusal = intake.take(&frame(TEXT, 2 << 20)[..14], now()).unwrap_err();
        assert!(refusal.message.contains("1048576 bytes"), "{refusal:?}");
        assert_eq!(all.left(), 1 << 20);
        for length in [MAX_REQUEST as u64 + 1, u64::MAX] {
            let mut intake = Intake::new(vec![Flight::new(usize::MAX)], Duration::from_secs(30), now());
            let head = [&[TEXT, 0xff], length.to_be_bytes().as_slice(), &[0; 4]].concat();
            assert!(intake.take(&head, now()).unwrap_err().message.contains("at most 5242880 bytes"), "{length}");
        }
        // Many frames are no way around it.
        let (_, mut parts) = self::intake(16 << 20);
        parts.take(&frame(0x01, 3 << 20), now()).unwrap();
        assert!(parts.take(&frame(0x00, 3 << 20)[..14], now()).is_err());
    }

    #[test]
    fn pings_and_pongs_are_counted_for_a_while() {
        let (all, mut intake) = intake(1_000);
        let begun = now();
        for _ in 0..MAX_CONTROLS {
            intake.take(&frame(PONG, 125), begun).unwrap();
        }
        assert_eq!(all.left(), 1_000, "they take nothing of what messages have");
        assert!(intake.take(&frame(PONG, 0), begun + SPAN / 2).unwrap_err().message.contains("100 pings and pongs"));
        let (_, mut patient) = self::intake(1_000);
        for (i, _) in (0u64..).zip(0..10 * MAX_CONTROLS) {
            patient.take(&frame(PONG, 1), begun + Duration::from_secs(i)).unwrap();
        }
        assert!(patient.take(&frame(PONG, 126), begun).is_err(), "and have the length of the standard at most");
    }

    #[test]
    fn what_has_begun_has_its_time() {
        let (_, mut intake) = intake(1_000);
        let begun = now();
        let seconds = Duration::from_secs;
        assert_eq!(intake.until(), None);
        intake.take(&frame(TEXT, 9)[..3], begun).unwrap();
        intake.take(&frame(TEXT, 9)[3..8], begun + seconds(20)).unwrap();
        assert_eq!(intake.until(), Some(begun + seconds(30)), "more bytes give no more time");
        intake.resume(begun + seconds(25));
        assert_eq!(intake.until(), Some(begun + seconds(55)));
        intake.take(&frame(TEXT, 9)[8..], begun).unwrap();
        assert_eq!(intake.until(), None);
        intake.take(&frame(0x01, 1), begun).unwrap();
        assert!(intake.until().is_some(), "a message whose last frame is missing has not come");
    }

    #[test]
    fn a_frame_without_a_mask_has_a_shorter_head() {
        let (all, mut intake) = intake(1_000);
        intake.take(&[&[TEXT, 3, 1, 2, 3], frame(TEXT, 5).as_slice()].concat(), now()).unwrap();
        assert_eq!([intake.pop(), intake.pop()].map(|message| message.bytes()), [3, 5]);
        assert_eq!(all.left(), 1_000);
    }

    #[test]
    fn no_bytes_make_the_intake_panic_or_keep_what_it_had() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut byte = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        };
        for _ in 0..2_000 {
            let (all, mut intake) = intake(1 << 16);
            let mut stream = Vec::new();
            for _ in 0..byte() % 4 {
                let first = [0x01, 0, 0x80, TEXT, PONG][usize::from(byte() % 5)];
                stream.extend(frame(first, usize::from(byte())));
            }
            for _ in 0..byte() % 4 {
                let place = usize::from(byte()) % (stream.len() + 1);
                stream.insert(place, byte());
            }
            stream.extend((0..byte() % 20).map(|_| byte()).collect::<Vec<_>>());
            let step = 1 + usize::from(byte() % 40);
            let taken = stream.chunks(step).try_for_each(|piece| intake.take(piece, now()));
            assert!(all.left() <= 1 << 16, "{taken:?}");
            drop(intake);
            assert_eq!(all.left(), 1 << 16, "what a client announced is free again when it goes");
        }
    }
}
