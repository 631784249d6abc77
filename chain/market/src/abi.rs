//! The contracts' interfaces as this program calls them; `contracts/src/protocol/` has them with explanations.

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

    /// The native contract that checks a committee's signatures.
    interface ICommittee {
        function verify(
            bytes32 digest, bytes32[] keys, uint256 signers, bytes signatures, uint256 threshold
        ) external view returns (bool);
        function verifyReceipt(
            InferenceReceipt receipt, bytes32[] keys, uint256 signers, bytes signatures, uint256 threshold
        ) external view returns (bool);
    }

    interface AssetRegistry {
        event Registered(bytes32 indexed asset, address indexed owner, bytes32 indexed contentRoot);

        function commit(bytes32 commitment) external;
        function register(Asset calldata asset, bytes32 salt) external returns (bytes32);
        function ownerOf(bytes32 asset) external view returns (address);
    }

    interface Licences {
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
        function isUser(uint256 licence, address who) external view returns (bool);
    }

    interface Attribution {
        function claimable(address payee) external view returns (uint256);
        function claim() external returns (uint256);
    }

    interface Operators {
        function join(bytes32 node, string calldata endpoint, string calldata region) external payable;
        function setQuote(uint128 perCall, uint64 until) external;
        function allow(bytes32 asset, bool willing) external;
        function unbond(uint256 amount) external;
        function withdraw() external returns (uint256);
        function claim() external returns (uint256);
    }

    interface InferenceMarket {
        event Seated(bytes32 indexed committee, bytes32 indexed asset, Committee c);
        event Opened(bytes32 indexed session, address indexed consumer, Session s);
        event Settled(
            bytes32 indexed session, bytes32 indexed lane, bytes32 indexed job, uint256 paid, uint256 total, bytes32 receipt
        );

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
        function close(Session calldata s) external;
        function finish(Session calldata s) external;
        function settle(
            Session calldata s,
            Committee calldata c,
            InferenceReceipt calldata r,
            bytes calldata voucher,
            bytes calldata signatures
        ) external;
    }
}
