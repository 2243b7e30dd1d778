//! sql_mode: its modes, and what of them the parser, the binder and expressions are told.

use crate::error::Error;
use crate::parser::ParseOptions;
use basalt_expr::charset::Charset;
use basalt_expr::context::SqlMode;

/// A value of sql_mode: modes by MySQL's bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Modes(u64);

macro_rules! modes {
    ($($name:ident $bit:literal),* $(,)?) => {
        impl Modes {
            $(#[doc = concat!("`", stringify!($name), "`.")] pub const $name: Modes = Modes(1 << $bit);)*
        }
        /// In MySQL's order, which is the one they are shown in. Each does what it says; IGNORE_SPACE (a space before a call's
        /// parenthesis) is always on, and NO_DIR_IN_CREATE and NO_ENGINE_SUBSTITUTION speak of options that tables here do
        /// not have.
        const NAMES: &[(&str, Modes)] = &[$((stringify!($name), Modes::$name)),*];
    };
}

modes! {
    REAL_AS_FLOAT 0,
    PIPES_AS_CONCAT 1,
    ANSI_QUOTES 2,
    IGNORE_SPACE 3,
    ONLY_FULL_GROUP_BY 5,
    NO_UNSIGNED_SUBTRACTION 6,
    NO_DIR_IN_CREATE 7,
    ANSI 18,
    NO_AUTO_VALUE_ON_ZERO 19,
    NO_BACKSLASH_ESCAPES 20,
    STRICT_TRANS_TABLES 21,
    STRICT_ALL_TABLES 22,
    NO_ZERO_IN_DATE 23,
    NO_ZERO_DATE 24,
    ALLOW_INVALID_DATES 25,
    ERROR_FOR_DIVISION_BY_ZERO 26,
    TRADITIONAL 27,
    HIGH_NOT_PRECEDENCE 29,
    NO_ENGINE_SUBSTITUTION 30,
    PAD_CHAR_TO_FULL_LENGTH 31,
    TIME_TRUNCATE_FRACTIONAL 32,
}

/// Modes that stand for several, themselves among them.
const GROUPS: &[(Modes, Modes)] = &[
    (
        Modes::ANSI,
        Modes::REAL_AS_FLOAT
            .with(Modes::PIPES_AS_CONCAT)
            .with(Modes::ANSI_QUOTES)
            .with(Modes::IGNORE_SPACE)
            .with(Modes::ONLY_FULL_GROUP_BY),
    ),
    (
        Modes::TRADITIONAL,
        Modes::STRICT_TRANS_TABLES
            .with(Modes::STRICT_ALL_TABLES)
            .with(Modes::NO_ZERO_IN_DATE)
            .with(Modes::NO_ZERO_DATE)
            .with(Modes::ERROR_FOR_DIVISION_BY_ZERO)
            .with(Modes::NO_ENGINE_SUBSTITUTION),
    ),
];

impl Default for Modes {
    /// MySQL 8's.
    fn default() -> Modes {
        Modes::ONLY_FULL_GROUP_BY
            .with(Modes::STRICT_TRANS_TABLES)
            .with(Modes::NO_ZERO_IN_DATE)
            .with(Modes::NO_ZERO_DATE)
            .with(Modes::ERROR_FOR_DIVISION_BY_ZERO)
            .with(Modes::NO_ENGINE_SUBSTITUTION)
    }
}

impl Modes {
    /// A list of names in any case, or the bits as a number.
    ///
    /// # Errors
    /// 1231 for what is no mode.
    pub fn parse(value: &str) -> Result<Modes, Error> {
        if let Ok(bits) = value.parse::<u64>() {
            let known = NAMES.iter().fold(Modes(0), |known, (_, mode)| known.with(*mode));
            return if bits & !known.0 == 0 {
                Ok(Modes(bits).with_groups())
            } else {
                Err(Error::wrong_variable_value("sql_mode", value))
            };
        }
        let named = value.split(',').filter(|name| !name.is_empty()).try_fold(Modes(0), |modes, name| {
            let mode = NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            mode.map(|(_, mode)| modes.with(*mode)).ok_or_else(|| Error::wrong_variable_value("sql_mode", name))
        })?;
        Ok(named.with_groups())
    }

    fn with_groups(self) -> Modes {
        GROUPS.iter().filter(|(group, _)| self.has(*group)).fold(self, |modes, (_, members)| modes.with(*members))
    }

    const fn with(self, other: Modes) -> Modes {
        Modes(self.0 | other.0)
    }

    /// True when it has all of `modes`.
    pub const fn has(self, modes: Modes) -> bool {
        self.0 & modes.0 == modes.0
    }

    /// MySQL's number for it.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// What expressions obey.
    pub fn of_expressions(self) -> SqlMode {
        SqlMode {
            strict: self.has(Modes::STRICT_TRANS_TABLES) || self.has(Modes::STRICT_ALL_TABLES),
            error_for_division_by_zero: self.has(Modes::ERROR_FOR_DIVISION_BY_ZERO),
            no_zero_date: self.has(Modes::NO_ZERO_DATE),
            no_zero_in_date: self.has(Modes::NO_ZERO_IN_DATE),
            allow_invalid_dates: self.has(Modes::ALLOW_INVALID_DATES),
            time_truncate_fractional: self.has(Modes::TIME_TRUNCATE_FRACTIONAL),
            no_auto_value_on_zero: self.has(Modes::NO_AUTO_VALUE_ON_ZERO),
        }
    }

    /// What changes how a text from a client that writes in `client` is read.
    pub fn of_parser(self, client: Charset) -> ParseOptions {
        ParseOptions {
            ansi_quotes: self.has(Modes::ANSI_QUOTES),
            pipes_as_concat: self.has(Modes::PIPES_AS_CONCAT),
            no_backslash_escapes: self.has(Modes::NO_BACKSLASH_ESCAPES),
            high_not_precedence: self.has(Modes::HIGH_NOT_PRECEDENCE),
            real_as_float: self.has(Modes::REAL_AS_FLOAT),
            client,
        }
    }
}

impl std::fmt::Display for Modes {
    /// The names, in MySQL's order.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = NAMES.iter().filter(|(_, mode)| self.has(*mode)).map(|(name, _)| *name);
        out.write_str(&names.collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::variables::DEFAULT_SQL_MODE;

    #[test]
    fn modes_are_names_or_bits_and_shown_in_one_order() {
        assert_eq!(Modes::default().to_string(), DEFAULT_SQL_MODE);
        assert_eq!(Modes::parse(DEFAULT_SQL_MODE).unwrap(), Modes::default());
        let ansi = Modes::parse("ansi,,no_zero_date").unwrap();
        let names = "REAL_AS_FLOAT,PIPES_AS_CONCAT,ANSI_QUOTES,IGNORE_SPACE,ONLY_FULL_GROUP_BY,ANSI,NO_ZERO_DATE";
        assert_eq!(ansi.to_string(), names);
        assert_eq!(Modes::parse(&ansi.bits().to_string()).unwrap(), ansi);
        assert_eq!(Modes::parse("").unwrap().to_string(), "");
        assert!(Modes::parse("ANSI,NOT_A_MODE").is_err() && Modes::parse("16").is_err());
        assert!(!ansi.of_expressions().strict && ansi.of_parser(Charset::default()).ansi_quotes);
    }
}
