// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {ASSET_REGISTRY, ATTRIBUTION, LICENCES} from "./Addresses.sol";
import {Terms} from "./Types.sol";

interface IOwners {
    function ownerOf(bytes32 asset) external view returns (address);
}

interface ILicenceTerms {
    function licenceOf(uint256 licence)
        external
        view
        returns (bytes32 asset, Terms memory t, uint64 boughtAt, uint64 ends, uint64 withdrawnAt);
    function isUser(uint256 licence, address who) external view returns (bool);
}

interface IRevenue {
    function pay(bytes32 asset) external payable;
}

IOwners constant REGISTRY = IOwners(ASSET_REGISTRY);
ILicenceTerms constant LICENCE = ILicenceTerms(LICENCES);
IRevenue constant REVENUE = IRevenue(ATTRIBUTION);
