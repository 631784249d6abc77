// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {ILicences} from "../../src/protocol/ILicences.sol";
import {KIND_API, KIND_FULL_ACCESS, KIND_LONG_TERM, KIND_PARTNERSHIP, Terms} from "../../src/protocol/Types.sol";
import {BurningPayee, GreedyPayee, RefusingPayee} from "./fixtures/Payees.sol";
import {hevm, ProtocolTest} from "./ProtocolTest.sol";

/// Random histories of lineages, licences of all kinds, payments, time and payees that refuse, burn gas or call
/// back, beside a model that knows only what was paid and when what ended. Whatever happened: every unit is where the
/// model says, and in the end everything can be taken out by whose it is.
contract MoneyTest is ProtocolTest {
    struct Sale {
        uint256 licence;
        uint256 asset;
        address holder;
        uint8 kind;
        uint256 price;
        uint256 from;
        uint256 ends;
        uint256 complained;
        bytes32 root;
        /// What the model says, once the licence has ended: the owner's part.
        bool over;
        uint256 owners;
    }

    uint256 private constant ASSETS = 6;
    /// Hashes of all that was ever taken out: chain/market/tests has the same.
    bytes32 private constant TEN_THOUSAND = 0x88f0b378018d2c42af7df4f8dc65a6457181a4f0a4393f28bdb9d8568dbd5f0b;
    bytes32 private constant LONG = 0xa3023cbcdaad98175231e01344b36b2a6b41bbb994df9dbbb12cea3a6a1788ac;

    uint256 private state;
    bytes32 private trail;
    bytes32[] private assets;
    /// For each asset: all that came in by the model, and the owner that gets it if it has no receipts.
    uint256[] private income;
    address[] private owners;
    Sale[] private sales;
    mapping(bytes32 root => uint256) private openedAt;
    mapping(bytes32 root => bool) private wrong;
    mapping(address => uint256) private owedByLicences;
    mapping(address => uint256) private received;
    address[] private people;

    function testFuzz_every_unit_is_where_it_belongs(uint256 seed) public {
        tell(seed, 120);
    }

    function test_ten_thousand_payments_balance_to_the_last_unit() public {
        begin(1);
        for (uint256 i; i < 10_000; ++i) {
            payDirectly();
            if (i % 50 == 0) pass(random(4 hours));
            if (i % 200 == 0) move();
            if (i % 500 == 0) takeOut(someone());
        }
        finish();
        hevm.assertEq(trail, TEN_THOUSAND);
    }

    /// chain/market/tests plays this history with a program of its own, and takes the same amounts out at the same times.
    function test_a_long_history_is_told_the_same_in_rust() public {
        tell(7, 1_500);
        hevm.assertEq(trail, LONG);
    }

    function tell(uint256 seed, uint256 steps) private {
        begin(seed);
        for (uint256 i; i < steps; ++i) {
            step(random(11));
            if (i % 20 == 0) books();
        }
        finish();
    }

    // The beginning: people, and assets derived from each other

    function begin(uint256 seed) private {
        state = seed;
        GreedyPayee greedy = new GreedyPayee();
        greedy.aim(address(attribution), abi.encodeWithSignature("claim()"));
        people = [owner, buyer, stranger, address(new RefusingPayee()), address(new BurningPayee()), address(greedy)];
        for (uint256 i; i < ASSETS; ++i) {
            uint256 number = i == 0 ? 0 : random(i < 3 ? i + 1 : 4);
            (bytes32[] memory parents, uint16[] memory shares) = (new bytes32[](number), new uint16[](number));
            for (uint256 j; j < number; ++j) {
                (parents[j], shares[j]) = (assets[(i + j) % i], uint16(1 + random(10_000 / number)));
            }
            owners.push(someone());
            assets.push(derived(owners[i], i, parents, shares));
            income.push(0);
            if (random(3) != 0) issue(i);
        }
    }

    function issue(uint256 i) private {
        uint256 number = 1 + random(people.length);
        (address[] memory who, uint16[] memory shares) = (new address[](number), new uint16[](number));
        uint256 left = 10_000;
        for (uint256 j; j < number; ++j) {
            who[j] = people[j];
            shares[j] = uint16(j + 1 == number ? left : 1 + random(left - (number - j) + 1) % 4_000);
            left -= shares[j];
        }
        hevm.prank(owners[i]);
        receipts.issue(assets[i], who, shares);
    }

    // What may happen

    function step(uint256 what) private {
        if (what == 0) payDirectly();
        else if (what == 1) sell();
        else if (what == 2) sell();
        else if (what == 3) pass(random(10 days));
        else if (what == 4) move();
        else if (what == 5) withdraw();
        else if (what == 6) complain();
        else if (what == 7) answer();
        else if (what == 8) open();
        else if (what == 9) refund();
        else takeOut(someone());
    }

    function payDirectly() private {
        uint256 i = random(ASSETS);
        uint256 amount = random(1000);
        hevm.deal(address(this), amount);
        attribution.pay{value: amount}(assets[i]);
        income[i] += amount;
    }

    function sell() private {
        Terms memory t;
        uint256 i = random(ASSETS);
        t.kind = uint8(random(4));
        t.price = uint128(random(1000));
        if (random(2) == 0 || t.kind == KIND_LONG_TERM) t.duration = uint64(1 + random(60 days));
        if (t.kind == KIND_FULL_ACCESS) t.details = ciphertext(i);
        if (t.kind == KIND_FULL_ACCESS && openedAt[t.details] != 0) return;
        address holder = t.kind == KIND_PARTNERSHIP ? owners[i] : someone();
        uint256 licence = t.kind == KIND_PARTNERSHIP ? partnered(i, t) : bought(assets[i], t, holder);
        uint256 ends = t.duration == 0 ? type(uint64).max : clock + t.duration;
        sales.push(Sale(licence, i, holder, t.kind, t.price, clock, ends, 0, t.details, false, 0));
        if (t.kind == KIND_API || t.kind == KIND_PARTNERSHIP) settled(sales[sales.length - 1], t.price);
    }

    /// An owner's partnership with itself, which needs no signature.
    function partnered(uint256 i, Terms memory t) private returns (uint256) {
        ILicences.Agreement memory a;
        (a.asset, a.holder, a.nonce, a.deadline) = (assets[i], owners[i], sales.length, uint64(clock));
        hevm.deal(owners[i], t.price);
        hevm.prank(owners[i]);
        return licences.partner{value: t.price}(a, t);
    }

    /// One of two ciphertexts of an asset: a single piece, of which one opens with the key zero.
    function ciphertext(uint256 i) private returns (bytes32 root) {
        bool good = random(2) == 0;
        root = leaf(i, good);
        bytes32 scheme = licences.ciphertextScheme(root);
        if (registry.commitmentOf(assets[i], scheme) != 0) return root;
        hevm.prank(owners[i]);
        registry.setCommitment(assets[i], scheme, root);
    }

    function open() private {
        (bool found, Sale storage s) = sale();
        if (!found || s.kind != KIND_FULL_ACCESS || openedAt[s.root] != 0) return;
        hevm.prank(owners[s.asset]);
        licences.open(assets[s.asset], s.root, 0);
        openedAt[s.root] = clock;
        pass(random(4 days));
        bool good = s.root == leaf(s.asset, true);
        try licences.disprove(
            assets[s.asset], s.root, s.asset, piece(s.asset, good), keccak256("plain"), new bytes32[](0)
        ) {
            hevm.assertFalse(good);
            wrong[s.root] = true;
        } catch {
            hevm.assertTrue(good || clock > openedAt[s.root] + 3 days, "a wrong key stood");
        }
    }

    function withdraw() private {
        (bool found, Sale storage s) = sale();
        if (!found || clock >= s.ends) return;
        uint256 due = licences.refundOwed(s.licence);
        hevm.deal(owners[s.asset], due);
        hevm.prank(owners[s.asset]);
        try licences.withdraw{value: due}(s.licence) {
            if (due != 0 || s.over) {
                // The price was the owner's, who has added this.
                hevm.assertLe(due, s.price);
                if (!s.over) settled(s, s.price);
                owedByLicences[s.holder] += due;
            } else {
                ended(s, s.complained != 0 ? s.complained : clock);
            }
        } catch {
            hevm.assertTrue(licences.withdrawn(s.licence) != 0, "could not withdraw");
        }
    }

    function complain() private {
        (bool found, Sale storage s) = sale();
        if (!found || s.over) return;
        hevm.prank(s.holder);
        try licences.complain(s.licence) {
            hevm.assertTrue(s.kind == KIND_LONG_TERM && clock < s.ends && s.complained == 0, "a complaint out of place");
            s.complained = clock;
        } catch {}
    }

    function answer() private {
        (bool found, Sale storage s) = sale();
        if (!found || s.over || s.complained == 0) return;
        bool since = clock > s.complained;
        market.serve(assets[s.asset]);
        try licences.answer(s.licence) {
            hevm.assertTrue(since, "answered by what was served before");
            s.complained = 0;
        } catch {
            hevm.assertFalse(since);
        }
    }

    function refund() private {
        (bool found, Sale storage s) = sale();
        if (found) refund(s);
    }

    function refund(Sale storage s) private {
        bool mustCome = refundable(s);
        try licences.refund(s.licence) {
            hevm.assertTrue(mustCome, "refunded without a reason");
            ended(s, s.complained);
        } catch {
            hevm.assertFalse(mustCome);
        }
    }

    function move() private {
        uint256 i = random(ASSETS);
        attribution.release(assets[i], COIN, 1 + random(20));
        attribution.divide(assets[random(ASSETS)], COIN);
        if (sales.length == 0) return;
        (, Sale storage s) = sale();
        licences.collect(s.licence);
        if (s.over || s.kind != KIND_FULL_ACCESS) return;
        if (delivered(s)) settled(s, s.price);
    }

    function takeOut(address who) private {
        uint256 before = stranger.balance;
        hevm.prank(who);
        try attribution.claimTo(COIN, stranger) {} catch {}
        uint256 revenue = stranger.balance - before;
        received[who] += revenue;
        before = stranger.balance;
        hevm.prank(who);
        try licences.take(COIN, stranger) {} catch {}
        uint256 taken = stranger.balance - before;
        hevm.assertLe(taken, owedByLicences[who], "took more than was owed");
        owedByLicences[who] -= taken;
        trail = keccak256(abi.encode(trail, revenue, taken));
    }

    // What the model says

    function refundable(Sale storage s) private view returns (bool) {
        if (s.over) return false;
        if (s.kind == KIND_LONG_TERM) return s.complained != 0 && clock > s.complained + 7 days;
        if (s.kind != KIND_FULL_ACCESS) return false;
        uint256 opened = openedAt[s.root];
        return wrong[s.root] || (opened == 0 ? clock : opened) > s.from + 7 days;
    }

    function delivered(Sale storage s) private view returns (bool) {
        uint256 opened = openedAt[s.root];
        return opened != 0 && !wrong[s.root] && opened <= s.from + 7 days && clock > opened + 3 days;
    }

    /// The licence stopped at this time, before its price was all the owner's.
    function ended(Sale storage s, uint256 time) private {
        uint256 part = s.kind == KIND_LONG_TERM ? s.price * (time - s.from) / (s.ends - s.from) : 0;
        owedByLicences[s.holder] += s.price - part;
        settled(s, part);
    }

    function settled(Sale storage s, uint256 part) private {
        (s.over, s.owners) = (true, part);
        income[s.asset] += part;
    }

    // The books, and the end

    function books() private view {
        uint256 held;
        for (uint256 i; i < sales.length; ++i) {
            (, uint128 paid, uint128 collected,) = licences.moneyOf(sales[i].licence);
            held += paid - collected;
        }
        for (uint256 i; i < people.length; ++i) {
            held += licences.takeable(people[i], COIN);
        }
        hevm.assertEq(address(licences).balance, held, "licences");

        held = 0;
        for (uint256 i; i < ASSETS; ++i) {
            (uint256 ripe, uint256 unripe, uint256 own) = attribution.waiting(assets[i], COIN);
            held += ripe + unripe + own;
        }
        for (uint256 i; i < people.length; ++i) {
            held += attribution.claimable(people[i]);
        }
        hevm.assertLe(held, address(attribution).balance, "more is owed than is there");
        hevm.assertLe(address(attribution).balance, held + ASSETS * 2 * (ASSETS + 1), "more than roundings is left");
    }

    /// Everything ends by time, and everybody takes what is left.
    function finish() private {
        pass(100 days);
        for (uint256 i; i < sales.length; ++i) {
            Sale storage s = sales[i];
            refund(s);
            licences.collect(s.licence);
            if (!s.over) settled(s, s.price);
        }
        flush(assets, COIN);
        books();
        for (uint256 i; i < people.length; ++i) {
            takeOut(people[i]);
            hevm.assertEq(owedByLicences[people[i]], 0, "a refund is stuck");
        }
        hevm.assertEq(address(licences).balance, 0, "licences keep something");
        uint256 out;
        for (uint256 i; i < people.length; ++i) {
            out += received[people[i]];
            hevm.assertEq(received[people[i]], due(people[i]), "not what the shares say");
        }
        uint256 all;
        for (uint256 i; i < ASSETS; ++i) {
            all += income[i];
        }
        hevm.assertEq(out + address(attribution).balance, all, "not what came in");
    }

    /// What an account gets of everything that ever came in: shares of totals, rounded down once a step.
    function due(address who) private view returns (uint256 sum) {
        for (uint256 i; i < ASSETS; ++i) {
            uint256 own = ownOf(i);
            (address[] memory contributors, uint16[] memory shares) = receipts.contributorsOf(assets[i]);
            if (contributors.length == 0 && owners[i] == who) sum += own;
            for (uint256 j; j < contributors.length; ++j) {
                if (contributors[j] == who) sum += own * shares[j] / 10_000;
            }
        }
    }

    function ownOf(uint256 i) private view returns (uint256 own) {
        for (uint256 j; j < ASSETS; ++j) {
            (bytes32[] memory above, uint16[] memory bps) = registry.ancestors(assets[j]);
            uint256 left = 10_000;
            for (uint256 k; k < above.length; ++k) {
                left -= bps[k];
                if (above[k] == assets[i]) own += income[j] * bps[k] / 10_000;
            }
            if (i == j) own += income[j] * left / 10_000;
        }
    }

    // Chance

    function random(uint256 below) private returns (uint256) {
        state = uint256(keccak256(abi.encode(state)));
        return state % below;
    }

    function someone() private returns (address) {
        return people[random(people.length)];
    }

    function sale() private returns (bool found, Sale storage s) {
        found = sales.length != 0;
        if (!found) sales.push();
        s = sales[random(sales.length)];
        if (!found) sales.pop();
    }

    function piece(uint256 i, bool good) private pure returns (bytes memory out) {
        out = "plain";
        bytes32 pad = keccak256(abi.encode(bytes32(0), i, uint256(0)));
        for (uint256 k; k < out.length; ++k) {
            out[k] = out[k] ^ pad[k];
        }
        if (!good) out[0] = ~out[0];
    }

    function leaf(uint256 i, bool good) private pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(i, keccak256(piece(i, good)), keccak256("plain")))));
    }
}
