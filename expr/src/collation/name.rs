//! The collations there are: names, numbers, character sets.

use super::tables::{ASCII, GENERAL, SWEDISH, Table, UCA_0400, UCA_0900};
use crate::charset::Charset;
use crate::error::ExprError;

/// How strings of a type compare.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Collation {
    /// By bytes, trailing spaces ignored.
    Utf8mb4Bin,
    /// Bytes, not text.
    Binary,
    /// Case and (most) accents ignored, one weight a character.
    Utf8mb4GeneralCi,
    /// UCA 4.0.0's primary weights, trailing spaces ignored.
    Utf8mb4UnicodeCi,
    /// UCA 9.0.0's primary weights, trailing spaces count.
    Utf8mb40900AiCi,
    /// UCA 9.0.0's primary and secondary weights: accents count.
    Utf8mb40900AsCi,
    /// All of UCA 9.0.0's weights: accents and case count.
    Utf8mb40900AsCs,
    /// By bytes, trailing spaces count.
    Utf8mb40900Bin,
    /// As [`Collation::Utf8mb4GeneralCi`].
    Utf8mb3GeneralCi,
    /// As [`Collation::Utf8mb4UnicodeCi`].
    Utf8mb3UnicodeCi,
    /// As [`Collation::Utf8mb4Bin`].
    Utf8mb3Bin,
    /// Case and most accents ignored; Å, Ä and Ö are letters.
    Latin1SwedishCi,
    /// As [`Collation::Utf8mb4Bin`].
    Latin1Bin,
    /// Case of A to Z ignored.
    AsciiGeneralCi,
    /// As [`Collation::Utf8mb4Bin`].
    AsciiBin,
}

use Collation::*;

/// Number, name, character set and class of every collation; the default one of a character set comes first.
const ALL: [(Collation, u16, &str, &str); 15] = [
    (Utf8mb40900AiCi, 255, "utf8mb4_0900_ai_ci", "utf8mb4"),
    (Utf8mb40900AsCi, 305, "utf8mb4_0900_as_ci", "utf8mb4"),
    (Utf8mb40900AsCs, 278, "utf8mb4_0900_as_cs", "utf8mb4"),
    (Utf8mb40900Bin, 309, "utf8mb4_0900_bin", "utf8mb4"),
    (Utf8mb4Bin, 46, "utf8mb4_bin", "utf8mb4"),
    (Utf8mb4GeneralCi, 45, "utf8mb4_general_ci", "utf8mb4"),
    (Utf8mb4UnicodeCi, 224, "utf8mb4_unicode_ci", "utf8mb4"),
    (Utf8mb3GeneralCi, 33, "utf8mb3_general_ci", "utf8mb3"),
    (Utf8mb3UnicodeCi, 192, "utf8mb3_unicode_ci", "utf8mb3"),
    (Utf8mb3Bin, 83, "utf8mb3_bin", "utf8mb3"),
    (Latin1SwedishCi, 8, "latin1_swedish_ci", "latin1"),
    (Latin1Bin, 47, "latin1_bin", "latin1"),
    (AsciiGeneralCi, 11, "ascii_general_ci", "ascii"),
    (AsciiBin, 65, "ascii_bin", "ascii"),
    (Binary, 63, "binary", "binary"),
];

impl Default for Collation {
    fn default() -> Collation {
        Collation::DEFAULT
    }
}

impl Collation {
    /// The server's default, and that of utf8mb4.
    pub const DEFAULT: Collation = Utf8mb40900AiCi;

    fn record(self) -> &'static (Collation, u16, &'static str, &'static str) {
        ALL.iter().find(|record| record.0 == self).expect("every collation is in the list")
    }

    /// MySQL's number of the collation.
    pub fn id(self) -> u16 {
        self.record().1
    }

    /// The collation of a MySQL number; `None` for one that is not supported.
    pub fn from_id(id: u32) -> Option<Collation> {
        ALL.iter().find(|record| u32::from(record.1) == id).map(|record| record.0)
    }

    /// The collation's name.
    pub fn name(self) -> &'static str {
        self.record().2
    }

    /// The character set the collation belongs to.
    pub fn charset(self) -> &'static str {
        self.record().3
    }

    /// The character set the collation belongs to.
    pub fn character_set(self) -> Charset {
        match self {
            Utf8mb40900AiCi | Utf8mb40900AsCi | Utf8mb40900AsCs | Utf8mb40900Bin | Utf8mb4Bin | Utf8mb4GeneralCi
            | Utf8mb4UnicodeCi => Charset::Utf8mb4,
            Utf8mb3GeneralCi | Utf8mb3UnicodeCi | Utf8mb3Bin => Charset::Utf8mb3,
            Latin1SwedishCi | Latin1Bin => Charset::Latin1,
            AsciiGeneralCi | AsciiBin => Charset::Ascii,
            Binary => Charset::Binary,
        }
    }

    /// All collations, for `SHOW COLLATION`.
    pub fn all() -> [Collation; 15] {
        ALL.map(|record| record.0)
    }

    /// True when it is what its character set means without COLLATE.
    pub fn is_default(self) -> bool {
        Collation::of_charset(self.charset()).is_ok_and(|default| default == self)
    }

    /// The collation of a MySQL name, any case. `utf8` is utf8mb3.
    ///
    /// # Errors
    /// [`ExprError::UnknownCollation`] for any other name.
    pub fn from_name(name: &str) -> Result<Collation, ExprError> {
        let lower = name.to_ascii_lowercase();
        let known = match lower.strip_prefix("utf8_") {
            Some(rest) => &format!("utf8mb3_{rest}"),
            None => &lower,
        };
        let found = ALL.iter().find(|record| record.2 == known).map(|record| record.0);
        found.ok_or_else(|| ExprError::UnknownCollation(name.to_string()))
    }

    /// The default collation of a character set.
    ///
    /// # Errors
    /// [`ExprError::UnknownCharset`]; [`ExprError::Unsupported`] for MySQL's other character sets.
    pub fn of_charset(charset: &str) -> Result<Collation, ExprError> {
        Ok(match charset.to_ascii_lowercase().as_str() {
            "utf8mb4" => Collation::DEFAULT,
            "utf8" | "utf8mb3" => Utf8mb3GeneralCi,
            "latin1" => Latin1SwedishCi,
            "ascii" => AsciiGeneralCi,
            "binary" => Binary,
            other if Charset::is_not_done(other) => {
                return Err(ExprError::Unsupported(format!("character set {other}")));
            }
            _ => return Err(ExprError::UnknownCharset(charset.to_string())),
        })
    }

    /// True when equal weights mean equal bytes up to trailing spaces.
    pub fn is_bin(self) -> bool {
        matches!(self, Utf8mb4Bin | Binary | Utf8mb40900Bin | Utf8mb3Bin | Latin1Bin | AsciiBin)
    }

    /// True when `a` and `A` are equal.
    pub fn ignores_case(self) -> bool {
        !self.is_bin() && self != Utf8mb40900AsCs
    }

    /// The bytewise collation of its character set.
    pub fn bin(self) -> Collation {
        match self.character_set() {
            Charset::Utf8mb4 => Utf8mb4Bin,
            Charset::Utf8mb3 => Utf8mb3Bin,
            Charset::Latin1 => Latin1Bin,
            Charset::Ascii => AsciiBin,
            Charset::Binary => Binary,
        }
    }

    /// True when trailing spaces do not count in comparisons.
    pub fn pads_space(self) -> bool {
        !matches!(self, Binary | Utf8mb40900Bin | Utf8mb40900AiCi | Utf8mb40900AsCi | Utf8mb40900AsCs)
    }

    /// What stands beside a key in the catalog: keys of another version do not compare with ours and must be built anew.
    /// 0 where the weights are the bytes.
    pub fn weights_version(self) -> u32 {
        u32::from(!self.is_bin() || self.pads_space())
    }

    /// The table of weights and the number of its levels that count; `None` where the weights are the bytes.
    pub(super) fn table(self) -> Option<(&'static Table, usize)> {
        let found: (&'static Table, usize) = match self {
            Utf8mb40900AiCi => (&UCA_0900, 1),
            Utf8mb40900AsCi => (&UCA_0900, 2),
            Utf8mb40900AsCs => (&UCA_0900, 3),
            Utf8mb4UnicodeCi | Utf8mb3UnicodeCi => (&UCA_0400, 1),
            Utf8mb4GeneralCi | Utf8mb3GeneralCi => (&GENERAL, 1),
            Latin1SwedishCi => (&SWEDISH, 1),
            AsciiGeneralCi => (&ASCII, 1),
            Utf8mb4Bin | Binary | Utf8mb40900Bin | Utf8mb3Bin | Latin1Bin | AsciiBin => return None,
        };
        Some(found)
    }
}
