// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.20;

/// Stake, rewards and validators. A native contract at 0x0000000000000000000000000000000000000a10.
/// Call it directly: it refuses DELEGATECALL. Amounts are in the smallest unit.
interface IStaking {
    event Delegated(address indexed validator, address indexed delegator, uint256 amount);
    event Undelegated(address indexed validator, address indexed delegator, uint256 amount);
    /// These parameters will be in force from the first block on that reaches `time` and `height`.
    event ParametersAnnounced(uint256 time, uint256 height);
    event ParametersCancelled();
    event PoolAnnounced(uint256 amount, uint256 time, uint256 height);
    event PoolCancelled();

    struct Unbonding {
        address validator;
        uint256 amount;
        uint256 due;
    }

    /// As in the genesis file: whole tokens, seconds, hundredths of a percent, `blockReward` in the smallest unit.
    struct Parameters {
        uint256 minSelfBond;
        uint256 unbondingSeconds;
        uint256 maxValidators;
        uint256 blockReward;
        uint256 doubleSignSlash;
        uint256 downtimeSlash;
        uint256 maxMissed;
        uint256 jailSeconds;
    }

    /// Makes the caller a validator with this ed25519 key and bonds the value. Commission in hundredths of a percent.
    /// `proof` is that key's signature which shows that the caller has it, `beaconTip` the end of the validator's hash
    /// chain and `beaconLength` its steps (1 to 16777216): `sahara chain keys --operator ACCOUNT` prints all of them.
    function createValidator(
        bytes32 consensusKey,
        uint256 commission,
        bytes calldata proof,
        bytes32 beaconTip,
        uint256 beaconLength
    ) external payable;
    /// Announces another hash chain for the caller's validator, for one whose secret is lost. It replaces the one in force
    /// from the returned epoch of the beacon on; until then the validator can propose only with the old one.
    function announceBeaconChain(bytes32 beaconTip, uint256 beaconLength) external returns (uint256 fromEpoch);
    function setCommission(uint256 commission) external;
    /// Ends the jail of the caller's validator, once its time is over.
    function unjail() external;

    function delegate(address validator) external payable;
    /// Begins to take stake back. It arrives with `withdraw` after the unbonding time.
    function undelegate(address validator, uint256 amount) external;
    /// Moves stake at once. It answers for the validator it left until the unbonding time is over, and cannot move again
    /// before. Three such moves to one validator can be open at once.
    function redelegate(address from, address to, uint256 amount) external;
    /// Takes at once what moved stake owes for a proven offence of the validator it left. Anybody may call it; without
    /// it, that happens when the delegator next touches the stake.
    function settle(address validator, address delegator) external;
    /// Pays everything of the caller that is due: after the unbonding time, and the blocks for which an offence can be
    /// proven.
    function withdraw() external returns (uint256 paid);
    /// Pays the caller's rewards at this validator.
    function claim(address validator) external returns (uint256 paid);
    /// Pays the commission of the caller's validator.
    function claimCommission() external returns (uint256 paid);

    /// For the governance address that genesis names, and nobody else. Announces parameters: they are in force from the first
    /// block on that reaches both `time` (seconds since 1970) and `height`. That is the unbonding time and three days from
    /// now, and 600 blocks more than those for which an offence can be proven, so that everybody can have left before; not
    /// before who left by a longer unbonding time has; and later by any hour or more in which no block is made. Announced
    /// again, the time begins anew.
    function setParameters(Parameters calldata parameters) external returns (uint256 time, uint256 height);
    /// Takes an announcement back.
    function cancelParameters() external;
    /// Gives the office to another account at once, with what waits. To the zero address, and nobody has it any more.
    function setGovernance(address heir) external;
    /// Announces that part of what was slashed will be paid to governance, as long ahead as parameters.
    function takePool(uint256 amount) external returns (uint256 time, uint256 height);
    /// Pays the caller what it announced, once it is due.
    function collectPool() external returns (uint256 paid);
    function cancelPool() external;

    /// `status`: 0 active, 1 jailed until that time, 2 tombstoned for ever. `power`: weight in consensus.
    function validatorOf(address operator)
        external
        view
        returns (
            bytes32 consensusKey,
            uint256 tokens,
            uint256 shares,
            uint256 commission,
            uint256 status,
            uint256 until,
            uint256 power
        );
    function delegationOf(address validator, address delegator)
        external
        view
        returns (uint256 worth, uint256 shares, uint256 rewards);
    function unbondingOf(address delegator) external view returns (Unbonding[] memory);
    /// Those that consensus chooses from, in no order. Who has no stake is not among them, nor the weakest beyond 1000.
    function validatorCount() external view returns (uint256);
    function validatorAt(uint256 index) external view returns (address);
    /// What was slashed, for governance to decide about.
    function pool() external view returns (uint256);
    /// What of it was announced, and from when on it can be collected: zeros when nothing was.
    function pendingPool() external view returns (uint256 amount, uint256 time, uint256 height);
    function parameters() external view returns (Parameters memory);
    /// What was announced, and from when on it is in force: zeros when nothing was.
    function pendingParameters() external view returns (Parameters memory next, uint256 time, uint256 height);
    function governance() external view returns (address);
}

IStaking constant STAKING = IStaking(0x0000000000000000000000000000000000000a10);
