// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {Terms} from "./Types.sol";
import {LICENCES} from "./Addresses.sol";

/// @title  ERC-4907: a token's user beside its holder.
interface IERC4907 {
    /// @notice `user` may use the token until `expires`.
    event UpdateUser(uint256 indexed tokenId, address indexed user, uint64 expires);
    /// @notice Names a user until `expires` (seconds since 1970). By the holder or whom it approved.
    function setUser(uint256 tokenId, address user, uint64 expires) external;
    /// @notice The user, or zero when there is none or its time is over.
    function userOf(uint256 tokenId) external view returns (address);
    /// @notice Until when the user may use the token.
    function userExpires(uint256 tokenId) external view returns (uint256);
}

/// @title  Licences: who may use an asset, on which terms.
/// @notice ERC-721 with ERC-4907 users. A licence keeps the terms it was bought under: they are named by their hash, the
///         buyer passes that hash, and nobody can change what it stands for.
///
///         What becomes of the price:
///         - API: the owner's at once (with its asset's lineage, by Attribution). Each call costs royalty and compute.
///         - Long-term: in escrow, and the owner's bit by bit over the duration. What is left comes back to the holder
///           when the licence is withdrawn, or when a complaint stays unanswered for ANSWER_TIME. An answer is work on
///           the asset that the market has settled, for whomever (the owner, too), by a committee that was seated then; so of an asset that is not served there, every
///           complaint stands, and a complaint shows only that nobody was served.
///         - Full access: in escrow until the owner opens the ciphertext, whose root was registered before, and nobody
///           shows within DISPUTE_TIME that the key is wrong. Not opened within OPENING_TIME, or wrong: comes back.
///           The root holds hashes of the plaintext's pieces: before buying, compare them with the asset's content.
///         - Partnership: terms that both signed; the owner's at once.
///         Each of these times is over when WINDOW_BLOCKS have been made, too: a chain that stands still uses none up.
///         An owner who withdraws a licence whose price it has pays it back: all of it, or the share of the time left.
///
///         What comes back is credited, and taken with `take`: no refund waits for anybody but its receiver.
interface ILicences is IERC4907 {
    /// @notice How a purchase's token payment was authorized (ERC-3009). The nonce must be
    ///         `keccak256(abi.encode(asset, termsHash, maxPrice, maxRevenueShare, holder, salt))`, so that whoever submits
    ///         it can buy nothing else with it.
    struct Authorization {
        address from;
        uint256 validAfter;
        uint256 validBefore;
        bytes32 salt;
        uint8 v;
        bytes32 r;
        bytes32 s;
    }

    /// @notice A token's permit (ERC-2612) for this contract, by the caller.
    struct Permit {
        uint256 value;
        uint256 deadline;
        uint8 v;
        bytes32 r;
        bytes32 s;
    }

    /// @notice What the asset's owner and a holder agreed on, beside the terms. Who sends it need not sign.
    struct Agreement {
        bytes32 asset;
        address holder;
        uint256 nonce;
        uint64 deadline;
        bytes ownerSignature;
        bytes holderSignature;
    }

    /// @notice What a licence's money does.
    enum State {
        /// The price is the owner's.
        Paid,
        /// It vests.
        Vesting,
        /// It waits for the key.
        Sealed,
        /// What had not gone to the owner came back.
        Refunded
    }

    /// @notice The owner sells licences of `asset` on these terms.
    event Offered(bytes32 indexed asset, bytes32 indexed termsHash, Terms terms);
    /// @notice It no longer does. What was sold stays.
    event Retracted(bytes32 indexed asset, bytes32 indexed termsHash);
    /// @notice `licence` was bought; `paid` is what arrived.
    event Bought(
        uint256 indexed licence,
        bytes32 indexed asset,
        bytes32 indexed termsHash,
        address holder,
        address payer,
        uint256 paid
    );
    /// @notice The licence is good for nothing from now on; `refund` is the holder's.
    event Withdrawn(uint256 indexed licence, address indexed holder, uint256 refund);
    /// @notice This much of the price went to the owner.
    event Collected(uint256 indexed licence, uint256 amount);
    /// @notice The holder says that it is not served.
    event Complained(uint256 indexed licence, uint64 until);
    /// @notice The asset was served since, so the complaint is over.
    event Answered(uint256 indexed licence);
    /// @notice The key of a ciphertext is public.
    event Opened(bytes32 indexed asset, bytes32 indexed root, bytes32 key);
    /// @notice The key did not open the ciphertext: piece `index` is not what the root promises.
    event Disproved(bytes32 indexed asset, bytes32 indexed root, uint256 index);
    /// @notice `account` took what had come back to it.
    event Taken(address indexed account, address indexed token, address to, uint256 amount);

    /// @notice Nothing has this id.
    error NoSuchLicence(uint256 licence);
    /// @notice Only the asset's owner may do this.
    error NotTheOwner(bytes32 asset, address owner);
    /// @notice Only the licence's holder may do this.
    error NotTheHolder(uint256 licence, address holder);
    /// @notice These terms are not on offer.
    error NotOffered(bytes32 termsHash);
    /// @notice Terms that make no sense: see the text.
    error WrongTerms(string why);
    /// @notice The price is above what the buyer accepts.
    error PriceAbove(uint256 price, uint256 most);
    /// @notice The part of derived assets' revenue is above what the buyer accepts.
    error RevenueShareAbove(uint256 share, uint256 most);
    /// @notice The value must be exactly this.
    error WrongValue(uint256 expected, uint256 got);
    /// @notice The token kept everything.
    error NothingArrived(address token);
    /// @notice The terms do not allow to pass this licence on.
    error NotTransferable(uint256 licence);
    /// @notice The licence is over.
    error Over(uint256 licence);
    /// @notice That needs a licence in another state.
    error WrongState(uint256 licence, State state);
    /// @notice Not before this time.
    error TooEarly(uint256 from);
    /// @notice Not after this time.
    error TooLate(uint256 until);
    /// @notice A complaint is open, or none is.
    error WrongComplaint(uint256 licence);
    /// @notice Nothing was settled for the asset since the complaint.
    error NotServedSince(uint64 complaint);
    /// @notice The ciphertext is open already.
    error OpenedBefore(bytes32 root);
    /// @notice The ciphertext is not open.
    error NotOpened(bytes32 root);
    /// @notice The piece is not one of the ciphertext, or too long, or is what was promised.
    error NotDisproved();
    /// @notice `signer` did not sign this partnership.
    error NotSigned(address signer);
    /// @notice This partnership is made.
    error MadeBefore(bytes32 partnership);
    /// @notice Nothing is here for this account.
    error NothingToTake(address account);
    /// @notice The account was recovered, and this is its heir, who alone acts for it: takes with `takeFor`, and uses its
    ///         licences after `follow`.
    error Succeeded(address account, address heir);
    /// @notice The receiver refused the coin.
    error Refused(address to);

    /// @notice Offers licences of `asset`. By its owner.
    /// @return termsHash `keccak256(abi.encode(asset, t))`
    function offer(bytes32 asset, Terms calldata t) external returns (bytes32 termsHash);

    /// @notice Ends an offer. By the asset's owner.
    function retract(bytes32 termsHash) external;

    /// @notice Buys a licence for `holder`. The value is the price, or zero when that is in a token, which the caller has
    ///         allowed this contract to take.
    /// @param maxPrice        reverts when the price is above this
    /// @param maxRevenueShare reverts when derived assets would owe more than this
    function buy(bytes32 asset, bytes32 termsHash, uint128 maxPrice, uint16 maxRevenueShare, address holder)
        external
        payable
        returns (uint256 licence);

    /// @notice Buys with a token, after a permit. A permit that fails is no failure: somebody else may have used it.
    function buyWithPermit(
        bytes32 asset,
        bytes32 termsHash,
        uint128 maxPrice,
        uint16 maxRevenueShare,
        address holder,
        Permit calldata permit
    ) external returns (uint256 licence);

    /// @notice Buys with somebody's authorization to receive a token, who so needs no native coin.
    function buyWithAuthorization(
        bytes32 asset,
        bytes32 termsHash,
        uint128 maxPrice,
        uint16 maxRevenueShare,
        address holder,
        Authorization calldata authorization
    ) external returns (uint256 licence);

    /// @notice Makes a partnership that the asset's owner and `holder` agreed on, each by sending this or by its EIP-712
    ///         signature (domain "Sahara Licences", version "1") of
    ///         `Partnership(bytes32 asset,bytes32 termsHash,address holder,uint256 nonce,uint64 deadline)`.
    ///         The caller pays.
    function partner(Agreement calldata a, Terms calldata t) external payable returns (uint256 licence);

    /// @notice Ends a licence. By the asset's owner, who pays back what `refundOwed` says, as value or in the price's token.
    function withdraw(uint256 licence) external payable;

    /// @notice The same, for a token that keeps a fee of each transfer: takes `amount` of it from the caller, of which as much as
    ///         is owed has to arrive. What arrives beyond that is the caller's to `take`.
    function withdrawPaying(uint256 licence, uint256 amount) external;

    /// @notice Sends what of the price is the owner's by now to Attribution. By anybody.
    function collect(uint256 licence) external returns (uint256 amount);

    /// @notice As the holder of a long-term licence: it is not served. Vesting stops until that is answered.
    function complain(uint256 licence) external;

    /// @notice Ends a complaint: the market settled work on the asset since. By anybody; by the holder without that. Also
    ///         after ANSWER_TIME, as long as nobody called `refund`: who wants its money back calls that.
    function answer(uint256 licence) external;

    /// @notice Credits the holder what comes back: after an unanswered complaint, a ciphertext not opened, or a wrong key.
    ///         The licence ends. By anybody.
    function refund(uint256 licence) external returns (uint256 amount);

    /// @notice Opens a ciphertext for all who bought it. By the asset's owner.
    function open(bytes32 asset, bytes32 root, bytes32 key) external;

    /// @notice Shows within DISPUTE_TIME and WINDOW_BLOCKS that the key is wrong. By anybody. Piece `index` of the ciphertext is under the
    ///         root together with the hash of its plaintext: the leaf is
    ///         `keccak256(bytes.concat(keccak256(abi.encode(index, keccak256(piece), plaintextHash))))`, pairs are sorted.
    ///         Word j of a piece is XORed with `keccak256(abi.encode(key, index, j))`.
    function disprove(
        bytes32 asset,
        bytes32 root,
        uint256 index,
        bytes calldata piece,
        bytes32 plaintextHash,
        bytes32[] calldata proof
    ) external;

    /// @notice Takes what came back to the caller in this token (zero: the native coin), to another account.
    function take(address token, address to) external returns (uint256 amount);

    /// @notice As the heir of `account`, which its guardians have recovered: takes what came back to that account.
    function takeFor(address account, address token, address to) external returns (uint256 amount);

    /// @notice Moves a licence to its holder's heir, whatever its terms say about transfers. By anybody.
    function follow(uint256 licence) external;

    /// @notice What a licence is. `ends` is the largest number when it never ends, `withdrawnAt` zero unless withdrawn.
    function licenceOf(uint256 licence)
        external
        view
        returns (bytes32 asset, Terms memory t, uint64 boughtAt, uint64 ends, uint64 withdrawnAt);

    /// @notice Whether `who` is the holder or user of a licence that is neither over nor withdrawn.
    function isUser(uint256 licence, address who) external view returns (bool);

    /// @notice Zero, or since when the licence is withdrawn. Slot 0 of this contract's storage: share nodes prove it.
    function withdrawn(uint256 licence) external view returns (uint256);

    /// @notice What a licence's price does: what was paid less what came back, what of that went to the owner, and since
    ///         when a complaint is open (zero: none).
    function moneyOf(uint256 licence)
        external
        view
        returns (State state, uint128 paid, uint128 collected, uint64 complainedAt);

    /// @notice What the owner would have to pay to withdraw this licence now.
    function refundOwed(uint256 licence) external view returns (uint256);

    /// @notice What `take` would take.
    function takeable(address account, address token) external view returns (uint256);

    /// @notice Terms that were ever offered or agreed on, and whether they are on offer.
    function termsOf(bytes32 termsHash) external view returns (bytes32 asset, Terms memory t, bool offered);

    /// @notice Under which scheme the root of a ciphertext is registered with `IAssetRegistry.setCommitment`.
    function ciphertextScheme(bytes32 root) external pure returns (bytes32);

    /// @notice When the ciphertext was opened (zero: not), with which key, and whether that was shown to be wrong.
    function openingOf(bytes32 asset, bytes32 root) external view returns (uint64 openedAt, bytes32 key, bool wrong);
}

ILicences constant LICENCE_BOOK = ILicences(LICENCES);
