//! All lookups at once (LogUp, ePrint 2022/1530, by GKR, ePrint 2023/1284): the fractions `1/(α - row)` of everything that
//! is looked up, less `m/(α - row)` of every row of every table, where `m` is how often it is looked up, add up to zero.
//! A row is its table's number, plus its index times `β`, plus its value times `β²`.

use super::*;
use crate::field::signed;
use crate::mle;
use crate::party::{Block, Places};
use crate::system::{Rows, variables};

impl<P: Party> Script<'_, P> {
    pub(super) fn lookups(&mut self) -> Result<(), P::Error> {
        let (alpha, beta) = (self.party.challenge(), self.party.challenge());
        let blocks = blocks(self.system);
        let variables = places_variables(&blocks);
        let fraction = self.party.fractions(&Places { variables, blocks: &blocks, alpha, beta })?;
        let (mut numerator, mut denominator, mut used) = (E::ZERO, E::ZERO, E::ZERO);
        for block in &blocks {
            let (selector, here) = fraction.point.split_at(variables - block.variables);
            let selected = mle::eq_index(block.offset >> block.variables, selector);
            let tag = E::from_usize(block.table + 1);
            let (count, row) = match block.lookup {
                None => self.rows(block.table, beta, here)?,
                Some(lookup) => self.looked_up(lookup, beta, here)?,
            };
            numerator += selected * count;
            denominator += selected * (alpha - tag - row);
            used += selected;
        }
        // Places that nobody uses are 0/1.
        denominator += E::ONE - used;
        self.party.equal("what is looked up", numerator, fraction.numerator)?;
        self.party.equal("what is looked up", denominator, fraction.denominator)
    }

    /// One for each element of the shape, and the rows that are looked up.
    fn looked_up(&mut self, lookup: usize, beta: E, point: &[E]) -> Result<(E, E), P::Error> {
        let lookup = self.system.lookups[lookup];
        let shape = self.system.tensor(lookup.index).shape;
        let axes = split(logs(shape), point);
        let within = axes.iter().zip(dimensions(shape)).map(|(axis, len)| mle::below(len as usize, axis)).product();
        let index = self.party.evaluation(lookup.index, point)?;
        self.claim(lookup.index, point.to_vec(), index);
        let mut row = beta * index;
        if let Some(id) = lookup.value {
            let value = self.party.evaluation(id, point)?;
            self.claim(id, point.to_vec(), value);
            row += beta * beta * value;
        }
        Ok((within, row))
    }

    /// How often each row of a table is looked up, negated, and the rows.
    fn rows(&mut self, table: usize, beta: E, point: &[E]) -> Result<(E, E), P::Error> {
        let table = &self.system.tables[table];
        let count = self.party.evaluation(table.multiplicity, point)?;
        self.claim(table.multiplicity, point.to_vec(), count);
        let row = match &table.rows {
            Rows::Range(_) => beta * mle::index(point),
            Rows::Pairs(pairs) => {
                let weights = mle::eq_table(point);
                let row = |&(index, value): &(i64, i64)| beta * signed(index) + beta * beta * signed(value);
                pairs.iter().zip(weights).map(|(pair, weight)| weight * row(pair)).sum()
            }
        };
        Ok((-count, row))
    }
}

/// Where each lookup and each table lies among all places: the longest first.
pub fn blocks(system: &System) -> Vec<Block> {
    let looked_up = system.lookups.iter().enumerate().map(|(i, lookup)| {
        let variables = variables(system.tensor(lookup.index).shape);
        Block { offset: 0, variables, table: lookup.table, lookup: Some(i) }
    });
    let tables = system.tables.iter().enumerate();
    let rows = tables.map(|(table, t)| Block { offset: 0, variables: t.rows.variables(), table, lookup: None });
    let mut blocks: Vec<Block> = looked_up.chain(rows).collect();
    blocks.sort_by_key(|block| std::cmp::Reverse(block.variables));
    let mut end = 0;
    for block in &mut blocks {
        block.offset = end;
        end += 1 << block.variables;
    }
    blocks
}

/// Variables of all places.
pub fn places_variables(blocks: &[Block]) -> usize {
    let end = blocks.last().map_or(1, |block| block.offset + (1 << block.variables));
    end.next_power_of_two().trailing_zeros() as usize
}
