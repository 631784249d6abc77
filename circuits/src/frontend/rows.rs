//! Rows of a table in place of texts: cells between commas, in the order of the model's columns, scaled by ranges that are public
//! to integers. A row is one token for whoever counts.

use super::EncodeError;
use super::settings::{Column, MAX_COLUMNS, MAX_WORD, MAX_WORDS, inputs};
use crate::bytes::{DecodeError, Reader, Writer};

/// Fractional bits of a row's numbers, which are from -1 to 1.
pub(crate) const FRACTION: u32 = 12;

/// The numbers of a row, from -1 to 1.
pub(crate) fn values(columns: &[Column], row: &str) -> Result<Vec<f32>, EncodeError> {
    let cells: Vec<&str> = row.trim_end_matches(['\r', '\n']).split(',').map(str::trim).collect();
    if cells.len() != columns.len() {
        let names: Vec<&str> = columns.iter().take(20).map(Column::name).collect();
        return Err(EncodeError::Row { found: cells.len(), columns: columns.len(), names: names.join(",") });
    }
    Ok(columns.iter().zip(cells).flat_map(|(column, cell)| of_cell(column, cell)).collect())
}

/// The same with [`FRACTION`] bits, rounded half up.
pub(crate) fn integers(columns: &[Column], row: &str) -> Result<Vec<i32>, EncodeError> {
    let one = f64::from(1_u32 << FRACTION);
    Ok(values(columns, row)?.into_iter().map(|value| (f64::from(value) * one + 0.5).floor() as i32).collect())
}

/// What a cell becomes: a number scaled from its range to -1..1, 0 if it is missing; or 1 where the word stands.
fn of_cell(column: &Column, cell: &str) -> Vec<f32> {
    match column {
        Column::Range { low, high, .. } => vec![match cell.parse::<f64>() {
            Ok(value) if value.is_finite() => ((value.clamp(*low, *high) - low) / (high - low) * 2.0 - 1.0) as f32,
            _ => 0.0,
        }],
        Column::Words { words, .. } => words.iter().map(|word| f32::from(word == cell)).collect(),
    }
}

pub(super) fn write(columns: &[Column], out: &mut Writer) {
    out.u32(columns.len() as u32);
    for column in columns {
        match column {
            Column::Range { name, low, high } => out.u8(0).text(name).u64(low.to_bits()).u64(high.to_bits()),
            Column::Words { name, words } => {
                out.u8(1).text(name).u32(words.len() as u32);
                words.iter().fold(out as &mut Writer, |out, word| out.text(word))
            }
        };
    }
}

pub(super) fn read(input: &mut Reader<'_>) -> Result<Vec<Column>, DecodeError> {
    let count = input.count("columns", MAX_COLUMNS)?;
    let mut columns = Vec::new();
    for _ in 0..count {
        let kind = input.u8()?;
        let name = input.text("name", MAX_WORD)?;
        let column = match kind {
            0 => Column::Range { name, low: f64::from_bits(input.u64()?), high: f64::from_bits(input.u64()?) },
            1 => {
                let words = input.count("words", MAX_WORDS)?;
                let words = (0..words).map(|_| input.text("word", MAX_WORD)).collect::<Result<_, _>>()?;
                Column::Words { name, words }
            }
            _ => return Err(input.field("column")),
        };
        if !column.is_sound() {
            return Err(input.field("column"));
        }
        columns.push(column);
    }
    match inputs(&columns) {
        Some(_) => Ok(columns),
        None => Err(input.field("columns")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_scaled_by_its_public_ranges_alone() {
        let range = |name: &str, low, high| Column::Range { name: name.into(), low, high };
        let words = Column::Words { name: "sex".into(), words: vec!["F".into(), "M".into()] };
        let columns = vec![range("age", 0.0, 100.0), words, range("rate", -1.0, 1.0)];
        assert_eq!(inputs(&columns), Some(4));
        assert_eq!(integers(&columns, "50, M,1\n").unwrap(), [0, 0, 4096, 4096]);
        assert_eq!(integers(&columns, "-7,x,").unwrap(), [-4096, 0, 0, 0]);
        assert_eq!(integers(&columns, "nan,F,inf").unwrap(), [0, 4096, 0, 0]);
        let error = integers(&columns, "1,2").unwrap_err().to_string();
        assert!(error.contains("2 cells") && error.contains("age,sex,rate"), "{error}");
        let mut out = Writer::default();
        write(&columns, &mut out);
        assert_eq!(read(&mut Reader::new("test", &out.0)).unwrap(), columns);
        for (low, high) in [(1.0, 1.0), (f64::NAN, 1.0), (0.0, f64::INFINITY), (f64::MIN, f64::MAX)] {
            assert!(!range("x", low, high).is_sound());
        }
        assert_eq!(inputs(&[]), None);
    }
}
