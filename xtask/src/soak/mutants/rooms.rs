//! Where the checks live that keep strangers out, and the tests that guard them.

/// Code that one set of tests guards.
pub struct Room {
    /// As it is called on the command line.
    pub name: &'static str,
    /// What its checks are about.
    pub what: &'static str,
    pub package: &'static str,
    pub files: &'static [&'static str],
    /// Test programs, as `cargo test` selects them.
    pub targets: &'static [&'static str],
    /// Tests in them: parts of their names. All, if there are none.
    pub tests: &'static [&'static str],
    /// Seconds after which the tests of a mutant, or its compilation, are given up.
    pub timeout: &'static str,
}

/// What is written for people to read decides nothing.
pub const NO_CHECKS: [&str; 3] = ["impl (Debug|Display|std::fmt::\\w+|fmt::\\w+) for", " fmt ", "metrics"];

pub const ROOMS: [Room; 5] = [
    Room {
        name: "pool",
        what: "which transactions wait, are handed on, and are in a block",
        package: "sahara-chain",
        files: &[
            "chain/src/pool/*.rs",
            "chain/src/ledger/mempool.rs",
            "chain/src/ledger/proposal.rs",
            "chain/src/comet/forward.rs",
            "chain/src/tx.rs",
            "chain/src/fees.rs",
        ],
        targets: &["--lib", "--test", "it"],
        tests: &[
            "pool::",
            "ledger::",
            "comet::forward",
            "fees::",
            "tx::",
            "evm::refusal",
            "the_pool_stands_under_attack",
            "junk_in_a_block",
            "refusals_have_ethereums_codes",
            "transfers_move_value",
        ],
        timeout: "240",
    },
    Room {
        name: "staking",
        what: "who may stake, leave and validate, who is slashed, and the beacon's registration",
        package: "sahara-chain",
        files: &["chain/src/staking/*.rs", "chain/src/beacon/*.rs", "chain/src/ledger/reveal.rs"],
        targets: &["--lib", "--test", "it"],
        tests: &[
            "staking::",
            "beacon::",
            "genesis::",
            "a_slot_belongs_to_stake",
            "moved_stake",
            "stake_is_conserved",
            "stake_moves_and",
            "a_key_is_registered",
            "an_earlier_offence",
            "nobody_gains_by_leaving",
            "governance_changes",
            "a_beacon_",
            "an_exported_chain_goes_on::an_exported",
            "an_exported_chain_goes_on::no_chain",
        ],
        timeout: "300",
    },
    Room {
        name: "rpc",
        what: "what a client of the chain may cost",
        package: "sahara-chain",
        files: &[
            "chain/src/rpc/budget.rs",
            "chain/src/rpc/door.rs",
            "chain/src/rpc/frames.rs",
            "chain/src/rpc/http.rs",
            "chain/src/rpc/session.rs",
            "chain/src/rpc/ws.rs",
        ],
        targets: &["--lib", "--test", "it"],
        tests: &[
            "rpc::",
            "answers_have_a_budget",
            "no_client_takes",
            "no_request_breaks",
            "the_server_lets_in",
            "clients_follow",
        ],
        timeout: "300",
    },
    Room {
        name: "ownership",
        what: "whose a sharing is: shared, used, replaced and deleted by its owner only",
        package: "sahara-mpc",
        files: &[
            "mpc-node/src/models.rs",
            "mpc-node/src/models/*.rs",
            "mpc-node/src/manifest.rs",
            "mpc-node/src/manifest/*.rs",
            "mpc-node/src/node/sharings.rs",
        ],
        targets: &[
            "--lib",
            "--test",
            "a_sharing_belongs_to_its_owner",
            "--test",
            "an_operator_decides_who_shares_and_who_asks",
            "--test",
            "random_owners_never_reach_each_others_sharings",
        ],
        tests: &[],
        timeout: "300",
    },
    Room {
        name: "quotas",
        what: "what a consumer of share nodes may take: connections, lanes, jobs, names, records",
        package: "sahara-mpc",
        files: &[
            "mpc-node/src/node/door.rs",
            "mpc-node/src/node/jobs.rs",
            "mpc-node/src/node/lanes.rs",
            "mpc-node/src/node/quota.rs",
            "mpc-node/src/node/serve.rs",
            "mpc-node/src/node/slots.rs",
            "mpc-node/src/records.rs",
            "mpc-node/src/records/names.rs",
        ],
        targets: &[
            "--lib",
            "--test",
            "a_stranger_gets_little_before_it_is_known",
            "--test",
            "a_job_needs_both_evaluators_and_a_pack",
            "--test",
            "a_job_that_nobody_waits_for_ends",
            "--test",
            "a_sharing_belongs_to_its_owner",
            "--test",
            "hostile_connections_stop_no_honest_consumer",
            "--test",
            "only_admitted_keys_are_served",
        ],
        tests: &[],
        timeout: "300",
    },
];
