// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

// Where the protocol's contracts lie. Their code is put there by genesis and no constructor ever runs: whoever writes one
// has constants, and neither immutables nor storage set beforehand.

address constant ASSET_REGISTRY = address(0x0b00);
address constant OWNERSHIP_RECEIPTS = address(0x0b10);
address constant LICENCES = address(0x0b20);
address constant ATTRIBUTION = address(0x0b30);
address constant OPERATORS = address(0x0b40);
address constant INFERENCE_MARKET = address(0x0b50);
address constant IDENTITY = address(0x0b60);
address constant PRIVACY_BUDGET = address(0x0b70);
address constant JOURNAL = address(0x0b80);
