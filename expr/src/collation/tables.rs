//! The weights of characters: what `build/collation_weights.py` wrote, unfolded when first used.
//!
//! A file, where every number is a varint (7 bits a byte, low ones first, bit 7: more follows) and *signed* ones are
//! zigzag (0, -1, 1, -2 … are 0, 1, 2, 3 …):
//! ```text
//! ┌────────┬────────────────────────────────────────────────────────────────────────────────────────────┐
//! │ levels │ one byte, 1 or 3                                                                           │
//! │ tails  │ count · (secondary · tertiary) each: the most frequent pair first                           │
//! │ elements │ count · (tail * 3 + min(step, 2) · [step if ≥ 2]) each; ascending, step is from the primary │
//! │        │ weight before                                                                              │
//! │ strings│ count · (length · signed difference of element numbers each) each                           │
//! │ runs   │ count · (code points skipped · length · signed difference to the string before, plus 1, each)│
//! └────────┴────────────────────────────────────────────────────────────────────────────────────────────┘
//! number of a string: 0 = no weights · 1 ..= elements = that element alone · above = strings
//! ```
//! In memory, two stages lead from a character to its weights:
//! ```text
//! code point >> 7 ─pages─▶ page · 128 + low 7 bits ─entries─▶ place ─pool─▶ header w₁… w₂… w₃…
//!                            page 0: nothing is listed         IMPLICIT: computed
//! header: how many weights at level 1 (bits 0–3), 2 (4–7), 3 (8–11); those that are 0 are left out
//! ```

use std::sync::{LazyLock, OnceLock};

/// Levels of weights.
pub(super) const LEVELS: usize = 3;
/// Most weights of a character at a level.
const WEIGHTS_MAX: usize = 8;
const PAGE_BITS: u32 = 7;
const PAGE: usize = 1 << PAGE_BITS;
const CODE_POINTS: usize = 0x11_0000;
/// An entry of a character whose weights are computed.
const IMPLICIT: u32 = u32::MAX;
/// No weight, in [`Table::ascii`]. No ASCII character has it.
pub(super) const NONE: u16 = u16::MAX;
/// The weight of characters beyond the basic plane in all but UCA 9.0.0.
const NO_CHARACTER: u16 = 0xfffd;

pub(super) static UCA_0900: LazyLock<Table> =
    LazyLock::new(|| Table::read(include_bytes!("weights/uca0900.bin"), Rule::Uca0900));
pub(super) static UCA_0400: LazyLock<Table> =
    LazyLock::new(|| Table::read(include_bytes!("weights/uca0400.bin"), Rule::Uca0400));
pub(super) static GENERAL: LazyLock<Table> =
    LazyLock::new(|| Table::read(include_bytes!("weights/general.bin"), Rule::CodePoint));
pub(super) static SWEDISH: LazyLock<Table> =
    LazyLock::new(|| Table::read(include_bytes!("weights/swedish.bin"), Rule::CodePoint));
pub(super) static ASCII: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table::empty(Rule::CodePoint);
    for letter in b'a'..=b'z' {
        let place = table.push(&[(u16::from(letter.to_ascii_uppercase()), 0, 0)]);
        table.list(u32::from(letter), place);
    }
    table.fill_ascii();
    table
});

/// How a character that is not listed gets its weights.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    Uca0900,
    Uca0400,
    /// Its number is its weight.
    CodePoint,
}

/// The weights of all characters.
pub(super) struct Table {
    rule: Rule,
    pages: Vec<u16>,
    entries: Vec<u32>,
    pool: Vec<u16>,
    /// The only weight of each ASCII character at each level, or [`NONE`].
    pub ascii: [[u16; 128]; LEVELS],
    /// The first character of each primary weight that is a character's only one, ascending; for messages.
    examples: OnceLock<Vec<(u16, char)>>,
}

/// The weights of one character at one level.
#[derive(Clone, Copy, Default)]
pub(super) struct Weights {
    weights: [u16; WEIGHTS_MAX],
    start: u8,
    end: u8,
}

impl Weights {
    pub fn as_slice(&self) -> &[u16] {
        &self.weights[usize::from(self.start)..usize::from(self.end)]
    }

    /// Takes the first one.
    #[inline]
    pub fn pop(&mut self) -> Option<u16> {
        if self.start == self.end {
            return None;
        }
        self.start += 1;
        Some(self.weights[usize::from(self.start) - 1])
    }

    fn push(&mut self, weight: u16) {
        self.weights[usize::from(self.end)] = weight;
        self.end += 1;
    }
}

impl Table {
    fn empty(rule: Rule) -> Table {
        Table {
            rule,
            pages: vec![0; CODE_POINTS >> PAGE_BITS],
            entries: vec![IMPLICIT; PAGE],
            pool: Vec::new(),
            ascii: [[NONE; 128]; LEVELS],
            examples: OnceLock::new(),
        }
    }

    /// Unfolds a file. Panics when it is not one: it is a part of the program.
    fn read(file: &[u8], rule: Rule) -> Table {
        let mut table = Table::empty(rule);
        let mut input = Input { bytes: &file[1..] };
        let tails: Vec<(u16, u16)> = (0..input.number()).map(|_| (input.weight(), input.weight())).collect();
        let mut elements = Vec::new();
        let mut places = vec![table.push(&[])];
        let mut primary = 0;
        for _ in 0..input.number() {
            let first = input.number();
            primary += if first % 3 == 2 { input.weight() } else { (first % 3) as u16 };
            let (secondary, tertiary) = tails[first as usize / 3];
            elements.push((primary, secondary, tertiary));
            places.push(table.push(&[(primary, secondary, tertiary)]));
        }
        for _ in 0..input.number() {
            let mut number = 0;
            let string: Vec<_> = (0..input.number())
                .map(|_| {
                    number += input.signed();
                    elements[number as usize - 1]
                })
                .collect();
            places.push(table.push(&string));
        }
        let (mut code, mut number) = (0, 0);
        for _ in 0..input.number() {
            code += input.number();
            for _ in 0..input.number() {
                number += 1 + input.signed();
                table.list(code, places[number as usize]);
                code += 1;
            }
        }
        assert!(input.bytes.is_empty(), "a file of weights goes on behind its end");
        table.fill_ascii();
        table
    }

    /// Puts the weights of a string of elements into the pool.
    fn push(&mut self, string: &[(u16, u16, u16)]) -> u32 {
        let place = self.pool.len();
        self.pool.push(0);
        for level in 0..LEVELS {
            let weights = string.iter().map(|e| [e.0, e.1, e.2][level]);
            // Level 1 of UCA 9.0.0 is nothing for accents; of general_ci it is 0 for the character NUL.
            let counts = |w: &u16| *w != 0 || (self.rule == Rule::CodePoint && level == 0);
            let before = self.pool.len();
            self.pool.extend(weights.filter(counts));
            self.pool[place] |= ((self.pool.len() - before) as u16) << (level * 4);
        }
        place as u32
    }

    /// Says where the weights of a character are.
    fn list(&mut self, code: u32, place: u32) {
        let page = (code >> PAGE_BITS) as usize;
        if self.pages[page] == 0 {
            self.pages[page] = (self.entries.len() / PAGE) as u16;
            self.entries.resize(self.entries.len() + PAGE, IMPLICIT);
        }
        self.entries[usize::from(self.pages[page]) * PAGE + code as usize % PAGE] = place;
    }

    fn fill_ascii(&mut self) {
        for level in 0..LEVELS {
            for code in 0..128 {
                self.ascii[level][code] = match self.weights(code as u32, level).as_slice() {
                    [] => NONE,
                    [weight] => *weight,
                    _ => unreachable!("an ASCII character has one weight"),
                };
            }
        }
    }

    fn entry(&self, code: u32) -> u32 {
        let page = self.pages[(code >> PAGE_BITS) as usize];
        self.entries[usize::from(page) * PAGE + code as usize % PAGE]
    }

    /// The weights of a character at a level, from 0; those that are 0 left out.
    pub fn weights(&self, code: u32, level: usize) -> Weights {
        let place = self.entry(code);
        if place == IMPLICIT {
            return self.implicit(code, level);
        }
        let place = place as usize;
        let header = usize::from(self.pool[place]);
        let count = |level: usize| header >> (level * 4) & 15;
        let start = place + 1 + (0..level).map(count).sum::<usize>();
        let listed = &self.pool[start..start + count(level)];
        let mut out = Weights { end: listed.len() as u8, ..Weights::default() };
        out.weights[..listed.len()].copy_from_slice(listed);
        out
    }

    fn implicit(&self, code: u32, level: usize) -> Weights {
        let mut out = Weights::default();
        match self.rule {
            Rule::CodePoint if level == 0 => out.push(u16::try_from(code).unwrap_or(NO_CHARACTER)),
            Rule::Uca0400 if level == 0 && code > 0xffff => out.push(NO_CHARACTER),
            Rule::Uca0400 if level == 0 => {
                out.push(implicit_base_0400(code) + (code >> 15) as u16);
                out.push(code as u16 | 0x8000);
            }
            Rule::CodePoint | Rule::Uca0400 => {}
            Rule::Uca0900 => match jamo(code) {
                Some(jamo) => {
                    // MySQL has the syllables of this block in its table, with a tertiary weight of their own.
                    let more = u16::from(level == 2 && code >= 0xd700);
                    for part in jamo.into_iter().filter(|&part| part != 0) {
                        self.weights(part, level).as_slice().iter().for_each(|&weight| out.push(weight + more));
                    }
                }
                None => {
                    let (first, second) = implicit_0900(code);
                    match level {
                        0 => [first, second].into_iter().for_each(|weight| out.push(weight)),
                        1 => out.push(0x20),
                        _ => out.push(0x02),
                    }
                }
            },
        }
        out
    }

    /// True when LIKE takes the character for equal to others with its weights. MySQL keeps its tables in blocks of 256
    /// characters, and for a block without any listed one (Han, most of Hangul, what is not assigned) it compares code
    /// points. Its general_ci and the collations of 8-bit character sets know no such blocks.
    pub fn is_listed_block(&self, code: u32) -> bool {
        let first = (code >> 8 << (8 - PAGE_BITS)) as usize;
        self.rule == Rule::CodePoint || self.pages[first..first + (256 / PAGE)].iter().any(|&page| page != 0)
    }

    /// The weight of the space.
    pub fn space(&self) -> u16 {
        self.ascii[0][usize::from(b' ')]
    }
}

impl Table {
    /// A text with these primary weights.
    pub fn text_of(&self, weights: &[u16]) -> String {
        let examples = self.examples.get_or_init(|| self.examples());
        let mut out = String::new();
        let mut rest = weights;
        while let Some((&weight, behind)) = rest.split_first() {
            rest = behind;
            let found = match examples.binary_search_by_key(&weight, |e| e.0) {
                Ok(at) => Some(examples[at].1),
                Err(_) if self.rule == Rule::CodePoint || weight == NO_CHARACTER => char::from_u32(u32::from(weight)),
                // Two weights computed from a code point.
                Err(_) => rest.split_first().and_then(|(&low, behind)| {
                    rest = behind;
                    let low = u32::from(low & 0x7fff);
                    char::from_u32(if weight == 0xfb00 { 0x17000 + low } else { u32::from(weight & 0x3f) << 15 | low })
                }),
            };
            out.push(found.unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        out
    }

    fn examples(&self) -> Vec<(u16, char)> {
        let only = |c: char| match self.weights(u32::from(c), 0).as_slice() {
            [weight] => Some((*weight, c)),
            _ => None,
        };
        // Characters beyond the basic plane share a weight where they are not listed.
        let mut out: Vec<_> = ('\0'..=char::MAX)
            .filter(|&c| self.entry(u32::from(c)) != IMPLICIT || (self.rule == Rule::CodePoint && c <= '\u{ffff}'))
            .filter_map(only)
            .collect();
        out.sort_by_key(|&(weight, c)| (weight, c.is_uppercase(), c));
        out.dedup_by_key(|e| e.0);
        out
    }
}

fn implicit_base_0400(code: u32) -> u16 {
    match code {
        0x3400..=0x4db5 => 0xfb80,
        0x4e00..=0x9fa5 => 0xfb40,
        _ => 0xfbc0,
    }
}

/// The two primary weights of a character that UCA 9.0.0 does not list (UTS 10, section 10.1.3).
fn implicit_0900(code: u32) -> (u16, u16) {
    let base = match code {
        0x17000..=0x18aff => return (0xfb00, (code - 0x17000) as u16 | 0x8000),
        0x3400..=0x4db5 | 0x20000..=0x2a6d6 | 0x2a700..=0x2b734 | 0x2b740..=0x2b81d | 0x2b820..=0x2cea1 => 0xfb80,
        0x4e00..=0x9fd5 | 0xfa0e..=0xfa29 => 0xfb40,
        _ => 0xfbc0,
    };
    (base + (code >> 15) as u16, code as u16 | 0x8000)
}

/// The jamo of a Hangul syllable; the third is 0 when there is none. The range ends where MySQL's does.
fn jamo(code: u32) -> Option<[u32; 3]> {
    const VOWELS: u32 = 21;
    const TAILS: u32 = 28;
    let index = code.checked_sub(0xac00).filter(|_| code <= 0xd7af)?;
    let tail = match index % TAILS {
        0 => 0,
        tail => 0x11a7 + tail,
    };
    Some([0x1100 + index / (VOWELS * TAILS), 0x1161 + index / TAILS % VOWELS, tail])
}

/// Reads the numbers of a file.
struct Input<'a> {
    bytes: &'a [u8],
}

impl Input<'_> {
    fn number(&mut self) -> u32 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let (&byte, rest) = self.bytes.split_first().expect("a file of weights is whole");
            self.bytes = rest;
            value |= u32::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return value;
            }
        }
    }

    fn signed(&mut self) -> i32 {
        let value = self.number();
        (value >> 1) as i32 ^ -((value & 1) as i32)
    }

    fn weight(&mut self) -> u16 {
        u16::try_from(self.number()).expect("a weight has 16 bits")
    }
}
