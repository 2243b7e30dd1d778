//! ICU's regular expressions, read as ICU reads them and written as `fancy-regex` does.
//!
//! | ICU | here |
//! |---|---|
//! | `.` | anything but ICU's line ends, of which Rust knows one |
//! | `$` | at the end, and before a line end at the end: another pattern for texts that end in one |
//! | `[[:alpha:]]`, `\h`, `\R`, `\v` | the Unicode properties they stand for |
//! | `\uhhhh`, `\0ooo`, `\cX`, `\Q…\E` | the characters |
//! | `\1`, `(?=…)`, `(?<=…)`, `(?>…)`, `a++` | as they are |
//!
//! What ICU refuses is refused here, with its error; the rest of its checks are the compiler's. Not done, and error 1235:
//! `\X`, `\N{name}`, `\G`. Case is ignored character by character: `ß` is not `ss`.

use crate::error::{EvalError, RegexFault};
use std::fmt::Write;

/// The characters that end a line.
pub(super) const LINE_ENDS: [char; 7] = ['\n', '\u{b}', '\u{c}', '\r', '\u{85}', '\u{2028}', '\u{2029}'];
const LINE_END_SET: &str = r"\n\x0b\x0c\r\x{85}\x{2028}\x{2029}";
/// Bytes of a pattern. A compiled one is bounded; reading it takes memory that grows with its text.
const PATTERN_BYTES_MAX: usize = 128 << 10;
/// Parentheses and sets within each other that ICU has room for; `fancy-regex` has none for more than 63 parentheses.
const DEPTH_MAX: usize = 99;
/// Look-arounds of a pattern: each is a regular expression of its own.
const LOOK_AROUNDS_MAX: usize = 64;
/// How often intervals within each other may repeat a part: a round of nothing costs time, too.
const REPEATED_MAX: u64 = 1 << 16;
/// Largest number of an interval.
const INTERVAL_MAX: u64 = i32::MAX as u64;

/// How a pattern is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Options {
    /// `i`, or the collation.
    pub ignore_case: bool,
    /// `m`: `^` and `$` at every line.
    pub multi_line: bool,
    /// `n`: `.` is any character.
    pub dot_is_all: bool,
    /// `u`: only `\n` ends lines.
    pub unix_lines: bool,
    /// The text ends in a line end.
    pub ends_in_line: bool,
}

/// The pattern in Rust's syntax.
///
/// # Errors
/// [`EvalError::BadRegex`], 1235.
pub(super) fn translate(pattern: &str, options: Options) -> Result<String, EvalError> {
    if pattern.is_empty() {
        return fault(RegexFault::IllegalArgument);
    }
    if pattern.len() > PATTERN_BYTES_MAX {
        return fault(RegexFault::TooBig);
    }
    let chars: Vec<char> = pattern.chars().collect();
    let groups = count_groups(&chars);
    let out = if options.ignore_case { "(?i)".to_string() } else { String::new() };
    let (open, names) = (Vec::new(), Vec::new());
    let mut reader = Reader {
        chars,
        at: 0,
        out,
        options,
        groups,
        open,
        sets: 0,
        names,
        within: vec![1],
        last: 1,
        look_arounds: 0,
        may_repeat: false,
    };
    reader.read()?;
    if reader.look_arounds > LOOK_AROUNDS_MAX {
        return fault(RegexFault::TooBig);
    }
    Ok(reader.out)
}

fn fault<T>(fault: RegexFault) -> Result<T, EvalError> {
    Err(EvalError::BadRegex(fault))
}

/// How many groups capture, as far as that can be told before the pattern is read.
fn count_groups(chars: &[char]) -> usize {
    let mut count = 0;
    let mut in_set = 0;
    let mut at = 0;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 1,
            '[' => in_set += 1,
            ']' if in_set > 0 => in_set -= 1,
            '(' if in_set == 0 => {
                let named = chars.get(at + 1) == Some(&'?')
                    && chars.get(at + 2) == Some(&'<')
                    && !matches!(chars.get(at + 3), Some('=' | '!'));
                count += usize::from(chars.get(at + 1) != Some(&'?') || named);
            }
            _ => {}
        }
        at += 1;
    }
    count
}

/// What a parenthesis opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Open {
    Group,
    LookBehind,
}

struct Reader {
    chars: Vec<char>,
    at: usize,
    out: String,
    options: Options,
    groups: usize,
    open: Vec<Open>,
    /// Sets that are open.
    sets: usize,
    /// Names of groups so far.
    names: Vec<String>,
    /// How often the most repeated part runs in one pass over: within each open group, and within what was read last.
    within: Vec<u64>,
    last: u64,
    look_arounds: usize,
    /// Something stands in front that can be repeated.
    may_repeat: bool,
}

impl Reader {
    fn read(&mut self) -> Result<(), EvalError> {
        while let Some(c) = self.next() {
            let repeats = !matches!(c, '|' | '(' | '*' | '+' | '?' | '{');
            let mut repeated = 1;
            match c {
                '\\' => self.escape(false)?,
                '[' => self.set()?,
                '(' => {
                    self.check_depth()?;
                    self.group()?;
                }
                ')' => match self.open.pop() {
                    Some(_) => {
                        self.out.push(')');
                        repeated = self.within.pop().unwrap_or(1);
                    }
                    None => return fault(RegexFault::Parenthesis),
                },
                '*' | '+' | '?' => self.repetition(c)?,
                '{' => repeated = self.interval()?,
                '|' => self.out.push('|'),
                '^' => self.line_start(),
                '$' => self.line_end(),
                '.' => self.dot(),
                other => push_literal(&mut self.out, other),
            }
            self.may_repeat = repeats;
            self.last = repeated;
            if let Some(most) = self.within.last_mut() {
                *most = repeated.max(*most);
            }
        }
        if self.open.is_empty() { Ok(()) } else { fault(RegexFault::Parenthesis) }
    }

    fn next(&mut self) -> Option<char> {
        let c = self.chars.get(self.at).copied()?;
        self.at += 1;
        Some(c)
    }

    /// Room for one more that opens.
    fn check_depth(&self) -> Result<(), EvalError> {
        if self.open.len() + self.sets < DEPTH_MAX { Ok(()) } else { fault(RegexFault::Internal) }
    }

    fn eat(&mut self, wanted: &str) -> bool {
        let found = wanted.chars().enumerate().all(|(i, c)| self.chars.get(self.at + i) == Some(&c));
        if found {
            self.at += wanted.chars().count();
        }
        found
    }

    /// A syntax error at the character that was read last.
    fn syntax<T>(&self) -> Result<T, EvalError> {
        let read = &self.chars[..self.at.saturating_sub(1).min(self.chars.len())];
        let line = 1 + read.iter().filter(|c| **c == '\n').count();
        let before = read.iter().rev().take_while(|c| **c != '\n').count();
        fault(RegexFault::Syntax { line, character: before + 1 })
    }

    fn line_ends(&self) -> &'static str {
        if self.options.unix_lines { r"\n" } else { LINE_END_SET }
    }

    fn dot(&mut self) {
        match self.options.dot_is_all {
            true => self.out.push_str("(?s:.)"),
            false => self.out.extend(["[^", self.line_ends(), "]"]),
        }
    }

    fn line_start(&mut self) {
        match (self.options.multi_line, self.options.unix_lines) {
            (false, _) => self.out.push_str(r"\A"),
            (true, true) => self.out.push_str("(?m:^)"),
            (true, false) => self.out.extend(["(?<![^", LINE_END_SET, "])"]),
        }
    }

    fn line_end(&mut self) {
        if self.options.multi_line {
            self.out.extend(["(?![^", self.line_ends(), "])"]);
        } else {
            self.text_end();
        }
    }

    /// The end, or before the line end that the text ends in.
    fn text_end(&mut self) {
        match (self.options.ends_in_line, self.options.unix_lines) {
            (false, _) => self.out.push_str(r"\z"),
            (true, true) => self.out.push_str(r"(?=\n?\z)"),
            (true, false) => self.out.extend([r"(?=(?:\r\n|[", LINE_END_SET, r"])?\z)"]),
        }
    }

    fn repetition(&mut self, c: char) -> Result<(), EvalError> {
        if !self.may_repeat {
            return self.syntax();
        }
        if c != '?' && self.open.contains(&Open::LookBehind) {
            return fault(RegexFault::LookBehind);
        }
        self.out.push(c);
        self.repetition_mode();
        Ok(())
    }

    /// `?` for as few as possible, `+` for no way back.
    fn repetition_mode(&mut self) {
        for mode in ["?", "+"] {
            if self.eat(mode) {
                self.out.push_str(mode);
                return;
            }
        }
    }

    /// How often what it repeats runs, with the intervals within.
    fn interval(&mut self) -> Result<u64, EvalError> {
        if !self.may_repeat {
            return self.syntax();
        }
        let low = self.decimal()?;
        let Some(low) = low else { return fault(RegexFault::Interval) };
        let high = if self.eat(",") { self.decimal()? } else { Some(low) };
        if !self.eat("}") {
            return fault(RegexFault::Interval);
        }
        match high {
            Some(high) if high < low => return fault(RegexFault::IntervalOrder),
            Some(high) if high == low => _ = write!(self.out, "{{{low}}}"),
            Some(high) => _ = write!(self.out, "{{{low},{high}}}"),
            None if self.open.contains(&Open::LookBehind) => return fault(RegexFault::LookBehind),
            None => _ = write!(self.out, "{{{low},}}"),
        }
        self.repetition_mode();
        let repeated = self.last.saturating_mul(high.unwrap_or(low).max(1));
        if repeated > REPEATED_MAX { fault(RegexFault::TooBig) } else { Ok(repeated) }
    }

    fn decimal(&mut self) -> Result<Option<u64>, EvalError> {
        let mut number = None;
        while let Some(digit) = self.chars.get(self.at).and_then(|c| c.to_digit(10)) {
            let longer = number.unwrap_or(0u64) * 10 + u64::from(digit);
            if longer > INTERVAL_MAX {
                return fault(RegexFault::Number);
            }
            number = Some(longer);
            self.at += 1;
        }
        Ok(number)
    }

    fn group(&mut self) -> Result<(), EvalError> {
        if !self.eat("?") {
            self.out.push('(');
            self.opened(Open::Group);
            return Ok(());
        }
        for (opening, open) in [
            (":", Open::Group),
            ("=", Open::Group),
            ("!", Open::Group),
            (">", Open::Group),
            ("<=", Open::LookBehind),
            ("<!", Open::LookBehind),
        ] {
            if self.eat(opening) {
                self.look_arounds += usize::from(!matches!(opening, ":" | ">"));
                self.out.extend(["(?", opening]);
                self.opened(open);
                return Ok(());
            }
        }
        if self.eat("#") {
            while let Some(c) = self.next() {
                if c == ')' {
                    return Ok(());
                }
            }
            return fault(RegexFault::Parenthesis);
        }
        if self.eat("<") { self.group_name() } else { self.flags() }
    }

    fn opened(&mut self, open: Open) {
        self.open.push(open);
        self.within.push(1);
    }

    fn group_name(&mut self) -> Result<(), EvalError> {
        let mut name = String::new();
        loop {
            match self.next() {
                Some('>') if !name.is_empty() => break,
                Some(c) if c.is_ascii_alphabetic() || c.is_ascii_digit() && !name.is_empty() => name.push(c),
                _ => return fault(RegexFault::GroupName),
            }
        }
        if self.names.contains(&name) {
            return fault(RegexFault::GroupName);
        }
        self.out.extend(["(?<", &name, ">"]);
        self.names.push(name);
        self.opened(Open::Group);
        Ok(())
    }

    /// `(?i)` and `(?i:…)`.
    fn flags(&mut self) -> Result<(), EvalError> {
        let mut flags = String::new();
        loop {
            match self.next() {
                Some(c @ ('i' | 'x' | '-')) => flags.push(c),
                // They change what `.`, `^` and `$` are, which stand translated here.
                Some('s' | 'm' | 'w' | 'd' | 'u') => {
                    return Err(EvalError::Unsupported("(?s), (?m) and (?w) in regular expressions".into()));
                }
                Some(')') if !flags.is_empty() => {
                    self.out.extend(["(?", &flags, ")"]);
                    return Ok(());
                }
                Some(':') => {
                    self.out.extend(["(?", &flags, ":"]);
                    self.opened(Open::Group);
                    return Ok(());
                }
                _ => return self.syntax(),
            }
        }
    }

    /// What stands behind a `\`, in a set or outside of one.
    fn escape(&mut self, in_set: bool) -> Result<(), EvalError> {
        let Some(c) = self.next() else { return fault(RegexFault::Escape) };
        if let Some(character) = self.character_escape(c)? {
            push_literal(&mut self.out, character);
            return Ok(());
        }
        let set = match c {
            'd' | 'D' | 'w' | 'W' | 's' | 'S' => {
                self.out.extend(['\\', c]);
                return Ok(());
            }
            'p' | 'P' => return self.property(c),
            'h' => r"[\t\p{Zs}]",
            'H' => r"[^\t\p{Zs}]",
            'v' => r"[\n\x0b\x0c\r\x{85}\x{2028}\x{2029}]",
            'V' => r"[^\n\x0b\x0c\r\x{85}\x{2028}\x{2029}]",
            'X' | 'N' | 'G' => return Err(EvalError::Unsupported(format!("\\{c} in regular expressions"))),
            'Q' => return self.quotation(),
            _ if in_set => return fault(RegexFault::Escape),
            'b' | 'B' | 'A' | 'z' => {
                self.out.extend(['\\', c]);
                return Ok(());
            }
            'Z' => {
                self.text_end();
                return Ok(());
            }
            'R' => r"(?:\r\n|[\n\x0b\x0c\r\x{85}\x{2028}\x{2029}])",
            'k' => return self.named_reference(),
            '1'..='9' => return self.reference(c),
            _ => return fault(RegexFault::Escape),
        };
        self.out.push_str(set);
        Ok(())
    }

    /// An escape that stands for one character.
    fn character_escape(&mut self, c: char) -> Result<Option<char>, EvalError> {
        Ok(Some(match c {
            'a' => '\u{7}',
            'e' => '\u{1b}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'c' => match self.next() {
                Some(control) => char::from((u32::from(control) & 0x1f) as u8),
                None => return fault(RegexFault::Escape),
            },
            '0' => self.code(8, 1, 3)?,
            'x' if self.eat("{") => {
                let found = self.code(16, 1, 6)?;
                if !self.eat("}") {
                    return fault(RegexFault::Escape);
                }
                found
            }
            'x' => self.code(16, 1, 2)?,
            'u' => self.code(16, 4, 4)?,
            'U' => self.code(16, 8, 8)?,
            c if c.is_ascii_alphanumeric() => return Ok(None),
            other => other,
        }))
    }

    fn code(&mut self, radix: u32, least: usize, most: usize) -> Result<char, EvalError> {
        let (mut code, mut digits) = (0u32, 0);
        while digits < most
            && let Some(digit) = self.chars.get(self.at).and_then(|c| c.to_digit(radix))
        {
            code = code.wrapping_mul(radix).wrapping_add(digit);
            digits += 1;
            self.at += 1;
        }
        match char::from_u32(code).filter(|_| digits >= least) {
            Some(c) => Ok(c),
            None => fault(RegexFault::Escape),
        }
    }

    fn property(&mut self, sign: char) -> Result<(), EvalError> {
        if !self.eat("{") {
            return fault(RegexFault::IllegalArgument);
        }
        let name: String = self.chars[self.at..].iter().take_while(|c| **c != '}').collect();
        self.at += name.chars().count();
        if !self.eat("}") {
            return fault(RegexFault::IllegalArgument);
        }
        _ = write!(self.out, "\\{sign}{{{name}}}");
        Ok(())
    }

    fn quotation(&mut self) -> Result<(), EvalError> {
        while self.at < self.chars.len() && !self.eat("\\E") {
            push_literal(&mut self.out, self.chars[self.at]);
            self.at += 1;
        }
        Ok(())
    }

    fn reference(&mut self, first: char) -> Result<(), EvalError> {
        let mut group = first.to_digit(10).unwrap_or(0) as usize;
        if group > self.groups {
            return fault(RegexFault::BackReference);
        }
        while let Some(digit) = self.chars.get(self.at).and_then(|c| c.to_digit(10)) {
            let longer = group * 10 + digit as usize;
            if longer > self.groups {
                break;
            }
            group = longer;
            self.at += 1;
        }
        _ = write!(self.out, "(?:\\{group})");
        Ok(())
    }

    fn named_reference(&mut self) -> Result<(), EvalError> {
        let name: String = self.chars[self.at..].iter().skip(1).take_while(|c| **c != '>').collect();
        if !self.eat("<") || !self.names.contains(&name) {
            return fault(RegexFault::GroupName);
        }
        self.at += name.chars().count();
        if !self.eat(">") {
            return fault(RegexFault::GroupName);
        }
        self.out.extend(["\\k<", &name, ">"]);
        Ok(())
    }

    /// A set, from behind its `[` to its `]`.
    fn set(&mut self) -> Result<(), EvalError> {
        self.check_depth()?;
        self.sets += 1;
        self.out.push('[');
        if self.eat("^") {
            self.out.push('^');
        }
        // The end of a range must not be below its start.
        let mut last: Option<char> = None;
        let mut is_first = true;
        loop {
            let Some(c) = self.next() else { return fault(RegexFault::Bracket) };
            let before = last.take();
            match c {
                ']' if !is_first => break,
                '[' if self.eat(":") => self.named_set()?,
                '[' => self.set()?,
                '&' if self.eat("&") => self.out.push_str("&&"),
                '-' if self.eat("-") => self.out.push_str("--"),
                '-' if before.is_some() && self.chars.get(self.at).is_some_and(|c| !matches!(c, ']' | '[')) => {
                    self.range(before)?;
                }
                '\\' => {
                    let mark = self.at;
                    self.escape(true)?;
                    last = self.single(mark);
                }
                other => {
                    push_literal(&mut self.out, other);
                    last = Some(other);
                }
            }
            is_first = false;
        }
        self.out.push(']');
        self.sets -= 1;
        Ok(())
    }

    /// The character of an escape that begins at `mark`, where it is one of a sign.
    fn single(&self, mark: usize) -> Option<char> {
        self.chars.get(mark).copied().filter(|c| !c.is_ascii_alphanumeric())
    }

    fn range(&mut self, from: Option<char>) -> Result<(), EvalError> {
        let Some(to) = self.next() else { return fault(RegexFault::Bracket) };
        self.out.push('-');
        if to == '\\' {
            return self.escape(true);
        }
        if from.is_some_and(|from| to < from) {
            return fault(RegexFault::Range);
        }
        push_literal(&mut self.out, to);
        Ok(())
    }

    /// `[:alpha:]`, from behind its `[:`.
    fn named_set(&mut self) -> Result<(), EvalError> {
        let negated = self.eat("^");
        let name: String = self.chars[self.at..].iter().take_while(|c| c.is_ascii_alphabetic()).collect();
        self.at += name.chars().count();
        let set = match name.to_ascii_lowercase().as_str() {
            "alpha" => r"\p{Alphabetic}",
            "digit" => r"\p{Nd}",
            "alnum" => r"\p{Alphabetic}\p{Nd}",
            "upper" => r"\p{Uppercase}",
            "lower" => r"\p{Lowercase}",
            "space" => r"\p{White_Space}",
            "blank" => r"\t\p{Zs}",
            "punct" => r"\p{P}",
            "cntrl" => r"\p{Cc}",
            "xdigit" => r"\p{Nd}A-Fa-f",
            "word" => r"\w",
            "graph" => r"[^\p{White_Space}\p{Cc}\p{Cs}\p{Cn}]",
            "print" => r"[^\p{Cc}\p{Cs}\p{Cn}]",
            _ => return fault(RegexFault::IllegalArgument),
        };
        if !self.eat(":]") {
            return fault(RegexFault::IllegalArgument);
        }
        self.out.extend([if negated { "[^" } else { "[" }, set, "]"]);
        Ok(())
    }
}

/// Appends a character that means itself.
fn push_literal(out: &mut String, c: char) {
    if r"\.+*?()|[]{}^$#&-~".contains(c) {
        out.push('\\');
        out.push(c);
    } else if c.is_control() {
        _ = write!(out, "\\x{{{:x}}}", u32::from(c));
    } else {
        out.push(c);
    }
}

#[cfg(test)]
mod tests;
