// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {COMMITTEE} from "../../src/ICommittee.sol";
import {InferenceReceipt} from "../../src/InferenceReceipts.sol";
import {ATTRIBUTION, ASSET_REGISTRY, IDENTITY} from "../../src/protocol/Addresses.sol";
import {Attribution} from "../../src/protocol/Attribution.sol";
import {IInferenceMarket} from "../../src/protocol/IInferenceMarket.sol";
import {IOperators} from "../../src/protocol/IOperators.sol";
import {Identity} from "../../src/protocol/Identity.sol";
import {Committee, Session} from "../../src/protocol/Types.sol";
import {MarketTest, cheats} from "./MarketTest.sol";
import {signatureOf} from "./StandIns.sol";

/// Says yes, for what the native contract charges for a receipt with three signatures.
contract PricedCommittee {
    uint256 private constant PRICE = 100 + 3 * 20 + 3 * 6_500;

    fallback() external {
        uint256 start = gasleft();
        while (start - gasleft() < PRICE - 100) {}
        assembly {
            mstore(0, 1)
            return(0, 32)
        }
    }
}

/// What each call of operators, market and identity costs as a transaction of its own, data included. `gas.sh` runs this.
///
/// forge-config: default.isolate = true
contract GasTest is MarketTest {
    string private constant GROUP = "Market";

    function setUp() public override {
        super.setUp();
        cheats.etch(ATTRIBUTION, type(Attribution).runtimeCode);
        cheats.etch(ASSET_REGISTRY, address(new Registry()).code);
        registry.give(ASSET, owner);
        cheats.etch(IDENTITY, type(Identity).runtimeCode);
    }

    function test_operators() public {
        cheats.deal(stranger, 1_000 ether);
        bytes memory proof = signatureOf(node(9), operators.proofDigest(stranger, node(9)));
        cheats.prank(stranger);
        operators.join{value: 100 ether}(node(9), "operator.example.org:7001", "eu-west", proof);
        note("operators join");
        cheats.prank(stranger);
        operators.setQuote(1, NOW + 1);
        note("operators setQuote");
        cheats.prank(stranger);
        operators.allow(ASSET, true);
        note("operators allow");
        cheats.prank(stranger);
        operators.unbond(1 ether);
        note("operators unbond");
        cheats.warp(NOW + 30 days);
        cheats.prank(stranger);
        operators.withdraw();
        note("operators withdraw");
        cheats.prank(owner);
        operators.setPolicy(ASSET, 1, false);
        note("operators setPolicy");
        address[] memory who = new address[](1);
        who[0] = stranger;
        cheats.prank(owner);
        operators.judge(ASSET, who, IOperators.Verdict.Denied);
        note("operators judge");
    }

    function test_identity() public {
        Identity identity = Identity(IDENTITY);
        bytes memory proof = signatureOf(node(1), identity.keyDigest(consumer, "signing", node(1), 0));
        cheats.prank(consumer);
        identity.setKey("signing", node(1), proof);
        note("identity setKey");
        cheats.prank(consumer);
        identity.revokeKey("signing");
        note("identity revokeKey");
        cheats.prank(consumer);
        identity.register("https://example.org/agent.json");
        note("identity register");
    }

    function test_sessions() public {
        Committee memory c = committee(0);
        cheats.prank(owner);
        market.seat(c);
        note("market seat");
        Session memory s = opened(1);
        note("market open, one lane");
        Session memory two = openSession(session(2, 2));
        note("market open, two lanes");
        cheats.etch(address(COMMITTEE), type(PricedCommittee).runtimeCode);
        pay(s, 1);
        note("market settle, the first call of all");
        pay(s, 2);
        note("market settle, the next call");
        pay(s, 12);
        note("market settle, ten calls");
        cheats.prank(consumer);
        market.close(s);
        note("market close");
        window();
        market.finish(s);
        note("market finish, one lane");
        cheats.prank(consumer);
        market.withdraw();
        note("market withdraw");
        market.burn(ASSET);
        note("market burn");
        cheats.warp(NOW + 5 days);
        cheats.prank(account(0));
        operators.claim();
        note("operators claim");
        pay(two, 20);
        Committee memory other = committee(1);
        InferenceReceipt memory r = receipt(two, other, 100);
        r.job = receipt(two, c, 20).job;
        market.settle(two, other, r, voucher(SIGNER_KEY, r), new bytes(192));
        InferenceReceipt[2] memory both = [receipt(two, c, 20), r];
        market.refundTwice(two, [c, other], both, vouchers(both), [new bytes(192), new bytes(192)]);
        note("market refundTwice");
        cheats.prank(owner);
        market.unseat(c);
        note("market unseat");
    }

    function test_requests() public {
        seated(0);
        bytes32 lane = idOf(committee(0));
        IInferenceMarket.Ask memory ask =
            IInferenceMarket.Ask(lane, keccak256("graph"), keccak256("parameters"), ROYALTY, COMPUTE);
        cheats.prank(owner);
        market.setAsk(ASSET, ask);
        note("market setAsk");
        IInferenceMarket.Request memory q = IInferenceMarket.Request(
            ASSET, ask, keccak256(new bytes(2_048)), address(this), address(0), false, NOW + 1 hours, 1
        );
        market.requestInference{value: PRICE}(ASSET, lane, new bytes(2_048), address(0), false, PRICE);
        note("market requestInference, 2 KiB");
        bytes32 id = keccak256(abi.encode(block.chainid, address(market), q));
        InferenceReceipt memory r = receipt(session(1, 1), committee(0), 1);
        (r.session, r.licence, r.job, r.request) = (id, 0, bytes32(bytes16(id)), q.input);
        cheats.etch(address(COMMITTEE), type(PricedCommittee).runtimeCode);
        market.answer(q, committee(0), r, new bytes(192), "");
        note("market answer");
        market.requestInference{value: PRICE}(ASSET, lane, new bytes(2_048), address(0), false, PRICE);
        q.number = 2;
        cheats.warp(NOW + 2 hours);
        market.refundRequest(q);
        note("market refundRequest");
    }

    function test_deposits() public {
        market.deposit{value: CAP + 1 ether}(consumer);
        note("market deposit");
        seated(0);
        Session memory s = session(1, 9);
        IInferenceMarket.Order memory o =
            IInferenceMarket.Order(s.licence, s.signer, s.asker, s.lanes, s.caps, s.ends, s.nonce);
        bytes memory signature = ecdsa(CONSUMER_KEY, market.orderDigest(consumer, o, 1 ether, NOW));
        market.openFor(consumer, o, 1 ether, NOW, signature);
        note("market openFor, one lane");
    }

    /// The bar: at most 100 gas for each of a thousand calls, beyond the transaction's data.
    function test_a_thousand_calls_in_one_settlement() public {
        Session memory s = session(1, 1);
        s.caps[0] = 10_000 * PRICE;
        openSession(s);
        cheats.etch(address(COMMITTEE), type(PricedCommittee).runtimeCode);
        pay(s, 1);
        InferenceReceipt memory r = receipt(s, committee(0), 1_001);
        bytes memory v = voucher(SIGNER_KEY, r);
        market.settle(s, committee(0), r, v, filled(192));
        note("market settle, a thousand calls");
        secure(s, 1_002);
        note("market secure, the first time");
        bytes memory data = secure(s, 2_002);
        uint256 all = cheats.snapshotGasLastCall(GROUP, "market secure, a thousand calls");
        uint256 ofData = priceOf(data);
        cheats.snapshotValue(GROUP, "of that the data", ofData);
        cheats.snapshotValue(GROUP, "each of a thousand calls, beyond the data", (all - ofData) / 1_000);
        cheats.assertTrue((all - ofData) / 1_000 <= 100);
        market.payOut(s, committee(0));
        note("market payOut");
    }

    function secure(Session memory s, uint64 number) private returns (bytes memory) {
        InferenceReceipt memory r = receipt(s, committee(0), number);
        bytes memory v = voucher(SIGNER_KEY, r);
        cheats.prank(account(2));
        market.secure(s, committee(0), r, v, filled(192));
        return abi.encodeCall(market.secure, (s, committee(0), r, v, filled(192)));
    }

    function priceOf(bytes memory data) private pure returns (uint256 sum) {
        for (uint256 i = 0; i < data.length; i++) {
            sum += data[i] == 0 ? 4 : 16;
        }
    }

    function pay(Session memory s, uint64 number) private {
        InferenceReceipt memory r = receipt(s, committee(0), number);
        bytes memory v = voucher(SIGNER_KEY, r);
        market.settle(s, committee(0), r, v, filled(192));
    }

    /// As expensive as signatures.
    function filled(uint256 length) private pure returns (bytes memory some) {
        some = new bytes(length);
        for (uint256 i = 0; i < length; i++) {
            some[i] = 0x5a;
        }
    }

    function note(string memory name) private {
        cheats.snapshotGasLastCall(GROUP, name);
    }
}

/// As the registry's stand-in, which also knows that the asset exists.
contract Registry {
    mapping(bytes32 => address) public ownerOf;

    function give(bytes32 asset, address owner) external {
        ownerOf[asset] = owner;
    }

    function exists(bytes32 asset) external view returns (bool) {
        return ownerOf[asset] != address(0);
    }
}
