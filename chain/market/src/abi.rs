//! The contracts' interfaces as this program calls them; `contracts/src/protocol/` has them with explanations.

use alloy_primitives::{B256, keccak256};
use alloy_sol_types::SolValue;

alloy_sol_types::sol! {
    #[derive(Debug, PartialEq, Eq)]
    struct InferenceReceipt {
        bytes32 job;
        bytes32 session;
        bytes32 lane;
        bytes32 asset;
        uint256 licence;
        bytes32 sharing;
        bytes32 graph;
        bytes32 parameters;
        bytes32 request;
        bytes32 output;
        bytes32 transcript;
        bytes32 previous;
        bytes32 committee;
        uint64 epoch;
        uint8 helper;
        uint64 number;
        uint128 total;
        uint128 price;
        uint64 time;
        uint64 height;
    }

    struct Voucher {
        bytes32 session;
        bytes32 lane;
        uint128 total;
        bytes32 job;
        bytes32 request;
    }

    /// A model or another thing that is owned.
    #[derive(Debug, PartialEq, Eq)]
    struct Asset {
        uint8 kind;
        address owner;
        bytes32 contentRoot;
        bytes32 graph;
        bytes32 manifest;
        string card;
        bytes32[] parents;
        uint256[] parentLicences;
    }

    /// Under which terms an asset may be used.
    #[derive(Debug, PartialEq, Eq)]
    struct Terms {
        uint8 kind;
        address token;
        uint128 price;
        uint128 royalty;
        uint128 compute;
        uint64 duration;
        uint16 revenueShare;
        bool transferable;
        uint64 allowance;
        bytes32 details;
    }

    /// Who computes on an asset.
    #[derive(Debug, PartialEq, Eq)]
    struct Committee {
        bytes32 asset;
        bytes32 manifest;
        bytes32 digest;
        bytes32[3] keys;
        address[3] operators;
        uint64 epoch;
        uint64 from;
        uint64 until;
    }

    /// What a consumer and its committees have agreed on.
    #[derive(Debug, PartialEq, Eq)]
    struct Session {
        uint256 licence;
        bytes32 asset;
        address consumer;
        address signer;
        bytes32 asker;
        uint128 royalty;
        uint128 compute;
        uint64 ends;
        uint32 inFlight;
        bytes32[] lanes;
        uint128[] caps;
        uint256 nonce;
    }

    /// What an asset's owner lets contracts ask.
    #[derive(Debug, PartialEq, Eq)]
    struct Ask {
        bytes32 lane;
        bytes32 graph;
        bytes32 parameters;
        uint128 royalty;
        uint128 compute;
    }

    /// One call that a contract asks for.
    #[derive(Debug, PartialEq, Eq)]
    struct Request {
        bytes32 asset;
        Ask ask;
        bytes32 input;
        address asker;
        address callback;
        bool isPublic;
        uint64 until;
        uint256 number;
    }

    /// The native contract that checks a committee's signatures.
    interface ICommittee {
        function verify(
            bytes32 digest, bytes32[] keys, uint256 signers, bytes signatures, uint256 threshold
        ) external view returns (bool);
        function verifyReceipt(
            InferenceReceipt receipt, bytes32[] keys, uint256 signers, bytes signatures, uint256 threshold
        ) external view returns (bool);
    }

    #[derive(Debug, PartialEq, Eq)]
    interface AssetRegistry {
        event Registered(
            bytes32 indexed asset, address indexed owner, bytes32 indexed contentRoot, uint256 committed, Asset details
        );

        error NoSuchAsset(bytes32 asset);
        error NotTheOwner(bytes32 asset, address owner);
        error RegisteredBefore(bytes32 asset);
        error NotCommitted(bytes32 commitment);
        error Empty();
        error CardTooLong(uint256 limit);
        error LicencesDoNotMatch(uint256 parents, uint256 licences);
        error ParentTwice(bytes32 parent);
        error NotLicensed(bytes32 parent, uint256 licence);
        error NotPaidYet(uint256 licence);
        error SharesExceedAll(uint256 asked);
        error TooManyAncestors(uint256 limit);
        error CommitmentIsSet(bytes32 asset, bytes32 scheme);
        error RecoveryUnderWay(address account);

        function commit(bytes32 commitment) external;
        function register(Asset calldata asset, bytes32 salt) external returns (bytes32);
        function ownerOf(bytes32 asset) external view returns (address);
        function exists(bytes32 asset) external view returns (bool);
        function assetOf(bytes32 asset)
            external
            view
            returns (
                uint8 kind,
                address registrant,
                bytes32 contentRoot,
                bytes32 graph,
                bytes32 manifest,
                string memory card,
                uint64 committed
            );
        function ancestors(bytes32 asset) external view returns (bytes32[] memory assets, uint16[] memory bps);
        function claims(bytes32 contentRoot) external view returns (bytes32[] memory);
        function idOf(address owner, bytes32 contentRoot) external view returns (bytes32);
        function setCommitment(bytes32 asset, bytes32 scheme, bytes32 root) external;
        function commitmentOf(bytes32 asset, bytes32 scheme) external view returns (bytes32);
    }

    /// What the asset's owner and a holder agreed on, beside the terms.
    #[derive(Debug, PartialEq, Eq)]
    struct Agreement {
        bytes32 asset;
        address holder;
        uint256 nonce;
        uint64 deadline;
        bytes ownerSignature;
        bytes holderSignature;
    }

    /// A token's permit (ERC-2612) for the licences' contract.
    #[derive(Debug, PartialEq, Eq)]
    struct Allowance {
        uint256 value;
        uint256 deadline;
        uint8 v;
        bytes32 r;
        bytes32 s;
    }

    /// What both parties of a partnership sign.
    struct Partnership {
        bytes32 asset;
        bytes32 termsHash;
        address holder;
        uint256 nonce;
        uint64 deadline;
    }

    /// What the holder of a token signs (ERC-2612).
    struct Permit {
        address owner;
        address spender;
        uint256 value;
        uint256 nonce;
        uint256 deadline;
    }

    /// A token (ERC-20, ERC-2612).
    #[derive(Debug, PartialEq, Eq)]
    interface Token {
        function name() external view returns (string memory);
        function symbol() external view returns (string memory);
        function decimals() external view returns (uint8);
        function balanceOf(address account) external view returns (uint256);
        function allowance(address owner, address spender) external view returns (uint256);
        function approve(address spender, uint256 value) external;
        function nonces(address owner) external view returns (uint256);
        function DOMAIN_SEPARATOR() external view returns (bytes32);
    }

    #[derive(Debug, PartialEq, Eq)]
    interface Licences {
        event Offered(bytes32 indexed asset, bytes32 indexed termsHash, Terms terms);
        event Retracted(bytes32 indexed asset, bytes32 indexed termsHash);
        event Bought(
            uint256 indexed licence,
            bytes32 indexed asset,
            bytes32 indexed termsHash,
            address holder,
            address payer,
            uint256 paid
        );
        event Withdrawn(uint256 indexed licence, address indexed holder, uint256 refund);
        event Transfer(address indexed from, address indexed to, uint256 indexed tokenId);
        event UpdateUser(uint256 indexed tokenId, address indexed user, uint64 expires);
        event Collected(uint256 indexed licence, uint256 amount);
        event Opened(bytes32 indexed asset, bytes32 indexed root, bytes32 key);
        event Taken(address indexed account, address indexed token, address to, uint256 amount);

        error NoSuchLicence(uint256 licence);
        error NotTheOwner(bytes32 asset, address owner);
        error NotTheHolder(uint256 licence, address holder);
        error NotOffered(bytes32 termsHash);
        error WrongTerms(string why);
        error PriceAbove(uint256 price, uint256 most);
        error RevenueShareAbove(uint256 share, uint256 most);
        error WrongValue(uint256 expected, uint256 got);
        error NothingArrived(address token);
        error NotTransferable(uint256 licence);
        error Over(uint256 licence);
        error WrongState(uint256 licence, uint8 state);
        error TooEarly(uint256 from);
        error TooLate(uint256 until);
        error WrongComplaint(uint256 licence);
        error NotServedSince(uint64 complaint);
        error OpenedBefore(bytes32 root);
        error NotOpened(bytes32 root);
        error NotDisproved();
        error NotSigned(address signer);
        error MadeBefore(bytes32 partnership);
        error NothingToTake(address account);
        error Succeeded(address account, address heir);
        error Refused(address to);

        function offer(bytes32 asset, Terms calldata terms) external returns (bytes32);
        function retract(bytes32 termsHash) external;
        function buy(bytes32 asset, bytes32 termsHash, uint128 maxPrice, uint16 maxRevenueShare, address holder)
            external
            payable
            returns (uint256);
        function licenceOf(uint256 licence)
            external
            view
            returns (bytes32 asset, Terms memory terms, uint64 boughtAt, uint64 ends, uint64 withdrawnAt);
        function buyWithPermit(
            bytes32 asset,
            bytes32 termsHash,
            uint128 maxPrice,
            uint16 maxRevenueShare,
            address holder,
            Allowance calldata permit
        ) external returns (uint256);
        function partner(Agreement calldata a, Terms calldata t) external payable returns (uint256);
        function withdraw(uint256 licence) external payable;
        function collect(uint256 licence) external returns (uint256);
        function complain(uint256 licence) external;
        function answer(uint256 licence) external;
        function refund(uint256 licence) external returns (uint256);
        function open(bytes32 asset, bytes32 root, bytes32 key) external;
        function disprove(
            bytes32 asset,
            bytes32 root,
            uint256 index,
            bytes calldata piece,
            bytes32 plaintextHash,
            bytes32[] calldata proof
        ) external;
        function take(address token, address to) external returns (uint256);
        function takeable(address account, address token) external view returns (uint256);
        function refundOwed(uint256 licence) external view returns (uint256);
        function moneyOf(uint256 licence)
            external
            view
            returns (uint8 state, uint128 paid, uint128 collected, uint64 complainedAt);
        function openingOf(bytes32 asset, bytes32 root)
            external
            view
            returns (uint64 openedAt, bytes32 key, bool wrong);
        function isUser(uint256 licence, address who) external view returns (bool);
        function ownerOf(uint256 licence) external view returns (address);
        function termsOf(bytes32 termsHash) external view returns (bytes32 asset, Terms memory terms, bool offered);
    }

    #[derive(Debug, PartialEq, Eq)]
    interface Attribution {
        error NotTheMarket();
        error NothingToClaim(address account);
        error Succeeded(address account, address heir);
        error Refused(address to);
        error NothingArrived(address token);

        function release(bytes32 asset, address token, uint256 most) external returns (uint256);
        function divide(bytes32 asset, address token) external returns (uint256);
        function claimFrom(bytes32[] calldata assets) external returns (uint256);
        function claimable(address payee) external view returns (uint256);
        function claim() external returns (uint256);
        function waiting(bytes32 asset, address token)
            external
            view
            returns (uint256 ripe, uint256 unripe, uint256 own);
    }

    #[derive(Debug, PartialEq, Eq)]
    interface Operators {
        event Joined(address indexed operator, bytes32 indexed node, uint256 bond, string endpoint, string region);

        error BondTooSmall(uint256 bond, uint256 least);
        error NotAnOperator(address who);
        error NodeNotProven(bytes32 node);
        error TooLong(uint256 length);
        error QuoteInThePast(uint64 until);
        error MoreThanBonded(uint256 amount, uint256 bond);
        error NotDue(uint64 due);
        error NothingToPay();
        error NotTheMarket(address caller);
        error WrongSum(uint256 sum, uint256 value);
        error NotTaken(address who, uint256 amount);
        error NotEvident();
        error PunishedBefore();
        error NotTheOwner(bytes32 asset, address caller);
        error NotFrozen(uint256 epoch);
        error TooFew(uint256 candidates);
        error StillThere(address operator);

        function join(bytes32 node, string calldata endpoint, string calldata region, bytes calldata proof)
            external
            payable;
        function proofDigest(address operator, bytes32 node) external view returns (bytes32);
        function setQuote(uint128 perCall, uint64 until) external;
        function allow(bytes32 asset, bool willing) external;
        function allowInPlaceOf(bytes32 asset, address gone) external;
        function unbond(uint256 amount) external;
        function withdraw() external returns (uint256);
        function claim() external returns (uint256);
        function standing(address operator, bytes32 asset)
            external
            view
            returns (bytes32 node, uint256 bond, uint128 perCall, uint64 quoteUntil, bool willing);
        function placeOf(address operator) external view returns (string memory endpoint, string memory region);
        function earningsOf(address operator) external view returns (uint256 ripe, uint256 ripening);
        function unbondingOf(address operator) external view returns (uint256 amount, uint64 due);
        function operatorOf(bytes32 node) external view returns (address);
        function recordOf(address operator) external view returns (uint64 calls, uint64 refused);
        function propose(bytes32 asset, uint256 epoch) external view returns (address[] memory);
        function volunteers(bytes32 asset) external view returns (address[] memory);
        function frozen(address operator, bytes32 asset, uint256 epoch)
            external
            view
            returns (uint256 bond, bool willing);
        function policyOf(bytes32 scope) external view returns (uint128 leastBond, bool onlyAllowed);
        function verdictOf(bytes32 scope, address operator) external view returns (uint8);
    }

    /// Who contributed to an asset, and who stands for whom.
    #[derive(Debug, PartialEq, Eq)]
    interface OwnershipReceipts {
        function heirOf(address account) external view returns (address);
        function contributorsOf(bytes32 asset)
            external
            view
            returns (address[] memory contributors, uint16[] memory shares);
    }

    /// The native contract with the beacon's values.
    #[derive(Debug, PartialEq, Eq)]
    interface Beacon {
        function current() external view returns (uint256 epoch, bytes32 value);
        function valueOf(uint256 epoch) external view returns (bytes32);
    }

    #[derive(Debug, PartialEq, Eq)]
    interface Journal {
        function entryCount(address writer, bytes32 key) external view returns (uint256);
        function entriesOf(address writer, bytes32 key, uint256 skip, uint256 count) external view returns (uint64[] memory);
    }

    #[derive(Debug, PartialEq, Eq)]
    interface InferenceMarket {
        event Seated(bytes32 indexed committee, bytes32 indexed asset, Committee c);
        event Unseated(bytes32 indexed committee);
        event Opened(bytes32 indexed session, address indexed consumer, Session s);
        event Settled(
            bytes32 indexed session, bytes32 indexed lane, bytes32 indexed job, uint256 paid, uint256 total, bytes32 receipt
        );
        event Closing(bytes32 indexed session, uint64 until);
        event Asked(bytes32 indexed asset, Ask ask);
        event Requested(bytes32 indexed request, bytes32 indexed lane, Request r, bytes sealedInput);
        event Answered(bytes32 indexed request, bytes32 output, bytes answer, bytes32 receipt, bool told);
        event Refunded(bytes32 indexed request, uint256 amount);
        event Finished(bytes32 indexed session, uint256 returned);

        error NotTheOwner(bytes32 asset, address caller);
        error NotDistinct();
        error WrongTime(uint256 time);
        error WrongKey(address operator, bytes32 key);
        error NotBonded(address operator, uint256 bond);
        error NotWilling(address operator, bytes32 asset);
        error NoQuote(address operator, uint64 until);
        error QuoteTooHigh(address operator, uint256 asked, uint256 offered);
        error SeatedBefore(bytes32 committee);
        error NotSeated(bytes32 committee);
        error StillGood(bytes32 committee);
        error NotAUser(uint256 licence, address who);
        error LicenceOver(uint256 licence);
        error FreeCalls(uint256 licence);
        error WrongLanes();
        error WrongDeposit(uint256 value, uint256 sum);
        error NoSigner();
        error OpenedBefore(bytes32 session);
        error WrongState(bytes32 session, uint256 state);
        error NotTheConsumer(address caller);
        error NotYet(uint256 until);
        error WrongModel(bytes32 asset, bytes32 sharing, bytes32 graph);
        error WrongParameters(bytes32 parameters, uint8 helper);
        error WrongOutput(bytes32 output);
        error WrongCommittee(bytes32 committee);
        error Replayed(uint256 total, uint256 paid);
        error WrongSession(bytes32 session, bytes32 lane);
        error WrongPrice(uint256 total, uint256 price);
        error TooLate(uint256 time, uint256 ends);
        error OverCap(uint256 total, uint256 cap);
        error WrongVoucher(address recovered);
        error NotSigned(bytes32 receipt);
        error NotTwice();
        error NotAMember(address caller);
        error ReturnedBefore(bytes32 lane);
        error NothingToPay();
        error NotTaken(address who, uint256 amount);
        error Expired(uint256 deadline);
        error TooLittle(address account, uint256 balance, uint256 needed);
        error TooFewCalls(uint256 calls);
        error WrongSignature(address recovered);
        error NotAdmitted(bytes32 scope, address operator);
        error NotOffered(bytes32 asset, uint256 price);
        error TooLittleGas(uint256 left);

        function seat(Committee calldata c) external returns (bytes32);
        function unseat(Committee calldata c) external;
        function open(
            uint256 licence,
            address signer,
            bytes32 asker,
            bytes32[] calldata lanes,
            uint128[] calldata caps,
            uint64 ends,
            uint256 nonce
        ) external payable returns (bytes32);
        function settle(
            Session calldata s,
            Committee calldata c,
            InferenceReceipt calldata r,
            bytes calldata voucher,
            bytes calldata signatures
        ) external;
        function setAsk(bytes32 asset, Ask calldata ask) external;
        function askOf(bytes32 asset) external view returns (Ask memory);
        function requestInference(
            bytes32 asset,
            bytes32 lane,
            bytes calldata sealedInput,
            address callback,
            bool isPublic,
            uint128 maxPrice
        ) external payable returns (bytes32);
        function answer(
            Request calldata q,
            Committee calldata c,
            InferenceReceipt calldata r,
            bytes calldata signatures,
            bytes calldata publicAnswer
        ) external;
        function refundRequest(Request calldata q) external;
        function requests(bytes32 request) external view returns (uint256);
        function close(Session calldata s) external;
        function finish(Session calldata s) external;
        function withdraw() external returns (uint256);
        function balanceOf(address account) external view returns (uint256);
        function sessions(bytes32 session) external view returns (uint256);
        function committees(bytes32 committee) external view returns (uint256);
        function settled(bytes32 session, bytes32 lane) external view returns (uint256);
        function closedIn(bytes32 session) external view returns (uint256);
    }

    /// What somebody wants to learn from a dataset, at worst: divergences at 32 orders in nano.
    #[derive(Debug, PartialEq, Eq)]
    struct Job {
        bytes32 dataset;
        address spender;
        uint256 licence;
        bytes32 name;
        uint64 until;
        uint64 failure;
        uint64[32] costs;
    }

    #[derive(Debug, PartialEq, Eq)]
    interface PrivacyBudget {
        event Granted(
            bytes32 indexed dataset, uint64 epsilon, uint64 logInverseDelta, uint64 failure, uint32 orders
        );
        event Lowered(bytes32 indexed dataset, uint64 epsilon);
        event RaiseAnnounced(bytes32 indexed dataset, uint64 epsilon, uint64 from, uint64 fromBlock);
        event RaiseCancelled(bytes32 indexed dataset);
        event Raised(bytes32 indexed dataset, uint64 epsilon);
        event AllowanceSet(bytes32 indexed dataset, address indexed spender, uint64 epsilon);
        event Reserved(bytes32 indexed job, bytes32 indexed dataset, address indexed spender, Job details);
        event Begun(bytes32 indexed job, bytes32 indexed dataset, address indexed spender);
        event Released(bytes32 indexed job, bytes32 indexed dataset);

        error NotTheOwner(bytes32 dataset, address owner);
        error NotADataset(bytes32 asset);
        error RecoveryUnderWay(address account);
        error WrongGrant(string why);
        error GrantedBefore(bytes32 dataset);
        error NotGranted(bytes32 dataset);
        error NoChange(uint64 epsilon);
        error NotRaised(uint64 from, uint64 fromBlock);
        error WrongJob(string why);
        error NotTheSpender(address spender);
        error TooLate(uint64 until);
        error TooEarly(uint64 until);
        error WrongState(bytes32 job, uint256 word);
        error NotAllowed(bytes32 dataset, address spender, uint256 licence);
        error NotAUser(uint256 licence, address spender);
        error NotPaidYet(uint256 licence);
        error OverBudget(bytes32 dataset, uint256 epsilon, uint256 granted);
        error OverAllowance(bytes32 dataset, uint256 epsilon, uint256 allowed);
        error FailureAbove(uint256 failure, uint256 granted);

        function grant(bytes32 dataset, uint64 epsilon, uint64 logInverseDelta, uint64 failure, uint32 orders) external;
        function lower(bytes32 dataset, uint64 epsilon) external;
        function announceRaise(bytes32 dataset, uint64 epsilon) external;
        function cancelRaise(bytes32 dataset) external;
        function raise(bytes32 dataset) external;
        function allow(bytes32 dataset, address spender, uint64 epsilon) external;
        function reserve(Job calldata j) external returns (bytes32 job);
        function begin(Job calldata j) external;
        function release(Job calldata j) external;
        function jobs(bytes32 job) external view returns (uint256 word);
        function idOf(Job calldata j) external view returns (bytes32);
        function grantOf(bytes32 dataset)
            external
            view
            returns (
                uint64 epsilon,
                uint64 logInverseDelta,
                uint64 failure,
                uint32 orders,
                uint64 raisedTo,
                uint64 from,
                uint64 fromBlock
            );
        function spentOf(bytes32 dataset)
            external
            view
            returns (uint256 spent, uint256 withReserved, uint256 failure, uint256 failureWithReserved);
        function divergencesOf(bytes32 dataset)
            external
            view
            returns (uint64[32] memory spent, uint64[32] memory withReserved);
        function allowanceOf(bytes32 dataset, address spender, uint256 licence)
            external
            view
            returns (uint256 epsilon, uint256 drawn);
    }
}

impl Terms {
    /// The name of these terms for an asset, as the contract makes it: `keccak256(abi.encode(asset, terms))`.
    pub fn hash(&self, asset: B256) -> B256 {
        keccak256((asset, self.clone()).abi_encode_params())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use alloy_primitives::keccak256;
    use alloy_sol_types::SolInterface;

    use super::*;

    /// Selectors of what a Solidity file declares as `kind`: everything in its parentheses but the names.
    fn declared(solidity: &str, kind: &str) -> BTreeSet<[u8; 4]> {
        let keyword = format!("    {kind} ");
        let parts = solidity.split(&keyword).skip(1);
        let one = |part: &str| {
            let (name, rest) = part.split_once('(')?;
            let (fields, _) = rest.split_once(')')?;
            let kinds = fields.split(',').filter_map(|field| field.split_whitespace().next());
            // An enum is a byte in a signature.
            let kinds: Vec<&str> = kinds.map(|kind| if kind == "State" { "uint8" } else { kind }).collect();
            let hash = keccak256(format!("{name}({})", kinds.join(",")));
            Some([hash[0], hash[1], hash[2], hash[3]])
        };
        parts.filter_map(one).collect()
    }

    fn known<E: SolInterface>() -> BTreeSet<[u8; 4]> {
        E::selectors().collect()
    }

    #[test]
    fn the_errors_of_the_contracts_are_known_by_name() {
        let contracts = [
            (
                include_str!("../../contracts/src/protocol/IAssetRegistry.sol"),
                known::<AssetRegistry::AssetRegistryErrors>(),
            ),
            (include_str!("../../contracts/src/protocol/ILicences.sol"), known::<Licences::LicencesErrors>()),
            (include_str!("../../contracts/src/protocol/IAttribution.sol"), known::<Attribution::AttributionErrors>()),
            (include_str!("../../contracts/src/protocol/IOperators.sol"), known::<Operators::OperatorsErrors>()),
            (
                include_str!("../../contracts/src/protocol/IInferenceMarket.sol"),
                known::<InferenceMarket::InferenceMarketErrors>(),
            ),
            (
                include_str!("../../contracts/src/protocol/IPrivacyBudget.sol"),
                known::<PrivacyBudget::PrivacyBudgetErrors>(),
            ),
        ];
        for (solidity, known) in contracts {
            let declared = declared(solidity, "error");
            assert!(declared.len() >= 4, "{} errors were found", declared.len());
            let missing: Vec<_> = declared.difference(&known).map(alloy_primitives::hex::encode).collect();
            assert_eq!(missing, Vec::<String>::new());
        }
    }
}
