//! Journeys through the ledger, one behaviour a file. One program, so that it is linked once.
#![allow(clippy::unwrap_used, reason = "a panic is the failure report")]

mod cluster;
mod common;
mod links;
mod network;
mod workshop;

mod a_contract_settles_what_its_committee_signed;
mod a_network_that_was_divided_heals;
mod a_new_node_starts_from_a_snapshot;
mod a_validator_that_signs_twice_is_slashed_once_and_for_ever;
mod contracts_run_with_every_kind_of_transaction;
mod ethereum_tools_get_what_they_ask_for;
mod ethers_deploys_and_drives_contracts;
mod foundry_deploys_and_drives_contracts;
mod four_validators_carry_transfers_contracts_and_stake;
mod hardhat_tests_run_on_a_node;
mod junk_in_a_block_gets_a_result_and_halts_nothing;
mod light_clients_verify_our_headers_and_proofs;
mod old_blocks_are_forgotten_and_recent_states_are_not;
mod our_hashes_are_those_of_cometbft;
mod solidity_can_ask_for_a_committee_signature;
mod solidity_tests_pass;
mod stake_is_conserved_whatever_happens;
mod stake_moves_and_validators_follow;
mod the_network_goes_on_without_any_one_validator;
mod the_same_blocks_give_the_same_hashes;
mod the_testnet_command_continues_a_network_and_reports_deaths;
mod transfers_move_value_and_pay_for_gas;
mod two_of_four_validators_halt_safely_and_resume;
mod viem_deploys_and_drives_contracts;
