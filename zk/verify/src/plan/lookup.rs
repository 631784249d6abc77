//! Tables: of the graph, of ranges, of pairs.

use super::*;

impl Planner<'_> {
    /// `table[x mod 2^bits]`.
    pub(super) fn look_up(&mut self, x: TensorId, table: u32) -> Result<TensorId, String> {
        let entries = &self.graph.tables[table as usize].entries;
        let (len, interval) = (entries.len() as i128, self.interval(x));
        let least = entries.iter().copied().min().unwrap_or(0);
        let greatest = entries.iter().copied().max().unwrap_or(0);
        let values = Interval::new(least.into(), greatest.into());
        if 2 * values.magnitude() >= P {
            return Err(format!("an entry of its table is beyond ±p/2 (p is {P})"));
        }
        let (index, signed) = if interval.fits(Interval::new(0, len - 1)) {
            (x, false)
        } else if interval.fits(Interval::new(-len / 2, len / 2 - 1)) {
            (x, true)
        } else {
            (self.low_bits(x, len.trailing_zeros())?, false)
        };
        let key = TableKey::Graph(table, signed);
        let rows = || {
            let index = |i: usize| if signed && i as i128 >= len / 2 { i as i64 - len as i64 } else { i as i64 };
            Rows::Pairs(entries.iter().enumerate().map(|(i, &entry)| (index(i), entry.into())).collect())
        };
        let at = self.table_of(key, rows);
        let shape = self.shape(x);
        let value = self.column(Oracle::Witness, shape, values, Hint::Entry(at, index));
        self.system.lookups.push(Lookup { table: at, index, value: Some(value) });
        Ok(value)
    }

    /// The number modulo `2^bits`, not negative; what it is looked up in holds it to its range.
    fn low_bits(&mut self, x: TensorId, bits: u32) -> Result<TensorId, String> {
        // Of a number with limbs they are those of the low one.
        let x = self.limbs_of(x).map_or(x, |(_, low)| low);
        let interval = self.interval(x);
        let (shape, turns) = (self.shape(x), Interval::new(interval.lo >> bits, interval.hi >> bits));
        let turns = self.chosen(shape, turns, Quantity::Quotient(x, 0, bits))?;
        let low = self.linear(shape, vec![(1, x), (-(1 << bits), turns)], 0);
        let met = self.interval(low);
        if met.lo - (1 << bits) <= -P || met.hi >= P {
            return Err(format!("an index between {} and {} cannot be looked up: p is {P}", met.lo, met.hi));
        }
        self.system.tensors[low.0].interval = Interval::new(0, (1 << bits) - 1);
        Ok(low)
    }

    pub(super) fn look_up_range(&mut self, index: TensorId, bits: u32) {
        let table = self.table_of(TableKey::Range(bits), || Rows::Range(bits));
        self.system.lookups.push(Lookup { table, index, value: None });
    }

    /// A column that holds, for each index, the value of its pair.
    pub(super) fn beside(&mut self, index: TensorId, mut pairs: Vec<(i64, i64)>) -> TensorId {
        let values = pairs.iter().map(|&(_, value)| i128::from(value));
        let interval = values.map(|v| Interval::new(v, v)).reduce(Interval::around).unwrap_or(Interval::new(0, 0));
        // A row more than once is the same row.
        let last = pairs.last().copied().unwrap_or((0, 0));
        pairs.resize(pairs.len().next_power_of_two(), last);
        let table = self.table(Rows::Pairs(pairs));
        let shape = self.shape(index);
        let value = self.column(Oracle::Witness, shape, interval, Hint::Entry(table, index));
        self.system.lookups.push(Lookup { table, index, value: Some(value) });
        value
    }

    fn table_of(&mut self, key: TableKey, rows: impl FnOnce() -> Rows) -> usize {
        if let Some(&at) = self.tables.get(&key) {
            return at;
        }
        let at = self.table(rows());
        self.tables.insert(key, at);
        at
    }

    fn table(&mut self, rows: Rows) -> usize {
        let at = self.system.tables.len();
        let shape = Shape::new(1, 1, 1 << rows.variables());
        let counts = Interval::new(0, MAX_LOOKUPS.into());
        let multiplicity = self.column(Oracle::Witness, shape, counts, Hint::Multiplicity(at));
        self.system.tables.push(Table { rows, multiplicity });
        at
    }
}
