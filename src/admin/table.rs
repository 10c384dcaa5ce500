//! Tables for people: a heading and rows of cells, columns as wide as their widest cell, numbers to the right.
//! Nothing is cut: what is long makes its column wide, so that a line can be copied. Not here: JSON (serde's).

use std::fmt;

pub struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(headings: &[&'static str]) -> Table {
        Table { headings: headings.to_vec(), rows: Vec::new() }
    }

    pub fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.headings.len(), "a cell for each heading");
        self.rows.push(cells);
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// A column of numbers and dashes.
    fn is_numeric(&self, column: usize) -> bool {
        let number = |c: &String| c == "-" || c.parse::<f64>().is_ok();
        self.rows.iter().all(|row| number(&row[column]))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = 0..self.headings.len();
        let longest = |c: usize| {
            let cells = self.rows.iter().map(|row| row[c].chars().count()).max().unwrap_or(0);
            cells.max(self.headings[c].len())
        };
        let widths: Vec<(usize, bool)> =
            columns.map(|c| (longest(c), self.is_numeric(c))).collect();
        let headings: Vec<String> = self.headings.iter().map(|h| h.to_string()).collect();
        for row in std::iter::once(&headings).chain(&self.rows) {
            let mut line = String::new();
            for (cell, &(width, right)) in row.iter().zip(&widths) {
                if !line.is_empty() {
                    line.push_str("  ");
                }
                line.push_str(&match right {
                    true => format!("{cell:>width$}"),
                    false => format!("{cell:<width$}"),
                });
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// `-` for what is not there.
pub fn or_dash<T: fmt::Display>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_string(), |v| v.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_right_and_words_left() {
        let mut table = Table::new(&["TOPIC", "LAG"]);
        table.row(vec!["a".into(), "100".into()]);
        table.row(vec!["long-name".into(), or_dash(None::<i64>)]);
        let lines = "TOPIC      LAG\na          100\nlong-name    -\n";
        assert_eq!(table.to_string(), lines);
    }
}
