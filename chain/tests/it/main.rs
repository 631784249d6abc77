//! Journeys through the ledger, one behaviour a file. One program, so that it is linked once.
#![allow(clippy::unwrap_used, reason = "a panic is the failure report")]

mod arbitrary;
#[path = "../../examples/attack/attacks.rs"]
mod attacks;
#[path = "../../examples/statetest/case.rs"]
mod case;
mod cluster;
mod common;
mod links;
mod network;
mod rpc;
#[path = "../../examples/statetest/runner.rs"]
mod runner;
mod socket;
mod stake_model;
mod stake_net;
mod workshop;

mod a_beacon_goes_on;
mod a_beacon_that_no_proposer_chooses;
mod a_contract_settles_what_its_committee_signed;
mod a_damaged_database_says_so_and_is_restored;
mod a_further_node_joins_by_one_command;
mod a_home_killed_at_its_birth_starts_again;
mod a_key_is_registered_by_its_owner;
mod a_network_that_was_divided_heals;
mod a_new_node_starts_from_a_snapshot;
mod a_node_that_dies_anywhere_goes_on_where_it_was;
mod a_slot_belongs_to_stake;
mod a_validator_continues_wherever_cometbft_died;
mod a_validator_that_signs_twice_is_slashed_once_and_for_ever;
mod an_archive_answers_at_every_height;
mod an_earlier_offence_widens_a_sentence;
mod an_exported_chain_goes_on;
mod answers_have_a_budget;
mod arbitrary_bytes_end_in_order;
mod blocks_can_be_supposed;
mod clients_follow_the_chain;
mod contracts_can_ask_for_old_block_hashes;
mod contracts_run_with_every_kind_of_transaction;
mod developers_drive_the_chain;
mod ethereum_tools_get_what_they_ask_for;
mod ethers_deploys_and_drives_contracts;
mod foundry_deploys_and_drives_contracts;
mod four_validators_carry_transfers_contracts_and_stake;
mod governance_changes_the_parameters_and_nobody_else;
mod hardhat_tests_run_on_a_node;
mod junk_in_a_block_gets_a_result_and_halts_nothing;
mod light_clients_verify_our_headers_and_proofs;
mod moved_stake_answers_for_the_validator_it_left;
mod no_client_takes_what_others_need;
mod no_request_breaks_the_node;
mod nobody_gains_by_leaving_votes_out_or_forgets_its_absence;
mod old_blocks_are_forgotten_and_recent_states_are_not;
mod our_hashes_are_those_of_cometbft;
mod past_blocks_can_be_asked_over_json_rpc;
mod questions_can_suppose_another_state;
mod refusals_have_ethereums_codes;
mod solidity_can_ask_for_a_committee_signature;
mod solidity_tests_pass;
mod stake_is_conserved_whatever_happens;
mod stake_moves_and_validators_follow;
mod state_sync_brings_back_a_wiped_validator_and_lets_a_newcomer_in;
mod state_tests_run_through_our_evm;
mod the_last_block_can_be_taken_back;
mod the_network_goes_on_without_any_one_validator;
mod the_pool_stands_under_attack;
mod the_same_blocks_give_the_same_hashes;
mod the_server_lets_in_whom_it_should;
mod the_testnet_command_continues_a_network_and_reports_deaths;
mod threads_and_readers_do_not_change_a_hash;
mod tracers_have_the_shapes_of_geth;
mod traces_show_what_a_transaction_did;
mod transfers_move_value_and_pay_for_gas;
mod two_of_four_validators_halt_safely_and_resume;
mod viem_deploys_and_drives_contracts;
