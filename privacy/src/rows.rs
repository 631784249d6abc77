//! Comma-separated values: rows of cells, in quotes where needed (RFC 4180). Empty lines are passed over, but for a table of one
//! column: there each is a row whose cell has nothing in it.

/// Longest table, in bytes.
pub const MOST_BYTES: usize = 1 << 30;
/// Most columns.
pub const MOST_COLUMNS: usize = 1 << 14;

const TOO_MANY: &str = "there are more than 16,384 cells";

/// Why a row cannot be read.
#[derive(Debug, PartialEq)]
pub struct RowError {
    /// On which line it begins, from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: &'static str,
}

/// Rows with the line on which each begins.
pub struct Rows<'a> {
    rest: &'a str,
    line: usize,
    /// Whether the first row had one cell.
    is_narrow: Option<bool>,
}

impl<'a> Rows<'a> {
    /// Those of a text.
    pub fn of(text: &'a str) -> Self {
        Self { rest: text.strip_prefix('\u{feff}').unwrap_or(text), line: 0, is_narrow: None }
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<(usize, Vec<String>), RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_narrow != Some(true) {
            while let Some(rest) = self.rest.strip_prefix("\r\n").or_else(|| self.rest.strip_prefix('\n')) {
                (self.rest, self.line) = (rest, self.line + 1);
            }
        }
        if self.rest.is_empty() {
            return None;
        }
        let begin = self.line + 1;
        let mut cells = Vec::new();
        loop {
            match self.cell() {
                Ok((cell, more)) => {
                    cells.push(cell);
                    if cells.len() > MOST_COLUMNS {
                        return Some(Err(RowError { line: begin, reason: TOO_MANY }));
                    }
                    if !more {
                        self.is_narrow.get_or_insert(cells.len() == 1);
                        return Some(Ok((begin, cells)));
                    }
                }
                Err(reason) => {
                    self.rest = "";
                    return Some(Err(RowError { line: begin, reason }));
                }
            }
        }
    }
}

impl Rows<'_> {
    /// A cell, and whether another follows in its row.
    fn cell(&mut self) -> Result<(String, bool), &'static str> {
        let cell = match self.rest.strip_prefix('"') {
            Some(quoted) => {
                let mut cell = String::new();
                let mut rest = quoted;
                loop {
                    let end = rest.find('"').ok_or("a quote is not closed")?;
                    cell.push_str(&rest[..end]);
                    rest = &rest[end + 1..];
                    let Some(again) = rest.strip_prefix('"') else { break };
                    cell.push('"');
                    rest = again;
                }
                self.line += cell.matches('\n').count();
                self.rest = rest;
                cell
            }
            None => {
                let end = self.rest.find([',', '\n']).unwrap_or(self.rest.len());
                let cell = self.rest[..end].strip_suffix('\r').unwrap_or(&self.rest[..end]).to_owned();
                self.rest = &self.rest[end..];
                cell
            }
        };
        if let Some(rest) = self.rest.strip_prefix(',') {
            self.rest = rest;
            return Ok((cell, true));
        }
        let rest = self.rest.strip_prefix("\r\n").or_else(|| self.rest.strip_prefix('\n'));
        self.line += 1;
        match rest {
            Some(rest) => self.rest = rest,
            None if self.rest.is_empty() => {}
            None => return Err("something follows a closed quote"),
        }
        Ok((cell, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_line_is_a_row_where_there_is_one_column_and_none_elsewhere() {
        let rows = |text| Rows::of(text).map(|row| row.unwrap()).collect::<Vec<_>>();
        let one = |line, cell: &str| (line, vec![cell.to_owned()]);
        let told = [one(2, "v"), one(3, ""), one(4, "a"), one(5, ""), one(6, "")];
        assert_eq!(rows("\nv\n\na\r\n\r\n\"\"\n"), told);
        let two = |line, a: &str, b: &str| (line, vec![a.to_owned(), b.to_owned()]);
        assert_eq!(rows("v,w\n\n\r\na,b"), [two(1, "v", "w"), two(4, "a", "b")]);
    }
}
