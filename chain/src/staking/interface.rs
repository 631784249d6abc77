//! The staking contract as Solidity sees it: `contracts/src/IStaking.sol` has the same with explanations.

alloy_sol_types::sol! {
    interface IStaking {
        event Delegated(address indexed validator, address indexed delegator, uint256 amount);
        event Undelegated(address indexed validator, address indexed delegator, uint256 amount);
        event ParametersAnnounced(uint256 time, uint256 height);
        event ParametersCancelled();
        event PoolAnnounced(uint256 amount, uint256 time, uint256 height);
        event PoolCancelled();

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

        function createValidator(
            bytes32 key, uint256 commission, bytes proof, bytes32 beaconTip, uint256 beaconLength
        ) external payable;
        function announceBeaconChain(bytes32 tip, uint256 length) external;
        function setCommission(uint256 commission) external;
        function unjail() external;
        function delegate(address validator) external payable;
        function undelegate(address validator, uint256 amount) external;
        function redelegate(address from, address to, uint256 amount) external;
        function settle(address validator, address delegator) external;
        function withdraw() external;
        function claim(address validator) external;
        function claimCommission() external;
        function setParameters(Parameters parameters) external;
        function setGovernance(address heir) external;
        function takePool(uint256 amount) external;
        function cancelParameters() external;
        function collectPool() external;
        function cancelPool() external;
        function validatorOf(address operator) external view;
        function delegationOf(address validator, address delegator) external view;
        function unbondingOf(address delegator) external view;
        function validatorCount() external view;
        function validatorAt(uint256 index) external view;
        function pool() external view;
        function pendingPool() external view;
        function pendingParameters() external view;
        function parameters() external view;
        function governance() external view;
    }
}
