// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {InferenceReceipt} from "../InferenceReceipts.sol";
import {Committee, Session} from "./Types.sol";

/// @title  Who is told the answer to a request.
interface IInferenceCallback {
    /// @notice `request` was answered. Called by the market with 200,000 gas; if this reverts, the answer stands all the same.
    ///         Anybody can ask in your name what its own asset and operators then answer: check that the request is one of yours.
    function inferred(bytes32 request, bytes32 output, bytes calldata answer) external;
}

/// @title  Where private inference is paid.
/// @notice An owner seats committees for its asset. A consumer with a licence opens a session: a deposit that is locked to
///         that licence and to named committees ("lanes"). For each call it signs a voucher with the running total of
///         one lane; the three members sign a receipt with the same total before the answer is let go. Whoever shows both
///         has the lane paid, from the total that was paid before to this one: only the highest total ever counts, so
///         nothing is lost when earlier ones are never shown, or are shown late. A voucher without its receipt is worth
///         nothing, and so is a receipt without its voucher.
///
///         At risk is one call on either side: a consumer may pay for an answer that was receipted but did not arrive.
///         Nobody governs this contract, and nobody can change its times or take what lies in it.
interface IInferenceMarket {
    /// What a consumer asks for when it opens a session.
    struct Order {
        /// Its licence.
        uint256 licence;
        /// Whose secp256k1 signature makes a voucher. A session key of the consumer, which can do nothing else.
        address signer;
        /// The ed25519 key with which it asks the share nodes.
        bytes32 asker;
        /// Ids of committees, and how much may be spent at each.
        bytes32[] lanes;
        uint128[] caps;
        /// When the session ends, in seconds since 1970.
        uint64 ends;
        /// Makes sessions that are alike differ.
        uint256 nonce;
    }

    /// What an asset's owner lets contracts ask.
    struct Ask {
        /// Who answers; zero for nobody.
        bytes32 lane;
        /// What is evaluated, and with which parameters: see the receipt's fields.
        bytes32 graph;
        bytes32 parameters;
        /// What a call costs.
        uint128 royalty;
        uint128 compute;
    }

    /// One call that a contract asked for. Its id is `keccak256(abi.encode(chainid, market, request))`. Jobs for it may have any
    /// name: a second attempt has another one.
    struct Request {
        bytes32 asset;
        Ask ask;
        /// keccak256 of the sealed input.
        bytes32 input;
        address asker;
        /// Who is told the answer, or zero.
        address callback;
        /// Whether everybody may read the answer.
        bool isPublic;
        uint64 until;
        uint256 number;
    }

    /// @notice A committee was seated: what its id is the hash of.
    event Seated(bytes32 indexed committee, bytes32 indexed asset, Committee c);
    /// @notice A committee opens no more sessions.
    event Unseated(bytes32 indexed committee);
    /// @notice A session was opened: what its id is the hash of.
    event Opened(bytes32 indexed session, address indexed consumer, Session s);
    /// @notice A lane was paid `paid`, which makes `total` in all, by the receipt with this digest.
    event Settled(
        bytes32 indexed session, bytes32 indexed lane, bytes32 indexed job, uint256 paid, uint256 total, bytes32 receipt
    );
    /// @notice A session closes; until `until` what is owed can be claimed.
    event Closing(bytes32 indexed session, uint64 until);
    /// @notice A session is over, and this much went back to its consumer.
    event Finished(bytes32 indexed session, uint256 returned);
    /// @notice A job was charged in two lanes; `lane` gives its price back.
    event Returned(bytes32 indexed session, bytes32 indexed lane, bytes32 indexed job, uint256 amount);
    /// @notice What contracts may ask of this asset.
    event Asked(bytes32 indexed asset, Ask ask);
    /// @notice A contract asks: what the request's id is the hash of, and the input, sealed to the committee.
    event Requested(bytes32 indexed request, bytes32 indexed lane, Request r, bytes sealedInput);
    /// @notice A request was answered, by the receipt with this digest; `answer` is empty unless it is public. `told` says
    ///         whether the callback took it.
    event Answered(bytes32 indexed request, bytes32 output, bytes answer, bytes32 receipt, bool told);
    /// @notice Nobody answered in time; the price went back.
    event Refunded(bytes32 indexed request, uint256 amount);
    /// @notice Money came into an account's balance here.
    event Deposited(address indexed account, uint256 amount);
    /// @notice Money left an account's balance here.
    event Withdrawn(address indexed account, uint256 amount);
    /// @notice Fees of calls to this asset were burnt.
    event Burnt(bytes32 indexed asset, uint256 amount);

    /// @notice Only the owner of the asset may do this.
    error NotTheOwner(bytes32 asset, address caller);
    /// @notice The same operator twice. (A key belongs to one operator.)
    error NotDistinct();
    /// @notice A time in the past, or too far off.
    error WrongTime(uint256 time);
    /// @notice This member's node has another key.
    error WrongKey(address operator, bytes32 key);
    /// @notice This member's bond in force is below what is asked.
    error NotBonded(address operator, uint256 bond);
    /// @notice This member does not (any more) hold that asset.
    error NotWilling(address operator, bytes32 asset);
    /// @notice This member has no quote that is in force.
    error NoQuote(address operator, uint64 until);
    /// @notice A member's part of what is paid for computing, after the fee, is less than this one asks.
    error QuoteTooHigh(address operator, uint256 asked, uint256 offered);
    /// @notice It is seated already, or was.
    error SeatedBefore(bytes32 committee);
    /// @notice It is not seated (any more), not yet, not for as long, or a member's node has another key now.
    error NotSeated(bytes32 committee);
    /// @notice All members still have their bonds and keys, and the committee has time.
    error StillGood(bytes32 committee);
    /// @notice The consumer is neither holder nor user of the licence, or that is over or withdrawn.
    error NotAUser(uint256 licence, address who);
    /// @notice The licence would be over before the session.
    error LicenceOver(uint256 licence);
    /// @notice The licence has calls for nothing: there is nothing to settle.
    error FreeCalls(uint256 licence);
    /// @notice No lanes, too many, one twice, as many caps as lanes are needed, or a cap below the price of a call.
    error WrongLanes();
    /// @notice The value is not the sum of the caps.
    error WrongDeposit(uint256 value, uint256 sum);
    /// @notice No vouchers can be signed by nobody.
    error NoSigner();
    /// @notice The same session was opened before.
    error OpenedBefore(bytes32 session);
    /// @notice The session is not in the state that this needs.
    error WrongState(bytes32 session, uint256 state);
    /// @notice Only the consumer may close while session and licence last.
    error NotTheConsumer(address caller);
    /// @notice The window is open until then.
    error NotYet(uint256 until);

    /// @notice The receipt is about another asset or sharing, or about no graph.
    error WrongModel(bytes32 asset, bytes32 sharing, bytes32 graph);
    /// @notice The receipt names no parameters, or no member as its helper, or others than were asked for.
    error WrongParameters(bytes32 parameters, uint8 helper);
    /// @notice The receipt commits to no answer, or to another.
    error WrongOutput(bytes32 output);
    /// @notice The receipt is another committee's.
    error WrongCommittee(bytes32 committee);
    /// @notice As much was paid before: this receipt, or a later one.
    error Replayed(uint256 total, uint256 paid);
    /// @notice The receipt is about another session, licence or lane.
    error WrongSession(bytes32 session, bytes32 lane);
    /// @notice The receipt's price is not the session's, or its total not its number times its price.
    error WrongPrice(uint256 total, uint256 price);
    /// @notice The job was asked after the session had ended.
    error TooLate(uint256 time, uint256 ends);
    /// @notice More than the lane's cap.
    error OverCap(uint256 total, uint256 cap);
    /// @notice The voucher is not the signer's, or for another session, lane, total, job or request.
    error WrongVoucher(address recovered);
    /// @notice Not all three members signed just this.
    error NotSigned(bytes32 receipt);
    /// @notice The two receipts are not of one job in two lanes, both charged.
    error NotTwice();
    /// @notice This session gave a price back already.
    error ReturnedBefore(bytes32 lane);
    /// @notice Too few calls of this lane were paid for it to give one back.
    error TooFewCalls(uint256 calls);
    /// @notice Only the committee's members may do this.
    error NotAMember(address caller);
    /// @notice There is nothing to pay.
    error NothingToPay();
    /// @notice The receiver did not take the money.
    error NotTaken(address who, uint256 amount);
    /// @notice What was signed is over.
    error Expired(uint256 deadline);
    /// @notice The consumer did not sign this.
    error WrongSignature(address recovered);
    /// @notice The policy of the owner or of the consumer (scope) does not let this operator in.
    error NotAdmitted(bytes32 scope, address operator);
    /// @notice The owner lets no contract ask, or not at this price.
    error NotOffered(bytes32 asset, uint256 price);
    /// @notice The gas that is left is too little for the callback.
    error TooLittleGas(uint256 left);
    /// @notice The balance here is less than that.
    error TooLittle(address account, uint256 balance, uint256 needed);

    /// @notice Seats a committee for an asset. By the asset's owner. Each member is bonded, holds that key, is willing, and
    ///         has a quote in force.
    /// @return committee its id, by which sessions name it as a lane
    function seat(Committee calldata c) external returns (bytes32 committee);
    /// @notice The committee opens no more sessions. By the asset's owner; by anybody when a member's bond is not there any
    ///         more, its node has another key, or the committee's time is over. Sessions that are open are settled as they are.
    function unseat(Committee calldata c) external;

    /// @notice Opens a session and locks the value, which is the sum of the caps. The caller is a user of the licence.
    /// @dev    Calls are paid as the licence says, for the whole session.
    /// @return session its id
    function open(
        uint256 licence,
        address signer,
        bytes32 asker,
        bytes32[] calldata lanes,
        uint128[] calldata caps,
        uint64 ends,
        uint256 nonce
    ) external payable returns (bytes32 session);
    /// @notice The same for a consumer who signed it (EIP-712, `Open`), from its balance here. The caller gets its gas from
    ///         there, at most `most`.
    function openFor(address consumer, Order calldata o, uint128 most, uint64 deadline, bytes calldata signature)
        external
        returns (bytes32 session);
    /// @notice Pays a lane up to a receipt's total. By anybody; the money goes to the same accounts whoever calls.
    /// @param s          the session
    /// @param c          the committee
    /// @param r          the receipt
    /// @param voucher    the signer's 65 bytes (r, s, v) over `voucherDigest`
    /// @param signatures the members' three ed25519 signatures over the receipt's digest, in the committee's order
    function settle(
        Session calldata s,
        Committee calldata c,
        InferenceReceipt calldata r,
        bytes calldata voucher,
        bytes calldata signatures
    ) external;
    /// @notice The same, but the money waits here until somebody calls `payOut`, `settle` or `finish` for the lane: for a member that
    ///         wants a claim on the chain often, and the money now and then. By the members alone, so that nobody else delays their
    ///         money by coming before a `settle`.
    function secure(
        Session calldata s,
        Committee calldata c,
        InferenceReceipt calldata r,
        bytes calldata voucher,
        bytes calldata signatures
    ) external;
    /// @notice Pays what `secure` left for a lane. By anybody.
    function payOut(Session calldata s, Committee calldata c) external;
    /// @notice Begins to close a session. By its consumer; by anybody when it has ended, or its consumer is not a user of the
    ///         licence any more (it was withdrawn, is over, or somebody else's). What is owed can be claimed for `CLOSING`
    ///         seconds and `CLOSING_BLOCKS` blocks from now.
    function close(Session calldata s) external;
    /// @notice Ends a session whose window is over. By anybody. What is left goes to the consumer's balance here.
    function finish(Session calldata s) external;
    /// @notice Gives one price back when one job was receipted in two lanes and both were paid for it: the lane that was
    ///         named first in the session gives up its last call. Once a session, before `finish`, when `REFUND_CALLS` of that
    ///         lane's calls and `KEEPING_CALLS` of the other's are paid: whoever uses a name twice on purpose, for two answers,
    ///         gains one call in so many, and a committee made up for it burns as much. Both vouchers name the job, so it
    ///         was the consumer's signer that used the name twice.
    function refundTwice(
        Session calldata s,
        Committee[2] calldata pair,
        InferenceReceipt[2] calldata receipts,
        bytes[2] calldata vouchers,
        bytes[2] calldata signatures
    ) external;

    /// @notice Lets contracts ask an asset, at one committee and one price, until it is set anew. By the asset's owner.
    function setAsk(bytes32 asset, Ask calldata ask) external;
    /// @notice Asks for one call, as a contract does. The value covers the price; what is over goes to the caller's balance here.
    /// @dev    The input is sealed to this committee and to this caller, callback and publicity, by naming them in what the
    ///         seal authenticates (`abi.encode(chainid, market, asset, lane, asker, callback, isPublic)`): else whoever copies
    ///         it into a request of its own reads the answer.
    /// @param lane        the committee to which the input is sealed: the one that the owner names, or this reverts
    /// @param sealedInput the input, sealed to the committee's members
    /// @param callback    who is told the answer (`IInferenceCallback`), or zero
    /// @param isPublic    whether everybody may read the answer
    /// @param maxPrice    what the caller is ready to pay
    function requestInference(
        bytes32 asset,
        bytes32 lane,
        bytes calldata sealedInput,
        address callback,
        bool isPublic,
        uint128 maxPrice
    ) external payable returns (bytes32 request);
    /// @notice Answers a request with the committee's receipt (`session` is the request's id, `request` the hash of the sealed
    ///         input, `licence` zero, `number` one) and pays it. By anybody, in time.
    /// @param publicAnswer the answer if it is public, whose keccak256 the members then sign as the receipt's output; else empty
    function answer(
        Request calldata q,
        Committee calldata c,
        InferenceReceipt calldata r,
        bytes calldata signatures,
        bytes calldata publicAnswer
    ) external;
    /// @notice Gives the price of a request back that nobody answered in time. By anybody. It says nothing about the committee:
    ///         the input may have been sealed to nobody.
    function refundRequest(Request calldata q) external;

    /// @notice Puts the value into an account's balance here, from which `openFor` takes deposits.
    function deposit(address account) external payable;
    /// @notice Pays the caller its balance here.
    function withdraw() external returns (uint256 paid);
    /// @notice Pays the caller's balance here to another account.
    function withdrawTo(address to) external returns (uint256 paid);
    /// @notice Pays royalties to `Attribution` that it would not take when they came.
    function forward(bytes32 asset) external;
    /// @notice Burns the fees that calls to an asset have left here. By anybody.
    function burn(bytes32 asset) external;

    /// @notice The word that share nodes have proven: low 8 bits 1 open, 2 closing, 3 finished; bits 8 to 72 when closing ends.
    function sessions(bytes32 session) external view returns (uint256);
    /// @notice The word that share nodes have proven: low 64 bits since when it is seated; the next 64 when that ended, or 0.
    function committees(bytes32 committee) external view returns (uint256);
    /// @notice The block in which a session was closed, or 0.
    function closedIn(bytes32 session) external view returns (uint256);
    /// @notice The highest total that a lane of a session was paid.
    function settled(bytes32 session, bytes32 lane) external view returns (uint256);
    /// @notice What `withdraw` would pay.
    function balanceOf(address account) external view returns (uint256);
    /// @notice Royalties that wait for `forward`.
    function owed(bytes32 asset) external view returns (uint256);
    /// @notice Fees that wait for `burn`.
    function ashes(bytes32 asset) external view returns (uint256);
    /// @notice When an asset was last asked something that was paid for (seconds since 1970), or 0.
    function servedAt(bytes32 asset) external view returns (uint64);
    /// @notice State of a request: 0 none, 1 waiting, 2 answered, 3 given back.
    function requests(bytes32 request) external view returns (uint256);
    /// @notice What contracts may ask of an asset.
    function askOf(bytes32 asset) external view returns (Ask memory);
    /// @notice Id of a session.
    function sessionId(Session calldata s) external view returns (bytes32);
    /// @notice Id of a committee.
    function committeeId(Committee calldata c) external pure returns (bytes32);
    /// @notice What a session's signer signs for one call (EIP-712).
    function voucherDigest(bytes32 session, bytes32 lane, uint128 total, bytes32 job, bytes32 request)
        external
        view
        returns (bytes32);
    /// @notice What a consumer signs for `openFor` (EIP-712).
    function orderDigest(address consumer, Order calldata o, uint128 most, uint64 deadline)
        external
        view
        returns (bytes32);
    /// @notice Of `calls` calls with this `compute` price: what is burnt, and what each member gets.
    function split(uint256 compute, uint256 calls) external pure returns (uint256 burnt, uint256[3] memory members);
}
