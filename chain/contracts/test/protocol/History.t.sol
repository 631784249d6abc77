// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {InferenceReceipt} from "../../src/InferenceReceipts.sol";
import {ATTRIBUTION, INFERENCE_MARKET, OPERATORS} from "../../src/protocol/Addresses.sol";
import {IInferenceMarket} from "../../src/protocol/IInferenceMarket.sol";
import {ANSWER_TIME, CLOSING, CLOSING_BLOCKS} from "../../src/protocol/MarketBase.sol";
import {CHALLENGE} from "../../src/protocol/Operators.sol";
import {Committee, Session} from "../../src/protocol/Types.sol";
import {MarketTest, cheats} from "./MarketTest.sol";

/// Random histories of many sessions, beside a model that knows only what each party agreed to. After each step every unit is
/// accounted for; at the end everything is taken out, and what was paid in has arrived, to the last unit.
contract HistoryTest is MarketTest {
    uint256 private constant STEPS = 48;
    uint256 private constant MOST_OPEN = 6;

    /// What the model knows of a session.
    struct Book {
        Session s;
        uint256 state;
        // The highest number that counts, and the one up to which the payees have their money.
        uint64[2] best;
        uint64[2] paidTo;
        bool returned;
    }

    Book[] private books;
    IInferenceMarket.Request[] private waiting;
    uint256 private asked;
    uint256 private chance;
    uint256 private time;

    // The model's ledger.
    uint256 private paidIn;
    uint256 private takenOut;
    uint256 private owedToConsumer;
    uint256 private locked;

    function setUp() public override {
        super.setUp();
        seated(0);
        seated(1);
        licences.give(LICENCE, ASSET, consumer, ROYALTY, COMPUTE, NOW + 60 days);
        IInferenceMarket.Ask memory ask =
            IInferenceMarket.Ask(idOf(committee(0)), keccak256("graph"), keccak256("parameters"), ROYALTY, COMPUTE);
        cheats.prank(owner);
        market.setAsk(ASSET, ask);
        for (uint256 i = 0; i < 6; i++) {
            cheats.prank(account(i));
            operators.setQuote(0, NOW + 400 days);
        }
    }

    /// forge-config: default.fuzz.runs = 96
    function test_no_history_loses_a_unit_or_gets_stuck(uint256 seed) public {
        (chance, time) = (seed, NOW);
        cheats.deal(consumer, 1_000_000 ether);
        uint256 before = consumer.balance + address(this).balance;
        for (uint256 i = 0; i < STEPS; i++) {
            step(random(13));
            check();
        }
        wayOut();
        cheats.assertEq(INFERENCE_MARKET.balance, 0);
        cheats.assertEq(OPERATORS.balance, 600 ether);
        uint256 arrived = 0;
        for (uint256 i = 0; i < 6; i++) {
            arrived += account(i).balance - 900 ether;
        }
        arrived += ATTRIBUTION.balance + address(0).balance;
        cheats.assertEq(before - consumer.balance - address(this).balance, arrived);
    }

    function step(uint256 which) private {
        if (which <= 1) open();
        else if (which <= 5) pay();
        else if (which == 6) close();
        else if (which == 7) finish();
        else if (which == 8) twice();
        else if (which == 9) request();
        else if (which == 10) end(random(2) == 0);
        else if (which == 11) payOut();
        else pass();
    }

    function open() private {
        if (books.length >= MOST_OPEN) return;
        uint128 royalty = uint128(random(3) == 0 ? 0 : random(1e18));
        uint128 compute = uint128(royalty == 0 ? 1 + random(1e6) : random(1e18));
        licences.give(LICENCE, ASSET, consumer, royalty, compute, NOW + 60 days);
        Session memory s = session(1 + random(2), 100 + books.length);
        (s.royalty, s.compute) = (royalty, compute);
        s.ends = uint64(time + 1 + random(3 days));
        uint256 sum;
        for (uint256 i = 0; i < s.lanes.length; i++) {
            s.caps[i] = uint128((royalty + compute) * (1 + random(200)) + random(royalty + compute));
            sum += s.caps[i];
        }
        openSession(s);
        Book storage b = books.push();
        (b.s, b.state) = (s, 1);
        locked += sum;
        paidIn += sum;
    }

    function pay() private {
        (Book storage b, bool some) = pick();
        if (!some) return;
        uint256 lane = random(b.s.lanes.length);
        uint256 price = uint256(b.s.royalty) + b.s.compute;
        uint64 number = uint64(1 + random(b.s.caps[lane] / price + 1));
        InferenceReceipt memory r = receipt(b.s, committee(lane), number);
        // Sometimes the same job as in the other lane.
        r.job = keccak256(abi.encode("job", number));
        if (b.state > 2) {
            refused(IInferenceMarket.WrongState.selector, b.s, committee(lane), r);
        } else if (number * price > b.s.caps[lane]) {
            refused(IInferenceMarket.OverCap.selector, b.s, committee(lane), r);
        } else if (number <= b.best[lane]) {
            refused(IInferenceMarket.Replayed.selector, b.s, committee(lane), r);
        } else {
            if (random(3) == 0) {
                secure(b.s, committee(lane), r);
            } else {
                settle(b.s, committee(lane), r);
                b.paidTo[lane] = number;
            }
            b.best[lane] = number;
        }
    }

    function payOut() private {
        (Book storage b, bool some) = pick();
        if (!some) return;
        uint256 lane = random(b.s.lanes.length);
        if (b.state == 3) cheats.expectPartialRevert(IInferenceMarket.WrongState.selector);
        else if (b.paidTo[lane] == b.best[lane]) cheats.expectPartialRevert(IInferenceMarket.NothingToPay.selector);
        else b.paidTo[lane] = b.best[lane];
        market.payOut(b.s, committee(lane));
    }

    function close() private {
        (Book storage b, bool some) = pick();
        if (!some) return;
        bool allowed = b.state == 1 && (random(2) == 0 || time > b.s.ends);
        if (allowed) {
            cheats.prank(time > b.s.ends ? stranger : consumer);
            market.close(b.s);
            b.state = 2;
        } else if (b.state != 1) {
            cheats.expectPartialRevert(IInferenceMarket.WrongState.selector);
            market.close(b.s);
        }
    }

    function finish() private {
        (Book storage b, bool some) = pick();
        if (!some) return;
        if (b.state != 2) cheats.expectPartialRevert(IInferenceMarket.WrongState.selector);
        else if (time < market.sessions(idOf(b.s)) >> 8) cheats.expectPartialRevert(IInferenceMarket.NotYet.selector);
        else finished(b);
        market.finish(b.s);
    }

    function finished(Book storage b) private {
        b.state = 3;
        for (uint256 i = 0; i < b.s.lanes.length; i++) {
            owedToConsumer += b.s.caps[i] - b.best[i] * (uint256(b.s.royalty) + b.s.compute);
            locked -= b.s.caps[i];
        }
    }

    function twice() private {
        (Book storage b, bool some) = pick();
        if (!some || b.s.lanes.length != 2) return;
        uint64 number = b.best[0] < b.best[1] ? b.best[0] : b.best[1];
        if (number == 0) return;
        InferenceReceipt[2] memory two = [receipt(b.s, committee(0), number), receipt(b.s, committee(1), number)];
        bytes[2] memory all = [signatures(committee(0), two[0]), signatures(committee(1), two[1])];
        Committee[2] memory who = [committee(0), committee(1)];
        bytes[2] memory promised = vouchers(two);
        if (b.state == 3) cheats.expectPartialRevert(IInferenceMarket.WrongState.selector);
        else if (b.returned) cheats.expectPartialRevert(IInferenceMarket.ReturnedBefore.selector);
        else if (b.best[0] < 20 || b.best[1] < 100) cheats.expectPartialRevert(IInferenceMarket.TooFewCalls.selector);
        else (owedToConsumer, b.returned) = (owedToConsumer + b.s.royalty + b.s.compute, true);
        market.refundTwice(b.s, who, two, promised, all);
    }

    function request() private {
        uint256 more = random(100);
        IInferenceMarket.Ask memory ask = market.askOf(ASSET);
        market.requestInference{value: PRICE + more}(ASSET, ask.lane, "sealed", address(0), false, PRICE);
        waiting.push(
            IInferenceMarket.Request(
                ASSET, ask, keccak256("sealed"), address(this), address(0), false, uint64(time) + ANSWER_TIME, ++asked
            )
        );
    }

    /// A request is answered, or given back.
    function end(bool answered) private {
        if (waiting.length == 0) return;
        IInferenceMarket.Request memory q = waiting[waiting.length - 1];
        if (answered && time <= q.until) {
            bytes32 id = keccak256(abi.encode(block.chainid, INFERENCE_MARKET, q));
            InferenceReceipt memory r = receipt(session(1, 1), committee(0), 1);
            (r.session, r.licence, r.job, r.request) = (id, 0, bytes32(bytes16(id)), q.input);
            bytes memory all = signatures(committee(0), r);
            market.answer(q, committee(0), r, all, "");
        } else if (time > q.until) {
            market.refundRequest(q);
        } else {
            return;
        }
        waiting.pop();
    }

    /// Time passes; royalties are refused for a while, fees burn, somebody claims.
    function pass() private {
        time += random(2 days);
        cheats.warp(time);
        cheats.roll(block.number + 600);
        attribution.refuse(random(3) == 0);
        if (random(2) == 0 && market.ashes(ASSET) != 0) market.burn(ASSET);
        address who = account(random(6));
        (uint256 ripe,) = operators.earningsOf(who);
        cheats.prank(who);
        if (ripe == 0) cheats.expectRevert();
        operators.claim();
        if (owedToConsumer != 0 && random(2) == 0) {
            cheats.prank(consumer);
            cheats.assertEq(market.withdraw(), owedToConsumer);
            owedToConsumer = 0;
        }
    }

    /// What lies where is what the model says.
    function check() private view {
        cheats.assertEq(market.balanceOf(consumer), owedToConsumer);
        uint256 left = locked;
        for (uint256 i = 0; i < books.length; i++) {
            Book storage b = books[i];
            if (b.state == 3) continue;
            uint256 price = uint256(b.s.royalty) + b.s.compute;
            for (uint256 j = 0; j < b.s.lanes.length; j++) {
                uint256 calls = b.paidTo[j];
                left -= (b.s.lanes.length == 2 && calls != 0 ? calls - 1 : calls) * price;
            }
            if (b.returned) left -= price;
        }
        uint256 requests = waiting.length * PRICE + market.balanceOf(address(this));
        uint256 known = left + owedToConsumer + market.owed(ASSET) + market.ashes(ASSET) + requests;
        cheats.assertEq(INFERENCE_MARKET.balance, known);
        cheats.assertEq(OPERATORS.balance, 600 ether + earnedByAll());
    }

    /// Nobody helps any more: time alone brings everything out, by strangers' hands.
    function wayOut() private {
        time += 70 days;
        cheats.warp(time);
        attribution.refuse(false);
        for (uint256 i = 0; i < books.length; i++) {
            if (books[i].state != 1) continue;
            cheats.prank(stranger);
            market.close(books[i].s);
        }
        time += CLOSING;
        cheats.warp(time);
        cheats.roll(block.number + CLOSING_BLOCKS);
        for (uint256 i = 0; i < books.length; i++) {
            if (books[i].state == 3) continue;
            finished(books[i]);
            cheats.prank(stranger);
            market.finish(books[i].s);
        }
        for (uint256 i = 0; i < waiting.length; i++) {
            market.refundRequest(waiting[i]);
        }
        if (market.ashes(ASSET) != 0) market.burn(ASSET);
        if (market.owed(ASSET) != 0) market.forward(ASSET);
        if (market.balanceOf(address(this)) != 0) market.withdraw();
        cheats.assertEq(market.balanceOf(consumer), owedToConsumer);
        if (owedToConsumer != 0) {
            cheats.prank(consumer);
            market.withdraw();
        }
        cheats.warp(time + 2 * CHALLENGE);
        for (uint256 i = 0; i < 6; i++) {
            if (earned(i) == 0) continue;
            cheats.prank(account(i));
            operators.claim();
        }
        cheats.assertEq(earnedByAll(), 0);
    }

    function pick() private returns (Book storage b, bool some) {
        some = books.length != 0;
        b = some ? books[random(books.length)] : books.push();
        if (!some) books.pop();
    }

    function random(uint256 below) private returns (uint256) {
        chance = uint256(keccak256(abi.encode(chance)));
        return chance % below;
    }

    receive() external payable {}
}
