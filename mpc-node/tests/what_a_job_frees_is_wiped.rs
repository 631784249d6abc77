//! The allocator of this program looks into every block that is freed: pieces of prepared products, dealt masks, shares,
//! frames and opened values must not be in it. One job runs from its dealing to its answer.
#![allow(clippy::unwrap_used, unsafe_code)] // a panic is the failure report; an allocator cannot be written without

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use sahara_circuits::testgraph;
use sahara_mpc::wire::{Message, RunReply, Share};
use sahara_protocol::ring::prg::{Label, Prg};
use sahara_protocol::{
    Assignment, Dealing, Evaluator, EvaluatorRole, JobSecret, MaskDomain, PackContents, Plan, Rounding, Seed, Step,
    Visibility, WeightMaterial, mask_weights, prepare, share_inputs,
};

const PIECE: usize = 12;
const MAX: usize = 256;

/// What is looked for, and what has been found.
static PIECES: Mutex<([[u8; PIECE]; MAX], usize)> = Mutex::new(([[0; PIECE]; MAX], 0));
static LOOKING: AtomicBool = AtomicBool::new(false);
static FREED: AtomicUsize = AtomicUsize::new(0);
static LEAKED: AtomicUsize = AtomicUsize::new(usize::MAX);

struct Watching;

// SAFETY: every call is passed on to the system's allocator unchanged; a block is only read, before it is freed, while
// it is still allocated with the size that `layout` says.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        // Zeroed, so that every byte of a block may be read.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if LOOKING.load(Ordering::Relaxed) {
            // SAFETY: see above.
            look(unsafe { std::slice::from_raw_parts(block, layout.size()) });
        }
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

fn look(block: &[u8]) {
    FREED.fetch_add(1, Ordering::Relaxed);
    let Ok(pieces) = PIECES.try_lock() else { return };
    for (number, piece) in pieces.0[..pieces.1].iter().enumerate() {
        if block.windows(PIECE).any(|window| window == piece) {
            LEAKED.fetch_min(number, Ordering::Relaxed);
        }
    }
}

/// Looks for the middle of `bytes` from now on.
fn watch(names: &mut Vec<String>, name: &str, bytes: &[u8]) {
    if bytes.len() < 2 * PIECE || names.len() == MAX {
        return;
    }
    let middle = bytes.len() / 2 - PIECE / 2;
    let piece: [u8; PIECE] = bytes[middle..middle + PIECE].try_into().unwrap();
    if piece.iter().filter(|b| **b == 0).count() > PIECE / 2 {
        return; // too likely to be found by chance
    }
    let mut pieces = PIECES.lock().unwrap();
    let at = pieces.1;
    pieces.0[at] = piece;
    pieces.1 += 1;
    names.push(name.into());
}

/// What opening two frames gives: sums of words, or of bits.
fn opened(names: &mut Vec<String>, a: &[u8], b: &[u8]) {
    let words =
        |frame: &[u8]| -> Vec<u32> { frame.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect() };
    let both: Vec<(u32, u32)> = words(a).into_iter().zip(words(b)).collect();
    watch(names, "opened words", &bytes(&both.iter().map(|(a, b)| a.wrapping_add(*b)).collect::<Vec<_>>()));
    watch(names, "opened bits", &bytes(&both.iter().map(|(a, b)| a ^ b).collect::<Vec<_>>()));
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

#[test]
fn no_piece_of_a_pack_a_share_or_a_frame_is_in_freed_memory() {
    let (graph, weights, inputs) = testgraph::random(3);
    let graph = Arc::new(graph);
    let plan = Arc::new(Plan::new(graph.clone(), Rounding::Exact, Visibility::Private).unwrap());
    let domain = MaskDomain::new([7; 32], [8; 32], 1, Assignment::ALL[0]);
    let seed = |n: u8| Seed::from_bytes([n; 32]);
    let (w1, w2) = (seed(1), seed(2));
    let masked = mask_weights(&weights, &domain, &w1, &w2);
    let roles = [EvaluatorRole::First, EvaluatorRole::Second];
    let material = [(roles[0], &w1), (roles[1], &w2)]
        .map(|(role, seed)| WeightMaterial::evaluator_private(&graph, &domain, role, &masked, seed).unwrap())
        .map(Arc::new);
    let helper = WeightMaterial::helper_private(&graph, &domain, &w1, &w2);
    let mut names = Vec::new();

    for task in 0..graph.nodes.len() as u32 {
        // The first evaluator's half; the second's is noise to whoever has not this.
        for (name, label) in [("dealt mask", Label::Dealt(task)), ("operand's mask", Label::Operand(task))] {
            let mut mask = [0; 2 * PIECE];
            Prg::new(&seed(3), label).fill(&mut mask);
            watch(&mut names, name, &mask);
        }
    }

    // Once to learn what there will be to look for, once looked at.
    for looked_at in [false, true] {
        LOOKING.store(looked_at, Ordering::Relaxed);
        let corrections = Dealing::new(&plan, &helper, [&seed(3), &seed(4)]).unwrap().collect().unwrap();
        let shares = share_inputs(&inputs, &seed(5)).map(Share);
        let packs = [(seed(3), Vec::new()), (seed(4), corrections)];
        let mut machines = Vec::new();
        for (index, ((seed, corrections), share)) in packs.into_iter().zip(shares).enumerate() {
            let prepared = prepare(&plan, &material[index], roles[index], &seed, &corrections).unwrap();
            if !looked_at {
                watch(&mut names, "prepared products", &prepared);
                let longest = share.0.iter().max_by_key(|tensor| tensor.len()).unwrap();
                watch(&mut names, "input share", &bytes(longest));
            }
            let pack = PackContents { seed, corrections, prepared };
            let zero = JobSecret::from_bytes([6; 32]).zero_sharing(0);
            let (plan, material) = (plan.clone(), material[index].clone());
            machines.push(Evaluator::new(plan, material, roles[index], pack, share.into_tensors(), zero).unwrap());
        }
        let mut received = [None, None];
        loop {
            let steps = [0, 1].map(|i| machines[i].step(received[i].take()).unwrap());
            match steps {
                [Step::Exchange { send: a, .. }, Step::Exchange { send: b, .. }] => {
                    if !looked_at {
                        watch(&mut names, "frame", &a);
                        watch(&mut names, "frame", &b);
                        opened(&mut names, &a, &b);
                    }
                    received = [Some(b), Some(a)];
                }
                [Step::Done { outputs: a, .. }, Step::Done { outputs: b, .. }] => {
                    for outputs in [a, b] {
                        if !looked_at {
                            let longest = outputs.iter().max_by_key(|tensor| tensor.len()).unwrap();
                            watch(&mut names, "output share", &bytes(longest));
                        }
                        let reply = RunReply {
                            figures: Default::default(),
                            transcript: vec![],
                            salt: seed(7),
                            outputs: Share(outputs),
                            complete: None,
                        };
                        drop(sahara_protocol::ring::secret::Secret::from(reply.encode()));
                    }
                    break;
                }
                _ => panic!("the evaluators disagree on the end"),
            }
        }
        // Not wiped, and of one-hot vectors all but a bit of the first evaluator's half: what nodes keep for the next pack.
        let used: Vec<_> = machines.into_iter().map(Evaluator::into_corrections).collect();
        LOOKING.store(false, Ordering::Relaxed);
        assert_eq!(used.iter().map(Vec::len).sum::<usize>() as u64, plan.correction_len());
    }
    assert!(names.len() < MAX, "there is more to look for");
    let kinds =
        ["prepared products", "dealt mask", "operand's mask", "input share", "frame", "opened words", "opened bits"];
    for kind in kinds.into_iter().chain(["output share"]) {
        assert!(names.iter().any(|name| name == kind), "nothing of the {kind} was looked for");
    }
    assert!(FREED.load(Ordering::Relaxed) > 100);
    let leaked = LEAKED.load(Ordering::Relaxed);
    assert_eq!(leaked, usize::MAX, "freed memory holds a piece of: {}", names[leaked]);
}
