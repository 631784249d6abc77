// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {PRIVACY_BUDGET} from "../../src/protocol/Addresses.sol";
import {Divergences} from "../../src/protocol/Divergences.sol";
import {IPrivacyBudget, Job} from "../../src/protocol/IPrivacyBudget.sol";
import {PrivacyBudget} from "../../src/protocol/PrivacyBudget.sol";
import {Asset, AssetKind, Terms} from "../../src/protocol/Types.sol";
import {hevm, ProtocolTest} from "./ProtocolTest.sol";

/// A dataset, its owner, and those who draw on its budget.
abstract contract BudgetTest is ProtocolTest {
    PrivacyBudget internal constant budget = PrivacyBudget(PRIVACY_BUDGET);
    uint32 internal constant ALL_ORDERS = type(uint32).max;
    /// ln 10^5 in nano, rounded up.
    uint64 internal constant LOG = 11_512_925_465;
    uint64 internal constant EPSILON = 3_000_000_000;
    bytes32 internal dataset;

    function setUp() public virtual override {
        super.setUp();
        hevm.etch(PRIVACY_BUDGET, type(PrivacyBudget).runtimeCode);
        dataset = newDataset("rows");
    }

    function newDataset(bytes32 root) internal returns (bytes32) {
        Asset memory a = plain(owner, root);
        a.kind = AssetKind.Dataset;
        return register(a);
    }

    function granted() internal {
        hevm.prank(owner);
        budget.grant(dataset, EPSILON, LOG, 1_000, ALL_ORDERS);
    }

    function allowed(address who, uint64 epsilon) internal {
        hevm.prank(owner);
        budget.allow(dataset, who, epsilon);
    }

    /// A Gaussian mechanism: so many nano times the order.
    function gaussian(uint256 nano) internal view returns (uint64[32] memory costs) {
        uint16[32] memory quarters = budget.ordersInQuarters();
        for (uint256 i; i < 32; ++i) {
            costs[i] = uint64((quarters[i] * nano + 3) / 4);
        }
    }

    function job(address who, bytes32 name, uint256 nano) internal view returns (Job memory j) {
        (j.dataset, j.spender, j.name, j.until) = (dataset, who, name, uint64(clock + 1 days));
        j.costs = gaussian(nano);
    }

    function reserve(Job memory j) internal returns (bytes32) {
        hevm.prank(j.spender);
        return budget.reserve(j);
    }

    function begin(Job memory j) internal {
        hevm.prank(j.spender);
        budget.begin(j);
    }

    function release(Job memory j) internal {
        hevm.prank(j.spender);
        budget.release(j);
    }
}

/// What the budget of a dataset promises, one promise at a time.
contract PrivacyBudgetTest is BudgetTest {
    function test_what_is_begun_is_spent_whatever_comes() public {
        granted();
        allowed(buyer, EPSILON);
        Job memory j = job(buyer, "one", 5_000_000);
        bytes32 id = reserve(j);
        hevm.assertEq(id, keccak256(abi.encode(block.chainid, PRIVACY_BUDGET, j)));
        hevm.assertEq(uint256(hevm.load(PRIVACY_BUDGET, keccak256(abi.encode(id, uint256(0))))), 1);
        (uint256 spent, uint256 withReserved,,) = budget.spentOf(dataset);
        hevm.assertEq(spent, 0);
        hevm.assertEq(withReserved, budget.epsilonOf(j.costs, LOG, ALL_ORDERS));
        begin(j);
        hevm.assertEq(budget.jobs(id), 2 | (clock << 8));
        (spent,,,) = budget.spentOf(dataset);
        hevm.assertEq(spent, withReserved);
        pass(40 days);
        refused(IPrivacyBudget.WrongState.selector);
        release(j);
        refused(IPrivacyBudget.WrongState.selector);
        begin(j);
        refused(IPrivacyBudget.WrongState.selector);
        reserve(j);
    }

    function test_who_races_for_the_last_of_it_comes_too_late() public {
        granted();
        allowed(buyer, EPSILON);
        allowed(stranger, EPSILON);
        // Two of these fit, and not three.
        Job memory first = job(buyer, "first", 60_000_000);
        Job memory second = job(stranger, "second", 60_000_000);
        Job memory third = job(buyer, "third", 60_000_000);
        Job memory fourth = job(stranger, "fourth", 60_000_000);
        reserve(first);
        reserve(second);
        refused(IPrivacyBudget.OverBudget.selector);
        reserve(third);
        // What is reserved and not begun makes room; what is begun makes none.
        begin(first);
        refused(IPrivacyBudget.OverBudget.selector);
        reserve(third);
        release(second);
        reserve(third);
        begin(third);
        refused(IPrivacyBudget.OverBudget.selector);
        reserve(fourth);
    }

    function test_one_order_that_holds_is_enough_and_all_together_decide() public {
        granted();
        allowed(buyer, 2 * EPSILON);
        Job memory j = job(buyer, "low orders only", 10_000_000);
        for (uint256 i = 16; i < 32; ++i) {
            j.costs[i] = budget.MAX_COST();
        }
        reserve(j);
        begin(j);
        // A second one that is bounded at high orders alone: there the first one is not.
        Job memory other = job(buyer, "high orders", 10_000);
        for (uint256 i = 0; i < 16; ++i) {
            other.costs[i] = 2_900_000_000;
        }
        for (uint256 i = 16; i < 32; ++i) {
            other.costs[i] = 3_000_000_000;
        }
        refused(IPrivacyBudget.OverBudget.selector);
        reserve(other);
    }

    function test_an_order_that_is_named_alone_has_all_of_delta() public {
        bytes32 other = newDataset("others");
        hevm.prank(owner);
        budget.grant(other, EPSILON, LOG, 0, 1 << 14);
        uint64[32] memory costs = gaussian(10_000_000);
        uint256 alone = budget.epsilonOf(costs, LOG, 1 << 14);
        // (α - 1) ε = (α - 1) R + L - ln α + (α - 1) ln(1 - 1/α), at α = 9.
        hevm.assertEq(alone, uint256(costs[14]) + (4 * uint256(LOG) + 31) / 32 - 392_436_107);
        // An order that is of no use takes its part of δ all the same.
        hevm.assertTrue(budget.epsilonOf(costs, LOG, 1 | 1 << 14) > alone);
        hevm.expectPartialRevert(IPrivacyBudget.WrongGrant.selector);
        budget.epsilonOf(costs, LOG, 0);
    }

    function test_only_the_owner_grants_and_only_once() public {
        refused(IPrivacyBudget.NotTheOwner.selector);
        hevm.prank(stranger);
        budget.grant(dataset, EPSILON, LOG, 0, ALL_ORDERS);
        Job memory j = job(buyer, "before", 1);
        refused(IPrivacyBudget.NotGranted.selector);
        reserve(j);
        refused(IPrivacyBudget.NotGranted.selector);
        allowed(buyer, 1);
        granted();
        refused(IPrivacyBudget.GrantedBefore.selector);
        granted();
        bytes32 model = newAsset(owner, 7);
        refused(IPrivacyBudget.NotADataset.selector);
        hevm.prank(owner);
        budget.grant(model, EPSILON, LOG, 0, ALL_ORDERS);
    }

    function test_grants_have_their_bounds() public {
        dataset = newDataset("bounds");
        (uint64 most, uint64 least, uint64 log) = (budget.MOST_EPSILON(), budget.LEAST_LOG(), budget.MOST_LOG());
        uint64 failure = budget.MOST_FAILURE();
        refusedGrant(most + 1, least, failure, 1);
        refusedGrant(most, least - 1, failure, 1);
        refusedGrant(most, log + 1, failure, 1);
        refusedGrant(most, least, failure + 1, 1);
        refusedGrant(most, least, failure, 0);
        hevm.prank(owner);
        budget.grant(dataset, most, least, failure, 1);
    }

    function test_jobs_that_make_no_sense_are_refused() public {
        granted();
        allowed(buyer, EPSILON);
        Job memory j = job(buyer, "job", 1_000);
        j.until = uint64(clock - 1);
        refusedJob(j);
        j.until = uint64(clock + 30 days + 1);
        refusedJob(j);
        j = job(buyer, "job", 1_000);
        j.costs[9] = j.costs[8] - 1;
        refusedJob(j);
        j = job(buyer, "job", 0);
        refusedJob(j);
        j = job(buyer, "job", 1_000);
        j.costs[31] = budget.MAX_COST() + 1;
        refusedJob(j);
        j = job(buyer, "job", 1_000);
        refused(IPrivacyBudget.NotTheSpender.selector);
        hevm.prank(stranger);
        budget.reserve(j);
        reserve(j);
        refused(IPrivacyBudget.NotTheSpender.selector);
        hevm.prank(stranger);
        budget.begin(j);
        Job memory unknown = job(buyer, "unknown", 1_000);
        refused(IPrivacyBudget.WrongState.selector);
        begin(unknown);
        // Another cost is another job.
        j.costs[31] += 1;
        refused(IPrivacyBudget.WrongState.selector);
        begin(j);
    }

    function test_a_reservation_lapses_and_anybody_clears_it() public {
        granted();
        allowed(buyer, EPSILON);
        Job memory j = job(buyer, "job", 1_000_000);
        reserve(j);
        pass(1 days);
        refused(IPrivacyBudget.TooEarly.selector);
        hevm.prank(stranger);
        budget.release(j);
        pass(1);
        refused(IPrivacyBudget.TooLate.selector);
        begin(j);
        hevm.prank(stranger);
        budget.release(j);
        (, uint256 withReserved,,) = budget.spentOf(dataset);
        hevm.assertEq(withReserved, 0);
        (, uint256 drawn) = budget.allowanceOf(dataset, buyer, 0);
        hevm.assertEq(drawn, 0);
        refused(IPrivacyBudget.WrongState.selector);
        hevm.prank(stranger);
        budget.release(j);
    }

    function test_an_allowance_bounds_who_draws_on_the_one_budget() public {
        granted();
        Job memory j = job(buyer, "job", 20_000_000);
        uint256 epsilon = budget.epsilonOf(j.costs, LOG, ALL_ORDERS);
        refused(IPrivacyBudget.NotAllowed.selector);
        reserve(j);
        allowed(buyer, uint64(epsilon - 1));
        refused(IPrivacyBudget.OverAllowance.selector);
        reserve(j);
        allowed(buyer, uint64(epsilon));
        reserve(j);
        Job memory more = job(buyer, "more", 1);
        refused(IPrivacyBudget.OverAllowance.selector);
        reserve(more);
        // Taken back, it is of no use any more, also to what is reserved.
        allowed(buyer, 0);
        refused(IPrivacyBudget.NotAllowed.selector);
        begin(j);
        allowed(buyer, uint64(epsilon));
        begin(j);
        (uint256 most, uint256 drawn) = budget.allowanceOf(dataset, buyer, 0);
        hevm.assertTrue(most == epsilon && drawn == epsilon);
    }

    function test_a_licence_with_an_allowance_draws_once_its_price_is_paid() public {
        granted();
        Terms memory t = longTerms(1000, 10 days);
        t.allowance = EPSILON;
        Job memory j = job(buyer, "job", 1_000_000);
        j.licence = bought(dataset, t, buyer);
        refused(IPrivacyBudget.NotAUser.selector);
        j.spender = stranger;
        reserve(j);
        j.spender = buyer;
        // The price could still come back, and what is learned could not: nothing is put aside, so that nobody else is kept out.
        refused(IPrivacyBudget.NotPaidYet.selector);
        reserve(j);
        t = apiTerms(1000);
        t.allowance = EPSILON;
        j.licence = bought(dataset, t, buyer);
        reserve(j);
        begin(j);
        (uint256 most, uint256 drawn) = budget.allowanceOf(dataset, address(0), j.licence);
        hevm.assertTrue(most == EPSILON && drawn != 0);
        // Its user draws on the same allowance, another asset's licence on none.
        uint256 all = j.licence;
        hevm.prank(buyer);
        licences.setUser(all, stranger, type(uint64).max);
        j.spender = stranger;
        reserve(j);
        bytes32 other = newDataset("others");
        j.licence = bought(other, t, stranger);
        refused(IPrivacyBudget.NotAllowed.selector);
        reserve(j);
        // Withdrawn, it begins nothing.
        j.licence = all;
        hevm.prank(owner);
        licences.withdraw{value: 1000}(all);
        refused(IPrivacyBudget.NotAUser.selector);
        begin(j);
    }

    function test_chances_of_failure_sum_too() public {
        granted();
        allowed(buyer, EPSILON);
        allowed(stranger, EPSILON / 4);
        Job memory j = job(stranger, "job", 1_000);
        // As large a part of 1000 as of ε.
        j.failure = 251;
        refused(IPrivacyBudget.FailureAbove.selector);
        reserve(j);
        j.failure = 250;
        reserve(j);
        j = job(buyer, "job", 1_000);
        j.failure = 751;
        refused(IPrivacyBudget.FailureAbove.selector);
        reserve(j);
        j.failure = 750;
        reserve(j);
        begin(j);
        (,, uint256 failure, uint256 withReserved) = budget.spentOf(dataset);
        hevm.assertTrue(failure == 750 && withReserved == 1_000);
        release(job250());
        (,, failure, withReserved) = budget.spentOf(dataset);
        hevm.assertTrue(failure == 750 && withReserved == 750);
    }

    function job250() private view returns (Job memory j) {
        j = job(stranger, "job", 1_000);
        j.failure = 250;
    }

    function test_an_owner_lowers_at_once_and_never_below_what_is_spent() public {
        granted();
        allowed(buyer, EPSILON);
        (Job memory first, Job memory second) = (job(buyer, "first", 20_000_000), job(buyer, "second", 20_000_000));
        reserve(first);
        begin(first);
        reserve(second);
        (uint256 spent,,,) = budget.spentOf(dataset);
        refused(IPrivacyBudget.NotTheOwner.selector);
        hevm.prank(stranger);
        budget.lower(dataset, 0);
        hevm.expectEmit(PRIVACY_BUDGET);
        emit IPrivacyBudget.Lowered(dataset, uint64(spent));
        hevm.prank(owner);
        budget.lower(dataset, 0);
        // What was reserved holds against others, not against the owner.
        refused(IPrivacyBudget.OverBudget.selector);
        begin(second);
        release(second);
        refused(IPrivacyBudget.NoChange.selector);
        hevm.prank(owner);
        budget.lower(dataset, uint64(spent));
    }

    function test_an_owner_raises_after_time_and_blocks() public {
        granted();
        refused(IPrivacyBudget.NoChange.selector);
        announce(EPSILON);
        uint64 most = budget.MOST_EPSILON();
        refused(IPrivacyBudget.WrongGrant.selector);
        announce(most + 1);
        announce(EPSILON + 1);
        hevm.warp(clock + 14 days);
        hevm.roll(height + 599);
        refused(IPrivacyBudget.NotRaised.selector);
        raise();
        hevm.warp(clock + 14 days - 1);
        hevm.roll(height + 600);
        refused(IPrivacyBudget.NotRaised.selector);
        raise();
        hevm.warp(clock + 14 days);
        refused(IPrivacyBudget.NotTheOwner.selector);
        hevm.prank(stranger);
        budget.raise(dataset);
        raise();
        (uint64 epsilon,,,,, uint64 from,) = budget.grantOf(dataset);
        hevm.assertTrue(epsilon == EPSILON + 1 && from == 0);
        refused(IPrivacyBudget.NotRaised.selector);
        raise();
    }

    function test_a_raise_that_was_announced_long_ago_is_none() public {
        granted();
        announce(EPSILON + 1);
        hevm.roll(height + 600);
        hevm.warp(clock + 44 days + 1);
        refused(IPrivacyBudget.NotRaised.selector);
        raise();
        hevm.warp(clock + 44 days);
        raise();
    }

    function test_a_raise_is_cancelled_by_its_owner_or_by_lowering() public {
        granted();
        refused(IPrivacyBudget.NotRaised.selector);
        hevm.prank(owner);
        budget.cancelRaise(dataset);
        announce(EPSILON + 1);
        refused(IPrivacyBudget.NotTheOwner.selector);
        hevm.prank(stranger);
        budget.cancelRaise(dataset);
        hevm.prank(owner);
        budget.cancelRaise(dataset);
        pass(20 days);
        refused(IPrivacyBudget.NotRaised.selector);
        raise();
        announce(EPSILON + 1);
        hevm.prank(owner);
        budget.lower(dataset, EPSILON - 1);
        pass(20 days);
        refused(IPrivacyBudget.NotRaised.selector);
        raise();
    }

    function test_a_stolen_key_opens_no_more_while_guardians_act() public {
        bytes32 other = newDataset("others");
        granted();
        allowed(buyer, 5);
        announce(EPSILON + 1);
        hevm.prank(owner);
        receipts.setGuardians(one(stranger), 1);
        hevm.prank(stranger);
        receipts.approveRecovery(owner, buyer);
        pass(20 days);
        refused(IPrivacyBudget.RecoveryUnderWay.selector);
        raise();
        refused(IPrivacyBudget.RecoveryUnderWay.selector);
        announce(EPSILON + 2);
        refused(IPrivacyBudget.RecoveryUnderWay.selector);
        allowed(buyer, 6);
        refused(IPrivacyBudget.RecoveryUnderWay.selector);
        hevm.prank(owner);
        budget.grant(other, EPSILON, LOG, 0, ALL_ORDERS);
        // What opens less waits for nobody.
        allowed(buyer, 4);
        hevm.prank(owner);
        budget.lower(dataset, 0);
    }

    function announce(uint64 epsilon) private {
        hevm.prank(owner);
        budget.announceRaise(dataset, epsilon);
    }

    function raise() private {
        hevm.prank(owner);
        budget.raise(dataset);
    }

    function refused(bytes4 selector) private {
        hevm.expectPartialRevert(selector);
    }

    function refusedJob(Job memory j) private {
        refused(IPrivacyBudget.WrongJob.selector);
        reserve(j);
    }

    function refusedGrant(uint64 epsilon, uint64 log, uint64 failure, uint32 orders) private {
        refused(IPrivacyBudget.WrongGrant.selector);
        hevm.prank(owner);
        budget.grant(dataset, epsilon, log, failure, orders);
    }
}

/// Sums at their bounds, which no history reaches.
contract DivergencesTest {
    using Divergences for Divergences.Sum;

    bool public constant IS_TEST = true;
    Divergences.Sum private sum;

    function test_what_is_full_once_stays_full() public {
        uint64[32] memory costs;
        for (uint256 i; i < 32; ++i) {
            costs[i] = type(uint64).max - 1;
        }
        this.add(costs, type(uint64).max - 1);
        hold(type(uint64).max - 1);
        for (uint256 i; i < 32; ++i) {
            costs[i] = 2;
        }
        this.add(costs, 2);
        hold(type(uint64).max);
        this.remove(costs, 2);
        hold(type(uint64).max);
    }

    function add(uint64[32] calldata costs, uint64 failure) external {
        sum.add(costs, failure);
    }

    function remove(uint64[32] calldata costs, uint64 failure) external {
        sum.remove(costs, failure);
    }

    function hold(uint256 all) private view {
        uint64[32] memory costs = sum.read();
        for (uint256 i; i < 32; ++i) {
            hevm.assertEq(uint256(costs[i]), all);
        }
        hevm.assertEq(uint256(sum.failure), all);
    }
}

/// Random histories of jobs that are reserved, begun, given back or forgotten by four spenders at once, of time, and of an
/// owner who changes its mind. After each step what is spent is within what is granted, and is what the jobs that began sum to.
contract BudgetHistoryTest is BudgetTest {
    uint256 private constant SPENDERS = 4;
    /// Hash of all that was answered: chain/market/tests has the same.
    bytes32 private constant LONG = 0xdf3af2d1dc00432ef46c32466b84f8847a6bc68a4d924fa7c1bf828137454410;

    uint256 private state;
    bytes32 private trail;
    Job[] private known;
    mapping(bytes32 job => bool) private begun;
    uint64[32] private sums;

    /// forge-config: default.fuzz.runs = 24
    function testFuzz_no_schedule_overspends(uint256 seed) public {
        tell(seed, 60);
    }

    /// chain/market/tests plays this history with a program of its own, and is refused the same at the same times.
    function test_a_long_history_is_told_the_same_in_rust() public {
        tell(11, 600);
        hevm.assertEq(trail, LONG);
    }

    function tell(uint256 seed, uint256 steps) private {
        state = seed;
        hevm.prank(owner);
        budget.grant(dataset, uint64(random(5e9)), LOG, uint64(random(2_000)), uint32(1 + random(type(uint32).max)));
        for (uint256 i; i < SPENDERS; ++i) {
            allowed(spender(i), uint64(random(5e9)));
        }
        for (uint256 i; i < steps; ++i) {
            step(random(10));
            check();
        }
    }

    function step(uint256 what) private {
        if (what <= 2) reserveOne();
        else if (what <= 5) beginOne();
        else if (what == 6) releaseOne();
        else if (what == 7) pass(random(2 days));
        else if (what == 8) change();
        else tellCall(owner, abi.encodeCall(budget.allow, (dataset, spender(random(SPENDERS)), uint64(random(5e9)))));
    }

    function reserveOne() private {
        Job memory j = job(spender(random(SPENDERS)), bytes32(known.length), 1 + random(60_000_000));
        j.until = uint64(clock + random(3 days));
        j.failure = uint64(random(200));
        // Bounded up to some order only, as a sampled mechanism is.
        for (uint256 i = random(40); i < 32; ++i) {
            j.costs[i] = budget.MAX_COST();
        }
        known.push(j);
        tellCall(j.spender, abi.encodeCall(budget.reserve, (j)));
    }

    function beginOne() private {
        if (known.length == 0) return;
        Job memory j = known[random(known.length)];
        if (!tellCall(j.spender, abi.encodeCall(budget.begin, (j)))) return;
        bytes32 id = budget.idOf(j);
        hevm.assertFalse(begun[id]);
        begun[id] = true;
        for (uint256 i; i < 32; ++i) {
            sums[i] += j.costs[i];
        }
    }

    function releaseOne() private {
        if (known.length == 0) return;
        Job memory j = known[random(known.length)];
        tellCall(random(2) == 0 ? j.spender : address(this), abi.encodeCall(budget.release, (j)));
    }

    function change() private {
        uint256 what = random(4);
        if (what == 0) tellCall(owner, abi.encodeCall(budget.lower, (dataset, uint64(random(5e9)))));
        else if (what == 1) tellCall(owner, abi.encodeCall(budget.announceRaise, (dataset, uint64(random(5e9)))));
        else tellCall(owner, abi.encodeCall(budget.raise, (dataset)));
    }

    /// Calls, and adds to the trail what came of it.
    function tellCall(address who, bytes memory data) private returns (bool done) {
        hevm.prank(who);
        bytes memory said;
        (done, said) = PRIVACY_BUDGET.call(data);
        bytes4 refusal;
        if (!done) refusal = bytes4(said);
        (uint256 spent, uint256 withReserved,,) = budget.spentOf(dataset);
        trail = keccak256(abi.encode(trail, refusal, spent, withReserved));
    }

    function check() private view {
        (uint64 epsilon, uint64 log, uint64 failure, uint32 orders,,,) = budget.grantOf(dataset);
        (uint256 spent,, uint256 failed,) = budget.spentOf(dataset);
        hevm.assertLe(spent, epsilon, "more is spent than is granted");
        hevm.assertLe(failed, failure, "more may fail than is granted");
        hevm.assertEq(spent, budget.epsilonOf(sums, log, orders), "not what the jobs that began sum to");
    }

    function spender(uint256 i) private pure returns (address) {
        return address(uint160(0x5e0 + i));
    }

    function random(uint256 below) private returns (uint256) {
        state = uint256(keccak256(abi.encode(state)));
        return state % below;
    }
}

/// What each call costs as a transaction of its own, data included. `gas.sh` runs this.
///
/// forge-config: default.isolate = true
contract BudgetGasTest is BudgetTest {
    function test_gas_of_budgets() public {
        granted();
        note("grant");
        allowed(buyer, EPSILON);
        note("allow");
        reserve(job(buyer, "first", 1_000_000));
        note("reserve, the first of a dataset");
        reserve(job(buyer, "second", 1_000_000));
        note("reserve");
        begin(job(buyer, "first", 1_000_000));
        note("begin, the first of a dataset");
        begin(job(buyer, "second", 1_000_000));
        note("begin");
        reserve(job(buyer, "third", 1_000_000));
        release(job(buyer, "third", 1_000_000));
        note("release");
        Terms memory t = apiTerms(1000);
        t.allowance = EPSILON;
        Job memory j = job(buyer, "fourth", 1_000_000);
        j.licence = bought(dataset, t, buyer);
        reserve(j);
        note("reserve, the first of a licence");
        begin(j);
        note("begin, on a licence");
        hevm.prank(owner);
        budget.announceRaise(dataset, EPSILON + 1);
        note("announceRaise");
        pass(14 days);
        hevm.prank(owner);
        budget.raise(dataset);
        note("raise");
        hevm.prank(owner);
        budget.lower(dataset, EPSILON);
        note("lower");
    }

    function note(string memory name) private {
        hevm.snapshotGasLastCall("PrivacyBudget", name);
    }
}
