//! Blindness on the real network: two prompts of equal length cause the same number of messages of the same lengths
//! between the nodes, whatever they say; and no two jobs ever share a pack of randomness.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::{Devnet, MODEL, one_at_a_time};
use sahara_circuits::model::CompiledModel;
use sahara_mpc::client::{
    Assignment, Client, ClientOptions, Committee, Consumers, Inference, Job, Offer, Rounding, Sharing, Visibility,
};
use sahara_mpc::identity;

const PROMPTS: [&str; 2] = ["The patient was given 5 mg of the drug.", "Shares in the chip maker rose."];

#[test]
fn journey() {
    let _turn = one_at_a_time();
    let devnet = Devnet::up();
    let folder = devnet.home.path().join("models").join(MODEL).join("compiled");
    let model = CompiledModel::load(&folder).expect("the pulled model");
    let committee = Committee::load(&devnet.committee_file()).expect("the devnet's committee");
    // As its owner, the local user may use what it shares.
    let key = identity::load(&devnet.home.path().join("owner.key")).expect("the devnet made the owner's key");
    let client = Client::new(key, committee, ClientOptions::default());

    let mut packs = BTreeSet::new();
    let mut jobs = 0;
    for visibility in [Visibility::Private, Visibility::Open] {
        let sharing = share(&client, &model, visibility);
        for rounding in [Rounding::Exact, Rounding::Faithful] {
            for assignment in Assignment::ALL {
                let answers = PROMPTS.map(|prompt| ask(&client, &sharing, &model, prompt, assignment, rounding));
                let [a, b] = &answers;
                assert_ne!(a.outputs, b.outputs, "the prompts differ");
                for (a, b) in a.transcripts.iter().zip(&b.transcripts) {
                    assert_eq!((a.record.rounds, a.record.bytes), (b.record.rounds, b.record.bytes));
                    assert_ne!(a.record.heads, b.record.heads);
                }
                assert_eq!(a.stats.rounds, b.stats.rounds);
                assert_eq!(a.stats.online_bytes, b.stats.online_bytes);
                for answer in &answers {
                    jobs += 1;
                    packs.insert(answer.transcripts[0].record.opening.session.pack);
                    assert!(answer.transcripts[0].agrees_with(&answer.transcripts[1]));
                    assert!(answer.transcripts.iter().all(|transcript| transcript.is_signed()));
                }
                println!(
                    "{visibility:?} {rounding:?} {assignment:?}: {} rounds, {} bytes",
                    a.stats.rounds, a.stats.online_bytes
                );
            }
        }
    }
    assert_eq!(packs.len(), jobs, "a pack served two jobs");
}

fn share(client: &Client, model: &CompiledModel, visibility: Visibility) -> Sharing {
    let offer = Offer {
        name: "model".parse().expect("a name"),
        graphs: &[model.graph(16).expect("a graph")],
        weights: &model.weights,
        visibility,
        assignments: &Assignment::ALL,
        access: Consumers::Only(Vec::new()).into(),
        client_part: None,
        noise: None,
    };
    client.share(&offer, &|_, _| ()).expect("the nodes take the model")
}

fn ask(
    client: &Client,
    sharing: &Sharing,
    model: &CompiledModel,
    prompt: &str,
    assignment: Assignment,
    rounding: Rounding,
) -> Inference {
    let encoded = model.frontend.encode(prompt).expect("a prompt");
    assert_eq!(encoded.bucket, 16, "both prompts fall into the shortest bucket");
    let graph: Arc<_> = model.graph(encoded.bucket).expect("a graph");
    let task = sharing.task(&graph, assignment, rounding).expect("the owner permits the graph");
    let job = Job { graph: &graph, task, inputs: &encoded.inputs, auto_prepare: true };
    client.infer(&job).expect("an answer")
}
