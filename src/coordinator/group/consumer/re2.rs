//! RE2's syntax (as RE2/J reads it, Kafka's regular expressions), checked and put in the words of the `regex` crate, which
//! is of the same family but reads some things otherwise: `\Q…\E`, octal escapes, a brace that begins no repetition,
//! `[` in a class, `a**`. What RE2 refuses is refused with RE2/J's description. Pure; linear in the pattern.

use std::collections::HashSet;
use std::fmt::Write as _;

/// RE2/J's description of what is wrong.
pub type Refused = &'static str;

const INVALID_ESCAPE: Refused = "invalid escape sequence";
const INVALID_RANGE: Refused = "invalid character class range";
const INVALID_NAME: Refused = "invalid named capture";
const DUPLICATE_NAME: Refused = "duplicate capture group name";
const INVALID_PERL: Refused = "invalid or unsupported Perl syntax";
const INVALID_REPEAT: Refused = "invalid nested repetition operator";
const INVALID_COUNT: Refused = "invalid repeat count";
const MISSING_BRACKET: Refused = "missing closing ]";
const MISSING_PAREN: Refused = "missing closing )";
/// RE2/J's word for a parenthesis that closes nothing.
const UNOPENED: Refused = "regexp/syntax: internal error";
const MISSING_ARGUMENT: Refused = "missing argument to repetition operator";
const TRAILING_BACKSLASH: Refused = "trailing backslash at end of expression";

/// RE2's bound on one repetition.
const REPEAT_MAX: u32 = 1000;

/// For the `regex` crate: matches where RE2 would match the whole text.
pub fn translate(pattern: &str) -> Result<String, Refused> {
    let mut reader = Reader {
        rest: pattern,
        out: String::with_capacity(pattern.len() + 16),
        flags: String::new(),
        depth: 0,
        names: HashSet::new(),
        atom: false,
        repeated: false,
    };
    reader.out.push_str(r"\A(?:");
    while !reader.rest.is_empty() {
        reader.token()?;
    }
    if reader.depth > 0 {
        return Err(MISSING_PAREN);
    }
    reader.out.push_str(r")\z");
    Ok(reader.out)
}

struct Reader<'a> {
    rest: &'a str,
    out: String,
    /// Set, and not yet written.
    flags: String,
    depth: usize,
    names: HashSet<&'a str>,
    /// There is something that a repetition can repeat.
    atom: bool,
    /// It is a repetition itself, just now.
    repeated: bool,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn skip(&mut self, prefix: &str) -> bool {
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn token(&mut self) -> Result<(), Refused> {
        let was_repeated = std::mem::take(&mut self.repeated);
        let Some(c) = self.next() else { return Ok(()) };
        match c {
            '(' => return self.open(),
            ')' => {
                self.depth = self.depth.checked_sub(1).ok_or(UNOPENED)?;
                self.flush_flags();
                self.out.push(')');
                self.atom = true;
            }
            '|' => {
                self.flush_flags();
                self.out.push('|');
                self.atom = false;
            }
            '^' | '$' | '.' => self.verbatim(c),
            '[' => return self.class(),
            '*' | '+' | '?' => return self.repeat(&c.to_string(), was_repeated),
            '{' => match self.count()? {
                Some(count) => return self.repeat(&count, was_repeated),
                None => {
                    self.literal('{');
                    // RE2/J takes the brace for a repetition all the same.
                    self.repeated = true;
                }
            },
            '\\' => return self.escape(),
            c => self.literal(c),
        }
        Ok(())
    }

    /// A repetition after `(?i)` repeats what stands before it: flags wait for what follows.
    fn flush_flags(&mut self) {
        self.out.push_str(&std::mem::take(&mut self.flags));
    }

    fn verbatim(&mut self, c: char) {
        self.flush_flags();
        self.out.push(c);
        self.atom = true;
    }

    fn literal(&mut self, c: char) {
        self.flush_flags();
        self.code_point(c);
        self.atom = true;
    }

    /// Letters and digits as they are, all else by number: nothing has a meaning of its own.
    fn code_point(&mut self, c: char) {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' => self.out.push(c),
            c => write!(self.out, "\\x{{{:x}}}", c as u32).expect("a string takes it"),
        }
    }

    fn open(&mut self) -> Result<(), Refused> {
        if self.peek() != Some('?') {
            self.begin("(?:");
            return Ok(());
        }
        if let Some(rest) = self.rest.strip_prefix("?P<").or_else(|| self.rest.strip_prefix("?<")) {
            let end = rest.find('>').ok_or(INVALID_NAME)?;
            let name = &rest[..end];
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return Err(INVALID_NAME);
            }
            if !self.names.insert(name) {
                return Err(DUPLICATE_NAME);
            }
            self.rest = &rest[end + 1..];
            self.begin("(?:");
            return Ok(());
        }
        self.flags()
    }

    fn begin(&mut self, group: &str) {
        self.flush_flags();
        self.out.push_str(group);
        self.depth += 1;
        self.atom = false;
    }

    /// After `(`: `?flags)` or `?flags:`.
    fn flags(&mut self) -> Result<(), Refused> {
        self.next();
        let (mut on, mut off) = (String::new(), String::new());
        let (mut negative, mut saw) = (false, false);
        loop {
            match self.next().ok_or(INVALID_PERL)? {
                c @ ('i' | 'm' | 's' | 'U') => {
                    saw = true;
                    let (to, other) =
                        if negative { (&mut off, &mut on) } else { (&mut on, &mut off) };
                    other.retain(|had| had != c);
                    if !to.contains(c) {
                        to.push(c);
                    }
                }
                '-' if negative => return Err(INVALID_PERL),
                '-' => (negative, saw) = (true, false),
                end @ (':' | ')') => {
                    if negative && !saw {
                        return Err(INVALID_PERL);
                    }
                    let dash = if off.is_empty() { "" } else { "-" };
                    let none = on.is_empty() && off.is_empty();
                    match end {
                        ':' => self.begin(&format!("(?{on}{dash}{off}:")),
                        _ if none => {}
                        _ => write!(self.flags, "(?{on}{dash}{off})").expect("a string takes it"),
                    }
                    return Ok(());
                }
                _ => return Err(INVALID_PERL),
            }
        }
    }

    fn repeat(&mut self, operator: &str, was_repeated: bool) -> Result<(), Refused> {
        let lazy = self.skip("?");
        if was_repeated {
            return Err(INVALID_REPEAT);
        }
        if !self.atom {
            return Err(MISSING_ARGUMENT);
        }
        self.out.push_str(operator);
        if lazy {
            self.out.push('?');
        }
        self.repeated = true;
        Ok(())
    }

    /// After `{`: `n}`, `n,}` or `n,m}`; anything else is no repetition and is left where it was.
    fn count(&mut self) -> Result<Option<String>, Refused> {
        let Some(end) = self.rest.find('}') else { return Ok(None) };
        let inside = &self.rest[..end];
        let (low, high) = match inside.split_once(',') {
            None => (inside, Some(inside)),
            Some((low, "")) => (low, None),
            Some((low, high)) => (low, Some(high)),
        };
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            let leading_zero = digits.len() > 1 && digits.starts_with('0');
            (plain && !leading_zero).then(|| digits.parse::<u32>().unwrap_or(u32::MAX))
        };
        let Some(low) = number(low) else { return Ok(None) };
        let high = match high.map(number) {
            None => None,
            Some(Some(high)) => Some(high),
            Some(None) => return Ok(None),
        };
        if low > REPEAT_MAX || high.is_some_and(|high| high > REPEAT_MAX || high < low) {
            return Err(INVALID_COUNT);
        }
        self.rest = &self.rest[end + 1..];
        Ok(Some(match high {
            None => format!("{{{low},}}"),
            Some(high) => format!("{{{low},{high}}}"),
        }))
    }

    /// After a backslash outside a class.
    fn escape(&mut self) -> Result<(), Refused> {
        match self.peek() {
            Some(c @ ('A' | 'b' | 'B' | 'z')) => {
                self.next();
                self.flush_flags();
                self.out.push('\\');
                self.verbatim(c);
            }
            Some('Q') => {
                self.next();
                let end = self.rest.find(r"\E");
                let quoted = &self.rest[..end.unwrap_or(self.rest.len())];
                self.rest = end.map_or("", |end| &self.rest[end + 2..]);
                quoted.chars().for_each(|c| self.literal(c));
            }
            _ => {
                self.flush_flags();
                if !self.class_escape()? {
                    let c = self.escaped_char()?;
                    self.literal(c);
                }
                self.atom = true;
            }
        }
        Ok(())
    }

    /// After a backslash: `\d` and the like, and Unicode's groups; false when it is neither.
    fn class_escape(&mut self) -> Result<bool, Refused> {
        match self.peek() {
            Some(c @ ('d' | 'D' | 's' | 'S' | 'w' | 'W')) => {
                self.next();
                // RE2's are of ASCII.
                self.out.push_str(match c {
                    'd' => "[0-9]",
                    'D' => "[^0-9]",
                    's' => r"[\t\n\x0c\r ]",
                    'S' => r"[^\t\n\x0c\r ]",
                    'w' => "[0-9A-Za-z_]",
                    _ => "[^0-9A-Za-z_]",
                });
                Ok(true)
            }
            Some(c @ ('p' | 'P')) => {
                self.next();
                self.unicode_group(c == 'P')?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn unicode_group(&mut self, mut negated: bool) -> Result<(), Refused> {
        let rest = self.rest;
        let mut name = match self.next().ok_or(INVALID_RANGE)? {
            '{' => {
                let end = self.rest.find('}').ok_or(INVALID_RANGE)?;
                let name = &self.rest[..end];
                self.rest = &self.rest[end + 1..];
                name
            }
            c => &rest[..c.len_utf8()],
        };
        if let Some(positive) = name.strip_prefix('^') {
            negated = !negated;
            name = positive;
        }
        // RE2 knows general categories and scripts by these names only.
        let known = name.starts_with(|c: char| c.is_ascii_uppercase())
            && name.chars().all(|c| c.is_ascii_alphabetic() || c == '_');
        if !known {
            return Err(INVALID_RANGE);
        }
        if name == "Any" {
            self.out.push_str(if negated { r"[^\x{0}-\x{10ffff}]" } else { r"[\x{0}-\x{10ffff}]" });
            return Ok(());
        }
        let letter = if negated { 'P' } else { 'p' };
        let group = format!("\\{letter}{{{name}}}");
        if regex::Regex::new(&group).is_err() {
            return Err(INVALID_RANGE);
        }
        self.out.push_str(&group);
        Ok(())
    }

    /// After a backslash: one character.
    fn escaped_char(&mut self) -> Result<char, Refused> {
        let c = self.next().ok_or(TRAILING_BACKSLASH)?;
        Ok(match c {
            '1'..='7' if !self.peek().is_some_and(|next| next.is_digit(8)) => {
                return Err(INVALID_ESCAPE);
            }
            '0'..='7' => {
                let mut code = c.to_digit(8).expect("matched");
                for _ in 0..2 {
                    let Some(digit) = self.peek().and_then(|next| next.to_digit(8)) else { break };
                    self.next();
                    code = code * 8 + digit;
                }
                char::from_u32(code).ok_or(INVALID_ESCAPE)?
            }
            'x' => self.hex()?,
            'a' => '\x07',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => c,
            _ => return Err(INVALID_ESCAPE),
        })
    }

    fn hex(&mut self) -> Result<char, Refused> {
        let digits = if self.skip("{") {
            let end = self.rest.find('}').ok_or(INVALID_ESCAPE)?;
            let digits = &self.rest[..end];
            self.rest = &self.rest[end + 1..];
            digits
        } else {
            let digits = self.rest.get(..2).ok_or(INVALID_ESCAPE)?;
            self.rest = &self.rest[2..];
            digits
        };
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(INVALID_ESCAPE);
        }
        u32::from_str_radix(digits, 16).ok().and_then(char::from_u32).ok_or(INVALID_ESCAPE)
    }

    /// After `[`.
    fn class(&mut self) -> Result<(), Refused> {
        self.flush_flags();
        self.out.push('[');
        if self.skip("^") {
            self.out.push('^');
        }
        let mut first = true;
        loop {
            match self.peek().ok_or(MISSING_BRACKET)? {
                ']' if !first => break,
                '[' if self.rest.starts_with("[:") && self.posix()? => {}
                '\\' if self.rest[1..].starts_with(['d', 'D', 's', 'S', 'w', 'W', 'p', 'P']) => {
                    self.next();
                    self.class_escape()?;
                }
                _ => self.range()?,
            }
            first = false;
        }
        self.next();
        self.out.push(']');
        self.atom = true;
        Ok(())
    }

    /// `[:name:]`; false when it does not end so, and `[` is itself.
    fn posix(&mut self) -> Result<bool, Refused> {
        let Some(end) = self.rest[2..].find(":]") else { return Ok(false) };
        let (name, whole) = (&self.rest[2..2 + end], &self.rest[..end + 4]);
        const KNOWN: [&str; 14] = [
            "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print",
            "punct", "space", "upper", "word", "xdigit",
        ];
        if !KNOWN.contains(&name.strip_prefix('^').unwrap_or(name)) {
            return Err(INVALID_RANGE);
        }
        self.out.push_str(whole);
        self.rest = &self.rest[whole.len()..];
        Ok(true)
    }

    fn range(&mut self) -> Result<(), Refused> {
        let low = self.class_char()?;
        let mut high = low;
        if self.rest.starts_with('-') && !self.rest.starts_with("-]") && self.rest.len() > 1 {
            self.next();
            high = self.class_char()?;
            if high < low {
                return Err(INVALID_RANGE);
            }
        }
        self.code_point(low);
        if high != low {
            self.out.push('-');
            self.code_point(high);
        }
        Ok(())
    }

    fn class_char(&mut self) -> Result<char, Refused> {
        match self.next().ok_or(MISSING_BRACKET)? {
            '\\' => self.escaped_char(),
            c => Ok(c),
        }
    }
}
