// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {IERC165, IERC2981} from "@openzeppelin/contracts/interfaces/IERC2981.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {ALL, FOR_EVER, KIND_API, KIND_FULL_ACCESS, KIND_LONG_TERM, KIND_PARTNERSHIP, Terms} from "./Types.sol";
import {REGISTRY} from "./IAssetRegistry.sol";
import {BLOCKS, keyOfAccount, keyOfOthers} from "./IJournal.sol";
import {RECEIPTS} from "./IOwnershipReceipts.sol";
import {IERC3009, IServedAt} from "./Outside.sol";
import {IERC4907, ILicences} from "./ILicences.sol";
import {Ciphertexts} from "./Ciphertexts.sol";
import {FirstSlot} from "./FirstSlot.sol";
import {INFERENCE_MARKET} from "./Addresses.sol";
import {Takings} from "./Takings.sol";

/// @title Keeps what ILicences promises.
contract Licences is FirstSlot, ERC721("", ""), Takings, Ciphertexts, IERC2981 {
    struct Sheet {
        bytes32 asset;
        bool offered;
        Terms terms;
    }

    struct Record {
        bytes32 termsHash;
        uint128 paid;
        uint128 collected;
        uint64 boughtAt;
        uint64 ends;
        uint64 complainedAt;
        State state;
        /// The block from which a window of this licence counts: of a sealed one the purchase, of a long term the complaint.
        uint48 windowFrom;
    }

    struct User {
        address user;
        uint64 expires;
    }

    /// @notice For the asset's owner to answer a complaint, before its holder's money can come back.
    uint64 public constant ANSWER_TIME = 7 days;
    /// @notice Hundredths of a percent of a licence's resale that its marketplace is told to pay to the asset's owner.
    uint256 public constant RESALE = 500;

    bytes32 private constant PARTNERSHIP =
        keccak256("Partnership(bytes32 asset,bytes32 termsHash,address holder,uint256 nonce,uint64 deadline)");
    bytes32 private constant DOMAIN =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");

    /// What terms' hashes stand for. Never changed, but for whether they are on offer.
    mapping(bytes32 termsHash => Sheet) private sheets;
    mapping(uint256 licence => Record) private records;
    mapping(uint256 licence => User) private users;
    mapping(bytes32 partnership => bool) private made;
    uint256 private last;

    /// @inheritdoc ILicences
    function offer(bytes32 asset, Terms calldata t) external returns (bytes32 termsHash) {
        requireOwner(asset);
        requireSensible(t);
        if (t.kind == KIND_PARTNERSHIP) revert WrongTerms("kind: a partnership is made with both signatures");
        if (t.kind == KIND_FULL_ACCESS) {
            requireCiphertext(asset, t.details);
            if (!isSealed(asset, t.details)) revert OpenedBefore(t.details);
        }
        termsHash = write(asset, t);
        sheets[termsHash].offered = true;
        BLOCKS.note(asset);
        emit Offered(asset, termsHash, t);
    }

    /// @inheritdoc ILicences
    function retract(bytes32 termsHash) external {
        Sheet storage s = sheets[termsHash];
        if (!s.offered) revert NotOffered(termsHash);
        requireOwner(s.asset);
        s.offered = false;
        emit Retracted(s.asset, termsHash);
    }

    /// @inheritdoc ILicences
    function buy(bytes32 asset, bytes32 termsHash, uint128 maxPrice, uint16 maxRevenueShare, address holder)
        external
        payable
        nonReentrant
        returns (uint256 licence)
    {
        return buyAsCaller(asset, termsHash, maxPrice, maxRevenueShare, holder);
    }

    /// @inheritdoc ILicences
    function buyWithPermit(
        bytes32 asset,
        bytes32 termsHash,
        uint128 maxPrice,
        uint16 maxRevenueShare,
        address holder,
        Permit calldata p
    ) external nonReentrant returns (uint256 licence) {
        IERC20Permit token = IERC20Permit(sheets[termsHash].terms.token);
        // Whoever saw the permit may have used it: what counts is the allowance.
        try token.permit(msg.sender, address(this), p.value, p.deadline, p.v, p.r, p.s) {} catch {}
        return buyAsCaller(asset, termsHash, maxPrice, maxRevenueShare, holder);
    }

    /// @inheritdoc ILicences
    function buyWithAuthorization(
        bytes32 asset,
        bytes32 termsHash,
        uint128 maxPrice,
        uint16 maxRevenueShare,
        address holder,
        Authorization calldata a
    ) external nonReentrant returns (uint256 licence) {
        Terms memory t = accepted(asset, termsHash, maxPrice, maxRevenueShare);
        bytes32 nonce = keccak256(abi.encode(asset, termsHash, maxPrice, maxRevenueShare, holder, a.salt));
        uint256 before = IERC20(t.token).balanceOf(address(this));
        IERC3009(t.token)
            .receiveWithAuthorization(a.from, address(this), t.price, a.validAfter, a.validBefore, nonce, a.v, a.r, a.s);
        return grant(asset, termsHash, t, holder, a.from, arrivedSince(t.token, before));
    }

    /// @inheritdoc ILicences
    function partner(Agreement calldata a, Terms calldata t) external payable nonReentrant returns (uint256 licence) {
        if (t.kind != KIND_PARTNERSHIP) revert WrongTerms("kind: not a partnership");
        if (block.timestamp > a.deadline) revert TooLate(a.deadline);
        requireSensible(t);
        bytes32 termsHash = write(a.asset, t);
        bytes32 digest = partnership(a, termsHash);
        if (made[digest]) revert MadeBefore(digest);
        made[digest] = true;
        requireConsent(REGISTRY.ownerOf(a.asset), digest, a.ownerSignature);
        requireConsent(a.holder, digest, a.holderSignature);
        return grant(a.asset, termsHash, t, a.holder, msg.sender, receiveFromCaller(t.token, t.price));
    }

    /// @inheritdoc ILicences
    function withdraw(uint256 licence) external payable nonReentrant {
        withdrawWith(licence, 0);
    }

    /// @inheritdoc ILicences
    function withdrawPaying(uint256 licence, uint256 amount) external nonReentrant {
        withdrawWith(licence, amount);
    }

    /// @inheritdoc ILicences
    function collect(uint256 licence) external nonReentrant returns (uint256 amount) {
        (Record storage r, Sheet storage s) = find(licence);
        ripen(r, s);
        return settle(licence, r, s);
    }

    /// @inheritdoc ILicences
    function complain(uint256 licence) external {
        (Record storage r,) = find(licence);
        requireHolder(licence);
        if (isOver(licence, r)) revert Over(licence);
        if (r.state != State.Vesting) revert WrongState(licence, r.state);
        if (r.complainedAt != 0) revert WrongComplaint(licence);
        (r.complainedAt, r.windowFrom) = (uint64(block.timestamp), uint48(block.number));
        emit Complained(licence, uint64(block.timestamp) + ANSWER_TIME);
    }

    /// @inheritdoc ILicences
    function answer(uint256 licence) external {
        (Record storage r, Sheet storage s) = find(licence);
        uint64 complaint = r.complainedAt;
        if (r.state != State.Vesting || complaint == 0) revert WrongComplaint(licence);
        if (msg.sender == _ownerOf(licence)) requireNoHeir(msg.sender);
        else if (servedAt(s.asset) <= complaint) revert NotServedSince(complaint);
        r.complainedAt = 0;
        emit Answered(licence);
    }

    /// @inheritdoc ILicences
    function refund(uint256 licence) external nonReentrant returns (uint256 amount) {
        (Record storage r, Sheet storage s) = find(licence);
        if (r.state == State.Vesting) {
            if (r.complainedAt == 0) revert WrongComplaint(licence);
            uint256 until = r.complainedAt + ANSWER_TIME;
            if (!isPast(until, r.windowFrom)) revert TooEarly(until + 1);
        } else if (r.state != State.Sealed || !failed(s.asset, s.terms.details, r.boughtAt, r.windowFrom)) {
            revert WrongState(licence, r.state);
        }
        return stop(licence, r, s, block.timestamp);
    }

    /// @inheritdoc ILicences
    function follow(uint256 licence) external {
        address holder = _requireOwned(licence);
        address heir = RECEIPTS.heirOf(holder);
        if (heir == holder) return;
        _transfer(holder, heir, licence);
    }

    /// @inheritdoc IERC4907
    function setUser(uint256 tokenId, address user, uint64 expires) external {
        address holder = _requireOwned(tokenId);
        if (!_isAuthorized(holder, msg.sender, tokenId)) revert NotTheHolder(tokenId, holder);
        requireNoHeir(holder);
        users[tokenId] = User(user, expires);
        noteFor(user);
        emit UpdateUser(tokenId, user, expires);
    }

    /// @inheritdoc IERC4907
    function userOf(uint256 tokenId) public view returns (address) {
        User storage u = users[tokenId];
        return u.expires >= block.timestamp ? u.user : address(0);
    }

    /// @inheritdoc IERC4907
    function userExpires(uint256 tokenId) external view returns (uint256) {
        return users[tokenId].expires;
    }

    /// @inheritdoc ILicences
    function licenceOf(uint256 licence)
        external
        view
        returns (bytes32 asset, Terms memory t, uint64 boughtAt, uint64 ends, uint64 withdrawnAt)
    {
        (Record storage r, Sheet storage s) = find(licence);
        return (s.asset, s.terms, r.boughtAt, r.ends, uint64(withdrawals[licence]));
    }

    /// @inheritdoc ILicences
    function isUser(uint256 licence, address who) external view returns (bool) {
        address holder = _ownerOf(licence);
        if (holder == address(0) || who == address(0) || isOver(licence, records[licence])) return false;
        return who == holder || who == userOf(licence);
    }

    /// @inheritdoc ILicences
    function withdrawn(uint256 licence) external view returns (uint256) {
        return withdrawals[licence];
    }

    /// @inheritdoc ILicences
    function moneyOf(uint256 licence)
        external
        view
        returns (State state, uint128 paid, uint128 collected, uint64 complainedAt)
    {
        (Record storage r,) = find(licence);
        return (r.state, r.paid, r.collected, r.complainedAt);
    }

    /// @inheritdoc ILicences
    function refundOwed(uint256 licence) external view returns (uint256) {
        (Record storage r, Sheet storage s) = find(licence);
        bool paid = r.state == State.Paid || isDelivered(r, s);
        return paid && !isOver(licence, r) ? dueFromOwner(r) : 0;
    }

    /// @inheritdoc ILicences
    function termsOf(bytes32 termsHash) external view returns (bytes32 asset, Terms memory t, bool offered) {
        Sheet storage s = sheets[termsHash];
        return (s.asset, s.terms, s.offered);
    }

    /// @inheritdoc IERC2981
    function royaltyInfo(uint256 tokenId, uint256 salePrice) external view returns (address receiver, uint256 amount) {
        (, Sheet storage s) = find(tokenId);
        return (REGISTRY.ownerOf(s.asset), salePrice / ALL * RESALE + salePrice % ALL * RESALE / ALL);
    }

    /// @notice The name of this collection.
    function name() public pure override returns (string memory) {
        return "Sahara Licence";
    }

    /// @notice Its symbol.
    function symbol() public pure override returns (string memory) {
        return "SLI";
    }

    /// @notice ERC-165.
    function supportsInterface(bytes4 id) public view override(ERC721, IERC165) returns (bool) {
        return id == type(IERC4907).interfaceId || id == type(IERC2981).interfaceId || super.supportsInterface(id);
    }

    // Buying

    function buyAsCaller(bytes32 asset, bytes32 termsHash, uint128 maxPrice, uint16 maxRevenueShare, address holder)
        private
        returns (uint256)
    {
        Terms memory t = accepted(asset, termsHash, maxPrice, maxRevenueShare);
        return grant(asset, termsHash, t, holder, msg.sender, receiveFromCaller(t.token, t.price));
    }

    /// The terms behind this hash, if they are on offer and the buyer accepts them.
    function accepted(bytes32 asset, bytes32 termsHash, uint128 maxPrice, uint16 maxRevenueShare)
        private
        view
        returns (Terms memory t)
    {
        Sheet storage s = sheets[termsHash];
        if (!s.offered || s.asset != asset) revert NotOffered(termsHash);
        t = s.terms;
        if (t.price > maxPrice) revert PriceAbove(t.price, maxPrice);
        if (t.revenueShare > maxRevenueShare) revert RevenueShareAbove(t.revenueShare, maxRevenueShare);
        if (t.kind == KIND_FULL_ACCESS && !isSealed(asset, t.details)) revert OpenedBefore(t.details);
    }

    /// Makes the licence. What was paid is in this contract.
    function grant(bytes32 asset, bytes32 termsHash, Terms memory t, address holder, address payer, uint256 paid)
        private
        returns (uint256 licence)
    {
        licence = ++last;
        Record storage r = records[licence];
        (r.termsHash, r.paid, r.boughtAt) = (termsHash, SafeCast.toUint128(paid), uint64(block.timestamp));
        r.ends = t.duration == 0 || t.duration > FOR_EVER - r.boughtAt ? FOR_EVER : r.boughtAt + t.duration;
        if (t.kind == KIND_LONG_TERM) r.state = State.Vesting;
        if (t.kind == KIND_FULL_ACCESS) (r.state, r.windowFrom) = (State.Sealed, uint48(block.number));
        _mint(holder, licence);
        emit Bought(licence, asset, termsHash, holder, payer, paid);
        if (r.state == State.Paid) settle(licence, r, sheets[termsHash]);
    }

    /// Keeps the terms under their hash, so that a licence need only name that.
    function write(bytes32 asset, Terms calldata t) private returns (bytes32 termsHash) {
        termsHash = keccak256(abi.encode(asset, t));
        Sheet storage s = sheets[termsHash];
        if (s.asset == 0) (s.asset, s.terms) = (asset, t);
    }

    function requireSensible(Terms calldata t) private view {
        if (t.kind > KIND_PARTNERSHIP) revert WrongTerms("kind: there are four");
        if (t.revenueShare > ALL) revert WrongTerms("revenueShare: more than all");
        if (t.kind == KIND_LONG_TERM && t.duration == 0) revert WrongTerms("duration: a long term has an end");
        if (t.token != address(0) && t.token.code.length == 0) revert WrongTerms("token: no contract is there");
        if (uint256(t.royalty) + t.compute > type(uint128).max) revert WrongTerms("royalty and compute: too much");
    }

    function requireConsent(address party, bytes32 digest, bytes calldata signature) private view {
        if (party == msg.sender) return;
        (address signer,,) = ECDSA.tryRecover(digest, signature);
        if (signer == address(0) || signer != party) revert NotSigned(party);
    }

    function partnership(Agreement calldata a, bytes32 termsHash) private view returns (bytes32) {
        bytes32 domain =
            keccak256(abi.encode(DOMAIN, keccak256("Sahara Licences"), keccak256("1"), block.chainid, address(this)));
        bytes32 message = keccak256(abi.encode(PARTNERSHIP, a.asset, termsHash, a.holder, a.nonce, a.deadline));
        return MessageHashUtils.toTypedDataHash(domain, message);
    }

    // What becomes of the price

    function withdrawWith(uint256 licence, uint256 amount) private {
        (Record storage r, Sheet storage s) = find(licence);
        requireOwner(s.asset);
        if (isOver(licence, r)) revert Over(licence);
        ripen(r, s);
        uint256 owed = dueFromOwner(r);
        if (r.state == State.Paid) {
            payBack(s.terms.token, owed, amount < owed ? owed : amount);
            conclude(licence, r, s, owed);
        } else {
            if (msg.value != 0 || amount != 0) revert WrongValue(0, msg.value + amount);
            stop(licence, r, s, block.timestamp);
        }
    }

    /// A price whose key was delivered and not disputed is the owner's.
    function ripen(Record storage r, Sheet storage s) private {
        if (isDelivered(r, s)) r.state = State.Paid;
    }

    function isDelivered(Record storage r, Sheet storage s) private view returns (bool) {
        return r.state == State.Sealed && delivered(s.asset, s.terms.details, r.boughtAt, r.windowFrom);
    }

    /// What of the price is the owner's at this time.
    function earned(Record storage r, uint256 time) private view returns (uint256) {
        if (r.state == State.Sealed) return 0;
        if (r.state != State.Vesting) return r.paid;
        if (r.complainedAt != 0) time = r.complainedAt;
        if (time >= r.ends) return r.paid;
        return uint256(r.paid) * (time - r.boughtAt) / (r.ends - r.boughtAt);
    }

    /// Sends the owner's part on, as far as it was not.
    function settle(uint256 licence, Record storage r, Sheet storage s) private returns (uint256 amount) {
        amount = earned(r, block.timestamp) - r.collected;
        if (amount == 0) return 0;
        r.collected += uint128(amount);
        emit Collected(licence, amount);
        passOn(s.asset, s.terms.token, amount);
    }

    /// Ends the escrow: what the owner has not earned comes back. What it has earned waits for `collect`, so that the
    /// holder's money hangs on nobody else's.
    function stop(uint256 licence, Record storage r, Sheet storage s, uint256 time) private returns (uint256 back) {
        uint256 kept = earned(r, time);
        back = r.paid - kept;
        (r.paid, r.state, r.complainedAt) = (uint128(kept), State.Refunded, 0);
        conclude(licence, r, s, back);
    }

    function conclude(uint256 licence, Record storage r, Sheet storage s, uint256 back) private {
        r.state = State.Refunded;
        withdrawals[licence] = block.timestamp;
        address holder = _ownerOf(licence);
        owe(holder, s.terms.token, back);
        emit Withdrawn(licence, holder, back);
    }

    /// What the owner has to add: the part of a price for the time that is left, rounded up.
    function dueFromOwner(Record storage r) private view returns (uint256) {
        if (r.ends == FOR_EVER) return r.paid;
        uint256 whole = r.ends - r.boughtAt;
        return (uint256(r.paid) * (r.ends - block.timestamp) + whole - 1) / whole;
    }

    /// Takes what the owner pays back: of a token this amount. What arrived too much, it can take again.
    function payBack(address token, uint256 owed, uint256 amount) private {
        uint256 arrived = token == address(0) ? msg.value : receiveFromCaller(token, amount);
        if (arrived < owed) revert WrongValue(owed, arrived);
        owe(msg.sender, token, arrived - owed);
    }

    /// When the market last settled work on this asset; zero when it does not say.
    function servedAt(bytes32 asset) private view returns (uint256) {
        (bool done, bytes memory said) = INFERENCE_MARKET.staticcall(abi.encodeCall(IServedAt.servedAt, (asset)));
        return done && said.length == 32 ? abi.decode(said, (uint256)) : 0;
    }

    // Who holds it

    function find(uint256 licence) private view returns (Record storage r, Sheet storage s) {
        r = records[licence];
        if (r.termsHash == 0) revert NoSuchLicence(licence);
        s = sheets[r.termsHash];
    }

    function isOver(uint256 licence, Record storage r) private view returns (bool) {
        return withdrawals[licence] != 0 || block.timestamp >= r.ends;
    }

    function requireOwner(bytes32 asset) private view {
        address owner = REGISTRY.ownerOf(asset);
        if (msg.sender != owner) revert NotTheOwner(asset, owner);
    }

    function requireHolder(uint256 licence) private view {
        address holder = _ownerOf(licence);
        if (msg.sender != holder) revert NotTheHolder(licence, holder);
        requireNoHeir(holder);
    }

    /// A lost key, and whom it approved, does nothing once its heir has accepted.
    function requireNoHeir(address holder) private view {
        address heir = RECEIPTS.heirOf(holder);
        if (heir != holder) revert Succeeded(holder, heir);
    }

    /// Writes down that there is something for an account: what it did itself apart from what others did to it, so that nobody hides what
    /// it bought among gifts. (Who began the transaction decides nothing else.)
    function noteFor(address account) private {
        bytes32 key = keyOfAccount(account);
        // forge-lint: disable-next-line(tx-origin)
        BLOCKS.note(tx.origin == account ? key : keyOfOthers(account));
    }

    /// A licence moves only if its terms say so, and loses its user.
    function _update(address to, uint256 licence, address auth) internal override returns (address from) {
        from = super._update(to, licence, auth);
        noteFor(to);
        if (from == address(0)) return from;
        // Who asks for a transfer is named; an heir is followed without.
        bool may = auth == address(0) || sheets[records[licence].termsHash].terms.transferable;
        if (!may) revert NotTransferable(licence);
        if (auth != address(0)) requireNoHeir(from);
        if (users[licence].user != address(0)) {
            delete users[licence];
            emit UpdateUser(licence, address(0), 0);
        }
    }
}
